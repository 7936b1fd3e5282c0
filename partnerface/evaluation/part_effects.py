"""What each part of a trained avatar does: where its skin lies, and which expressions drive it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.avatar.avatar import Avatar
from partnerface.avatar.canonical_map import first_frame
from partnerface.avatar.method import AvatarMethod
from partnerface.cameras.pinhole import OPENGL_TO_OPENCV
from partnerface.deformation.deformation import dense_part_weights
from partnerface.deformation.driving_signal import MOTION_WIDTH, DrivingSignal
from partnerface.fields.lit_field import SHAPE_WIDTH
from partnerface.head_models.head_parts import head_parts
from partnerface.meshes.normals import vertex_normals

VERTICES_OF_PART = 12
"""Effects are measured at so many vertices of a part, those where its weight is largest."""

MIDDLE_M = 0.01
"""Metres: a part whose centre is nearer to the face's middle is neither left nor right."""

LEAST_EFFECT = 0.5
"""Grey levels of 255: an expression with a smaller effect is no driver."""


@dataclass(frozen=True)
class CanonicalSkin:
    """The skin of a trained avatar in canonical space.

    Attributes:
        vertices: ``[V, 3]`` metres.
        faces: ``[Fc, 3]`` those of the volumetric head.
        weights: ``[V, P]`` part weights; zero for vertices outside the head.
    """

    vertices: Tensor
    faces: Tensor
    weights: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, avatar: Avatar) -> CanonicalSkin:
        """That of an avatar, in neutral expression."""
        neutral = avatar.head_model.neutral_parameters()
        neutral.identity = avatar.identity
        vertices, faces = avatar.head_model(neutral).canonical_vertices, avatar.skinning.faces
        deformed = avatar.deformation(avatar.cube(vertices), avatar.driving(neutral), first_frame(vertices))
        weights = dense_part_weights(deformed.part_weights, deformed.part_index, avatar.deformation.parts)
        inside = torch.zeros_like(weights[:, :1]).index_fill(0, faces.unique(), 1.0)
        return cls(vertices, faces, weights * inside)


@dataclass(frozen=True)
class PartSummary:
    """What is known of one part of an avatar.

    Attributes:
        number: the part, counted from 0.
        region: the named region of the head where most of its skin lies; empty if it has none.
        side: ``left`` or ``right`` of the subject; empty in the middle.
        drivers: the expressions that drive it with their effects in grey levels, the strongest first.
    """

    number: int
    region: str = ""
    side: str = ""
    drivers: tuple[tuple[str, float], ...] = ()

    @property
    def effect(self) -> float:
        """Grey levels that its strongest driver changes by it; 0 without one."""
        return self.drivers[0][1] if self.drivers else 0.0

    @property
    def place(self) -> str:
        """Region and side."""
        return f"{self.region} {self.side}".strip()

    @property
    def title(self) -> str:
        """Number from 1, place and strongest driver, as people read them."""
        words = (self.place, self.drivers[0][0] if self.drivers else "")
        return f"{self.number + 1}: {', '.join(filter(None, words))}".rstrip(": ")


def part_summaries(avatar: AvatarMethod) -> list[PartSummary]:
    """A summary of each part, those of the largest effect first.

    Methods other than `Avatar` have parts about which nothing more is known, in the order of their numbers.
    """
    if not isinstance(avatar, Avatar) or avatar.parts < 2:
        return [PartSummary(number) for number in range(avatar.parts)]
    skin, names = CanonicalSkin.of(avatar), avatar.head_model.asset.expression_names
    found = []
    for number, (place, row) in enumerate(
        zip(part_places_on_head(avatar, skin), part_effects(avatar, skin).tolist(), strict=True)
    ):
        drivers = sorted(zip(names, row, strict=True), key=lambda driver: -driver[1])
        found.append(PartSummary(number, *place, tuple(d for d in drivers if d[1] >= LEAST_EFFECT)))
    return sorted(found, key=lambda part: -part.effect)


