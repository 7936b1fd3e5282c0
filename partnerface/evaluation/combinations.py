"""Real clips: test frames that recombine what training showed, and where a face shows its expression."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera
from partnerface.data.batches.datasets import EvaluationFrame
from partnerface.data.regions import MATTE_THRESHOLD, WHOLE_FACE, in_regions
from partnerface.data.splits import nearest_distance
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.rotations import rotation_vectors
from partnerface.meshes.normals import vertex_normals
from partnerface.meshes.rasterizer import rasterize_mesh

EXPRESSION_GROUPS = {
    "brows": ("brow",),
    "eyes": ("eye", "cheekSquint"),
    "mouth": ("mouth", "jaw", "tongue", "cheekPuff", "noseSneer"),
}
"""Beginnings of the names of each group's expressions."""

NEW_COMBINATION, OTHER_TEST = "new_combination", "other_test_frames"
LEAST_TEST_FRAMES = 8
"""Fewer test frames have no quarter worth a number."""

COMBINATION_PROTOCOL = {
    NEW_COMBINATION: "of all test frames, the half whose whole expression is farthest from every training "
    "expression; of these, the half whose brows, eyes and mouth, each by itself, are nearest to those of "
    "some training frame (largest of the three distances)",
    OTHER_TEST: f"all test frames outside {NEW_COMBINATION}",
}


