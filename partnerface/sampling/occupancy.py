"""Occupancy: which cells around the head can hold density.

Two grids answer for one ray. The learned grid lives in the frame of the rigid head, so that a ray is
tested without inverse skinning; it starts with everything within the shell and is pruned by the
trained density. It serves what moves rigidly: scalp, hair, ears. The surface grid is made anew for
every posed head from its vertices and their shell; it serves what moves with expression, so that a
jaw that opens wider than in training is not cut off.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.meshes.dilation import dilate
from partnerface.skinning.head_surface import points_in_shell

SURFACE_CELLS = 96


class OccupancyGrid(nn.Module):
    """The learned grid over a cube in the rigid head frame.

    Args:
        cells: cells along an axis, an even number.
        threshold: a cell is empty when its density times its size stays below this optical depth.
        decay: factor on a cell's remembered density at each visit, so that emptied cells are freed.
    """

    low: Tensor
    extent: Tensor
    candidates: Tensor
    density: Tensor
    visited: Tensor
    occupied: Tensor

    def __init__(self, cells: int = 128, threshold: float = 0.02, decay: float = 0.85) -> None:
        super().__init__()
        self.cells, self.threshold, self.decay = cells, threshold, decay
        self.register_buffer("low", torch.zeros(3))
        self.register_buffer("extent", torch.ones(()))
        self.register_buffer("candidates", torch.zeros(cells**3, dtype=torch.bool))
        self.register_buffer("density", torch.zeros(cells**3))
        self.register_buffer("visited", torch.zeros(cells**3, dtype=torch.bool))
        self.register_buffer("occupied", torch.zeros(cells**3, dtype=torch.uint8))

    def set_candidates(self, low: Tensor, extent: Tensor, candidates: Tensor) -> None:
        """Start with the candidate cells ``[cells^3]`` of the cube at ``low`` [3] with side ``extent``."""
        self.low.copy_(low)
        self.extent.copy_(extent)
        self.candidates.copy_(candidates)
        self.density.zero_()
        self.visited.zero_()
        self.occupied.copy_(candidates)

    def centres(self, index: Tensor) -> Tensor:
        """Cell centres ``[N, 3]`` in the rigid head frame, metres."""
        cells = self.cells
        xyz = torch.stack([index % cells, index // cells % cells, index // cells**2], -1)
        return self.low + (xyz + 0.5) * (self.extent / cells)

    def draw_candidates(self, count: int) -> tuple[Tensor, Tensor]:
        """A random visit: cell indices ``[N]`` and jittered points ``[N, 3]`` in the rigid head frame."""
        pool = self.candidates.nonzero()[:, 0]
        index = pool[torch.randint(len(pool), (count,), device=pool.device)]
        jitter = torch.rand(count, 3, device=pool.device) - 0.5
        return index, self.centres(index) + jitter * (self.extent / self.cells)

    def visit(self, index: Tensor, density: Tensor) -> None:
        """Remember density ``[N]`` seen in cells ``[N]``."""
        self.visited[index] = True
        self.density[index] = self.density[index] * self.decay
        self.density.scatter_reduce_(0, index, density, "amax")

    def update(self, visits: int, density: Callable[[Tensor], Tensor]) -> None:
        """Look at random candidate cells and free those that turn out empty.

        Args:
            visits: number of cells N.
            density: gives the density ``[N]`` per metre at points ``[N, 3]`` of the rigid head frame.
        """
        index, points = self.draw_candidates(visits)
        self.visit(index, density(points))
        self.refresh()

    def refresh(self) -> None:
        """Occupied are dense and unvisited cells, and neighbours (a bound, so that hair has no stairs)."""
        dense = self.density * (self.extent / self.cells) > self.threshold
        dense = (dense | self.candidates & ~self.visited).to(torch.uint8)
        dilated = dilate(dense.view(self.cells, self.cells, self.cells)).view(-1)
        self.occupied.copy_(dilated * self.candidates)


def doubled_cells(marked: Tensor) -> Tensor:
    """Cells ``[cells^3]`` at twice the resolution ``[8 cells^3]``: each marks its eight children."""
    cells = round(len(marked) ** (1 / 3))
    grid = marked.view(cells, cells, cells)
    for axis in range(3):
        grid = grid.repeat_interleave(2, axis)
    return grid.reshape(-1)


CANDIDATE_FRAMES = 12
"""Frames whose shells make up the candidate cells."""

HALF_DIAGONAL = 0.87
"""Half the space diagonal of a cell, in cell sides: sqrt(3) / 2, rounded up."""


def place_candidates(
    grid: OccupancyGrid, head_model: HeadModel, faces: Tensor, thickness: Tensor, train: HeadParameters
) -> None:
    """Let the grid enclose the shells of some training frames, and mark the cells inside them.

    ``faces`` ``[Fc, 3]`` are those of the head without the torso, ``thickness`` ``[V]`` the shell in metres.

    Raises:
        UserError: no cell lies inside a shell.
    """
    chosen = torch.linspace(0, len(train) - 1, min(CANDIDATE_FRAMES, len(train))).long()
    some = train.select(chosen)
    posed = head_model(some)
    rigid = (posed.vertices - some.translation[:, None]) @ some.rotation
    used = rigid[:, faces.unique()].flatten(0, 1)
    margin = thickness.max() + 0.02
    low = used.amin(0) - margin
    extent = (used.amax(0) - used.amin(0)).max() + 2 * margin
    # Half the resolution is enough for a bound, and takes an eighth of the queries.
    coarse = OccupancyGrid(grid.cells // 2).to(low.device)
    coarse.set_candidates(low, extent, coarse.candidates)
    centres = coarse.centres(torch.arange(coarse.cells**3, device=low.device))
    slack = HALF_DIAGONAL * float(extent) / coarse.cells
    inside = points_in_shell(centres, posed, (some.rotation, some.translation), faces, thickness + slack)
    if not inside.any():
        raise UserError("no place around the tracked head can hold density; track the video again")
    grid.set_candidates(low, extent, doubled_cells(inside))
