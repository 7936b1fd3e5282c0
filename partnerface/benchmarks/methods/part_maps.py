"""Where the parts of a trained avatar lie on its canonical face, and which expressions drive each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from partnerface.avatar.avatar import Avatar
from partnerface.avatar.canonical_map import first_frame
from partnerface.avatar.picture import image_bytes
from partnerface.evaluation.part_effects import CanonicalSkin, strongest_expressions
from partnerface.evaluation.pictures import part_colours, part_map
from partnerface.meshes.normals import vertex_normals
from partnerface.meshes.rasterizer import rasterize_mesh

VIEWS = {"front": 0.0, "side": 90.0}
"""Rotation of the head about the vertical axis in degrees, by view."""

DISTANCE = 50.0
"""Distance of the camera in metres, so large that the projection is nearly orthographic."""

AMBIENT = 0.45
"""Brightness of a surface seen edge on."""

LABEL = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.6}
MOST_PARTS, MOST_EXPRESSIONS = 16, 16
"""Rows and columns of a table of what drives the parts: those with the most motion."""


@torch.no_grad()
def driven_motion(avatar: Avatar, skin: CanonicalSkin) -> Tensor:
    """``[P, E]`` millimetres by which each expression alone moves the skin of each part, RMS over the skin.

    The expression is as strong as training has shown it; the motion is what the deformation adds to that of
    the head model. Part weights weigh the points.
    """
    strongest = strongest_expressions(avatar.driving)
    rest = strongest.new_zeros(1, avatar.driving.width)
    positions, used = avatar.cube(skin.vertices), skin.faces.unique()
    positions, weights = positions[used], skin.weights[used]

    def offsets(driving: Tensor) -> Tensor:
        return avatar.deformation(positions, driving, first_frame(positions)).offsets

    at_rest, rows = offsets(rest), []
    for number, value in enumerate(strongest):
        driving = rest.clone()
        driving[0, number] = value
        square = (offsets(driving) - at_rest).square().sum(1)
        rows.append(weights.T @ square / weights.sum(0).clamp_min(1e-9))
    return 1000 * avatar.cube.extent * torch.stack(rows, 1).sqrt()


def canonical_part_maps(skin: CanonicalSkin, size: int = 320) -> np.ndarray:
    """Part weights on the canonical skin, from two sides.

    Returns:
        ``[size, 2 size, 3]`` uint8, the colours of the parts.
    """
    return image_bytes(*(part_map(weights) * shade for weights, shade in _views(skin, size)))


def part_places(skin: CanonicalSkin, size: int = 320) -> dict[int, tuple[int, int]]:
    """Column and row in the picture of `canonical_part_maps` of a pixel amid each part that shows in it.

    From the front where the part is strongest in some pixel there, otherwise from the side.
    """
    places: dict[int, tuple[int, int]] = {}
    for view, (weights, _) in enumerate(_views(skin, size)):
        strongest = torch.where(weights.sum(-1) > 0.5, weights.argmax(-1), -1)
        for part in set(strongest.unique().tolist()) - {-1, *places}:
            own = (strongest == part).nonzero()
            row, column = own[(own - own.double().mean(0)).square().sum(1).argmin()].tolist()
            places[part] = column + view * size, row
    return places


def _views(skin: CanonicalSkin, size: int) -> list[tuple[Tensor, Tensor]]:
    """Part weights ``[size, size, P]`` and shade ``[size, size]`` of each of `VIEWS`."""
    return [_view(skin, degrees, size) for degrees in VIEWS.values()]


def _view(skin: CanonicalSkin, degrees: float, size: int) -> tuple[Tensor, Tensor]:
    """One view; surfaces are shaded by the angle between them and the viewer."""
    turn = torch.deg2rad(torch.tensor(degrees))
    cosine, sine = torch.cos(turn), torch.sin(turn)
    rotation = torch.tensor([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    seen, faces = skin.vertices @ rotation.T, skin.faces
    used = seen[faces.unique()]
    low, high = used.amin(0), used.amax(0)
    scale = 0.94 * size / (high - low)[:2].max()
    middle = (low + high) / 2
    # Canonical y points up and the face looks along z, towards the viewer.
    pixels = (seen - middle)[:, :2] * torch.stack([scale, -scale]) + size / 2
    fragments = rasterize_mesh(pixels, DISTANCE - seen[:, 2], faces, size, size)
    facing = vertex_normals(seen, faces)[:, 2:].clamp_min(0)
    attributes = fragments.interpolate(torch.cat([skin.weights, facing], 1), faces)
    image = torch.zeros(size, size, attributes.shape[1])
    image[fragments.mask] = attributes
    shade = torch.where(fragments.mask, AMBIENT + (1 - AMBIENT) * image[..., -1], 1.0)
    return image[..., :-1], shade


def write_part_maps(path: Path, avatars: Sequence[tuple[str, Avatar]]) -> None:
    """Draw for each trained avatar, with its title, where its parts lie and what drives those that move most.

    Parts are numbered from 1, as on pages. A deformation without parts is a single part.
    """
    figure = Figure(figsize=(11.5, 4.6 * len(avatars)), layout="constrained")
    axes = figure.subplots(len(avatars), 2, squeeze=False, width_ratios=[1.25, 1])
    for (maps, table), (title, avatar) in zip(axes, avatars, strict=True):
        skin = CanonicalSkin.of(avatar)
        maps.imshow(canonical_part_maps(skin))
        maps.set_title(title, size=9)
        maps.axis("off")
        motion = driven_motion(avatar, skin).numpy()
        shown = np.argsort(-motion.max(1), kind="stable")[:MOST_PARTS]
        if len(motion) > 1:
            places = part_places(skin)
            for part in filter(places.__contains__, shown.tolist()):
                maps.text(*places[part], str(part + 1), size=5, ha="center", va="center", bbox=LABEL)
        _draw_drivers(figure, table, motion, shown, avatar.head_model.asset.expression_names)
    figure.savefig(path, dpi=110)


def _draw_drivers(
    figure: Figure, panel: Axes, motion: np.ndarray, parts: np.ndarray, names: Sequence[str]
) -> None:
    """Draw motion ``[P, E]`` of some parts in millimetres as a map whose rows have the parts' colours."""
    expressions = np.sort(np.argsort(-motion.max(0), kind="stable")[:MOST_EXPRESSIONS])
    shown = panel.imshow(motion[np.ix_(parts, expressions)], cmap="magma", vmin=0, aspect="auto")
    panel.set_xticks(
        range(len(expressions)), [names[k] for k in expressions], rotation=60, ha="right", size=6
    )
    panel.set_yticks(
        range(len(parts)), ["whole head"] if len(motion) == 1 else [str(k + 1) for k in parts], size=7
    )
    for label, colour in zip(panel.get_yticklabels(), part_colours(len(motion))[parts].numpy(), strict=True):
        label.set_bbox({"facecolor": tuple(colour), "edgecolor": "none", "pad": 1.5})
    panel.set_title("what drives the parts that move most: each expression alone, mm", size=8)
    figure.colorbar(shown, ax=panel, fraction=0.04)
