"""Candidate cells: where the head of a person can hold density at all, before anything is learned."""

from __future__ import annotations

import torch

from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.rendering.occupancy_grid import OccupancyGrid, doubled_cells
from partnerface.skinning.head_surface import shell_candidates
from partnerface.skinning.nearest_surface import NearestSurface
from partnerface.user_error import UserError

CANDIDATE_FRAMES = 12
"""Frames whose shells make up the candidate cells."""

HALF_DIAGONAL = 0.87
"""Of a cell, in units of its side."""


def place_candidates(
    grid: OccupancyGrid, head_model: HeadModel, skinning: NearestSurface, train: HeadParameters
) -> None:
    """Let the grid enclose the shells of some training frames, and mark the cells inside them.

    Raises:
        UserError: there are none.
    """
    chosen = torch.linspace(0, len(train) - 1, min(CANDIDATE_FRAMES, len(train))).long()
    some = train.select(chosen)
    posed = head_model(some)
    rigid = (posed.vertices - some.translation[:, None]) @ some.rotation
    used = rigid[:, skinning.faces.unique()].flatten(0, 1)
    margin = skinning.thickness.max() + 0.02
    low = used.amin(0) - margin
    extent = (used.amax(0) - used.amin(0)).max() + 2 * margin
    # Half the resolution is enough for a bound, and takes an eighth of the queries.
    coarse = OccupancyGrid(grid.cells // 2).to(low.device)
    coarse.set_candidates(low, extent, coarse.candidates)
    centres = coarse.centres(torch.arange(coarse.cells**3, device=low.device))
    slack = HALF_DIAGONAL * float(extent) / coarse.cells
    inside = shell_candidates(centres, posed, (some.rotation, some.translation), skinning, slack)
    if not inside.any():
        raise UserError("no place around the tracked head can hold density; track the video again")
    grid.set_candidates(low, extent, doubled_cells(inside))