def expression_groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of the expressions of each of `EXPRESSION_GROUPS`; empty unless every group has some."""
    groups = {
        group: [number for number, name in enumerate(names) if name.startswith(beginnings)]
        for group, beginnings in EXPRESSION_GROUPS.items()
    }
    return groups if all(groups.values()) else {}


def combination_splits(
    tests: Sequence[int], train: Sequence[int], expression: Tensor, names: Sequence[str]
) -> dict[str, list[int]]:
    """Divide test frames by `COMBINATION_PROTOCOL`.

    Args:
        tests: the test frames.
        train: the training frames.
        expression: ``[T, E]`` of all frames.
        names: names of the E expressions.

    Returns:
        Frames of `NEW_COMBINATION`, a quarter, and `OTHER_TEST`; empty for under `LEAST_TEST_FRAMES` frames
        and for a head model whose expressions have no such groups.
    """
    groups = expression_groups(names)
    if len(tests) < LEAST_TEST_FRAMES or not groups:
        return {}
    whole = nearest_distance(expression[tests], expression[train])
    in_group = [
        nearest_distance(expression[tests][:, some], expression[train][:, some]) for some in groups.values()
    ]
    largest = torch.stack(in_group).amax(0)
    far = whole.argsort(descending=True, stable=True)[: len(tests) // 2]
    chosen = far[largest[far].argsort(stable=True)[: len(tests) // 4]]
    new = sorted(tests[place] for place in chosen.tolist())
    return {NEW_COMBINATION: new, OTHER_TEST: [frame for frame in tests if frame not in set(new)]}


EXPRESSION_REGION = "expression_region"
SEEN_ANGLE = 0.3
"""Cosine between surface and viewer from which a point counts as seen."""
LEAST_FRAMES = 40
"""Training frames that must see a point."""
MOST_FRAMES = 120
"""Training frames that are looked at, evenly spread."""
COMPONENTS = 8
"""Principal components of the training expressions."""
RIDGE = 1.0
BLOCKS = 6
"""Consecutive runs of training frames that take turns in the two halves: neighbours are nearly equal."""
LEAST_EXPLAINED, LEAST_EFFECT = 0.1, 2 / 255

EXPRESSION_REGION_DEFINITION = (
    f"{EXPRESSION_REGION}: where the face's look depends on the expression, found on up to {MOST_FRAMES} "
    "training frames alone: the grey value of each vertex is predicted by ridge regression, fitted on half "
    "of them (blocks of time) and judged on the other, from the pose of the head (rotation, its squares and "
    "products, translation) and the mean grey value of the face, and from that with the first "
    f"{COMPONENTS} principal components of the expression; the region holds vertices where these take away "
    f"at least {LEAST_EXPLAINED:.0%} of the squared error and 2/255 RMS, projected into each test frame onto "
    "labels face, eyes and mouth"
)


def expression_dependent(grey: Tensor, seen: Tensor, pose: Tensor, expression: Tensor) -> Tensor:
    """``[V]`` bool: points whose grey value follows the expression, see `EXPRESSION_REGION_DEFINITION`.

    Args:
        grey: ``[F, V]`` of F training frames in time, in [0, 1].
        seen: ``[F, V]`` bool.
        pose: ``[F, 6]`` rotation in radians and translation in metres.
        expression: ``[F, E]``.
    """
    weight = seen.double()
    grey = grey.double()
    brightness = (grey * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
    rotation = pose[:, :3]
    products = torch.stack([rotation[:, i] * rotation[:, j] for i in range(3) for j in range(i, 3)], 1)
    centred = expression.double() - expression.double().mean(0)
    components = torch.linalg.svd(centred, full_matrices=False)
    scores = (components.U * components.S)[:, :COMPONENTS]
    without = _standardised(torch.cat([pose, products, brightness], 1).double())
    block = torch.div(torch.arange(len(grey), device=grey.device) * BLOCKS, len(grey), rounding_mode="floor")
    halves = [(block % 2 == half).double()[:, None] for half in (0, 1)]
    errors = [
        sum(
            _held_out_error(grey, design, weight * fit, weight * judge)
            for fit, judge in (halves, halves[::-1])
        )
        for design in (without, torch.cat([without, _standardised(scores)], 1))
    ]
    count = weight.sum(0)
    gain = errors[0] - errors[1]
    enough = torch.stack([(weight * half).sum(0) for half in halves]).amin(0) >= LEAST_FRAMES / 2
    return enough & (gain >= LEAST_EXPLAINED * errors[0]) & (gain >= LEAST_EFFECT**2 * count)


def _standardised(columns: Tensor) -> Tensor:
    return (columns - columns.mean(0)) / columns.std(0).clamp_min(1e-9)


def _held_out_error(values: Tensor, design: Tensor, fit: Tensor, judge: Tensor) -> Tensor:
    """``[V]`` squared error, weighted by ``judge``, of ridge regressions that are weighted by ``fit``.

    Values and weights are ``[F, V]``, the design ``[F, K]``; its constant column is added and not penalised.
    """
    design = torch.cat([torch.ones_like(design[:, :1]), design], 1)
    penalty = RIDGE * torch.eye(design.shape[1], dtype=design.dtype, device=design.device)
    penalty[0, 0] = 1e-9
    normal = torch.einsum("fk,fv,fl->vkl", design, fit, design) + penalty
    solution = torch.linalg.solve(normal, torch.einsum("fk,fv->vk", design, fit * values))
    return (judge * (values - design @ solution.T).square()).sum(0)


@dataclass
class ExpressionRegion:
    """The part of a head model's surface whose look depends on the expression.

    Attributes:
        head_model: the head model.
        vertices: ``[V]`` bool.
    """

    head_model: HeadModel
    vertices: Tensor

    @classmethod
    @torch.no_grad()
    def find(cls, head_model: HeadModel, frames: Iterable[EvaluationFrame]) -> ExpressionRegion | None:
        """Find it on training frames in time; None if they are too few, or nothing depends on it."""
        looks = []
        for frame in frames:
            head = frame.view.head
            pose = torch.cat([rotation_vectors(head.rotation), head.translation], 1)[0]
            looks.append((*_look(head_model, frame), pose, head.expression[0]))
        if len(looks) < LEAST_FRAMES:
            return None
        vertices = expression_dependent(*(torch.stack(values) for values in zip(*looks, strict=True)))
        return cls(head_model, vertices) if vertices.any() else None

    @torch.no_grad()
    def mask(self, frame: EvaluationFrame) -> Tensor:
        """``[H, W]`` bool: where a frame shows it, by its tracked parameters."""
        head, camera = frame.view.head, frame.view.camera
        pixels, depth = _projected(self.head_model, head, camera)
        fragments = rasterize_mesh(pixels, depth, self.head_model.faces, camera.width, camera.height)
        inside = torch.zeros_like(fragments.mask)
        share = fragments.interpolate(self.vertices.to(pixels)[:, None], self.head_model.faces)[:, 0]
        inside[fragments.mask] = share > 0.5
        return inside & in_regions(frame.labels, WHOLE_FACE) & (frame.matte > MATTE_THRESHOLD)


def _projected(head_model: HeadModel, head: HeadParameters, camera: Camera) -> tuple[Tensor, Tensor]:
    """Pixels ``[V, 2]`` and depth ``[V]`` of a frame's vertices."""
    pixels, depth = camera.project(head_model(head).vertices)
    return pixels[0], depth[0]


def _look(head_model: HeadModel, frame: EvaluationFrame) -> tuple[Tensor, Tensor]:
    """Grey value ``[V]`` that a frame shows at each vertex, and ``[V]`` bool: it is seen on the face."""
    camera, vertices = frame.view.camera, head_model(frame.view.head).vertices[0]
    pixels, depth = camera.project(vertices[None])
    size = pixels.new_tensor([camera.width, camera.height])
    place = (2 * pixels / size - 1)[:, None]
    grey = functional.grid_sample(frame.image.mean(0)[None, None], place, align_corners=False)[0, 0, 0]
    face = in_regions(frame.labels, WHOLE_FACE) & (frame.matte > MATTE_THRESHOLD)
    on_face = functional.grid_sample(face.to(grey)[None, None], place, align_corners=False)[0, 0, 0] > 0.99
    towards = functional.normalize(camera.camera_to_world[0, :, 3] - vertices, dim=1)
    facing = (vertex_normals(vertices, head_model.faces) * towards).sum(1) > SEEN_ANGLE
    return grey, facing & on_face & (depth[0] > 0)