def part_places_on_head(avatar: Avatar, skin: CanonicalSkin) -> list[tuple[str, str]]:
    """Region and side of each part, see `PartSummary`; no regions for head models without landmarks."""
    share = skin.weights.sum(0)
    across = (skin.weights.T @ skin.vertices)[:, 0] / share.clamp_min(1e-9)
    sides = ["left" if x > MIDDLE_M else "right" if x < -MIDDLE_M else "" for x in across.tolist()]
    regions = [""] * len(sides)
    if len(avatar.head_model.asset.landmark_faces):
        weights = head_parts(avatar.head_model, avatar.identity).weights
        most, region = (skin.weights.T @ torch.stack(list(weights.values()), 1)).max(1)
        # A part without skin has no region.
        names = [*weights, ""]
        regions = [names[k] for k in region.masked_fill(most <= 0, len(weights)).tolist()]
    return list(zip(regions, sides, strict=True))


@torch.no_grad()
def part_effects(avatar: Avatar, skin: CanonicalSkin) -> Tensor:
    """``[P, E]`` grey levels of 255 by which each part changes its skin under each expression alone.

    That is how much of the change of colour between rest and the expression, as strong as training has shown
    it, is gone when the part is switched off; RMS over the vertices where the part weighs most.
    """
    strongest = strongest_expressions(avatar.driving)
    driving = torch.cat([strongest.new_zeros(1, len(strongest)), strongest.diag()])
    driving = functional.pad(driving, (0, MOTION_WIDTH))
    weight, vertices = skin.weights.T.topk(min(VERTICES_OF_PART, len(skin.weights)))
    effects = strongest.new_zeros(avatar.parts, len(strongest))
    try:
        for group in _independent_parts(skin.weights[vertices].amax(1) > 0):
            changes = []
            for switched_off in (False, True):
                gains = torch.ones_like(weight[:, 0])
                gains[group] = 1.0 - switched_off
                avatar.scale_parts(gains)
                colours = _skin_colours(avatar, skin, vertices[group].flatten(), driving)
                changes.append(colours[1:] - colours[:1])
            square = (changes[0] - changes[1]).square().mean(2).unflatten(1, (len(group), -1))
            share = weight[group] / weight[group].sum(1, keepdim=True).clamp_min(1e-9)
            effects[group] = (square * share).sum(2).sqrt().T
    finally:
        avatar.scale_parts(None)
    return 255 * effects


def _independent_parts(acting: Tensor) -> list[list[int]]:
    """Groups of parts that can be switched off together, because none acts on the vertices of another.

    ``acting`` ``[P, P]``: True where a part (column) acts on vertices of a part (row).
    """
    neighbours, groups = (acting | acting.T).cpu(), []
    for part in range(len(neighbours)):
        group = next((group for group in groups if not neighbours[part, group].any()), None)
        if group is None:
            groups.append([part])
        else:
            group.append(part)
    return groups


def _skin_colours(avatar: Avatar, skin: CanonicalSkin, vertices: Tensor, driving: Tensor) -> Tensor:
    """``[F, N, 3]`` colours of vertices ``[N]`` seen from the front under driving signals ``[F, D]``."""
    frames, count = len(driving), len(vertices)
    positions = avatar.cube(skin.vertices[vertices]).repeat(frames, 1)
    frame = torch.arange(frames, dtype=torch.int32, device=positions.device).repeat_interleave(count)
    deformed, appearance = avatar.deformation(positions, driving, frame), []
    if avatar.shading:
        # That of the rest pose: normals, in the axes of a camera before the face, and no relief.
        normals = vertex_normals(skin.vertices, skin.faces)[vertices] * positions.new_tensor(OPENGL_TO_OPENCV)
        shape = functional.pad(normals, (0, SHAPE_WIDTH - 3))
        appearance.append(shape.repeat(frames, 1))
    if deformed.appearance is not None:
        appearance.append(deformed.appearance)
    front = avatar.field.encode_directions(positions.new_tensor([[0.0, 0.0, -1.0]])).expand(len(frame), -1)
    taken = torch.cat(appearance, 1) if appearance else None
    return avatar.field.in_pieces(positions + deformed.offsets, front, taken)[1].unflatten(0, (frames, count))


def strongest_expressions(signal: DrivingSignal) -> Tensor:
    """``[E]`` each expression coefficient as strong as training has shown it, with its sign."""
    extreme = torch.where(signal.high.abs() > signal.low.abs(), signal.high, signal.low)
    return extreme[:-MOTION_WIDTH]
