"""Pose alignment: sub-pixel head poses that agree on one texture of the face and one outline of the hair.

A landmark detector's error depends on the pose (its points move by more than a pixel over the skin as the
head nods), and the residuals of the landmark fit do not show it. The pictures do: a point of the skin must
look alike in every frame, and the matte must end equally far from the skull. Each round averages texture and
outline over the clip and moves every frame's rigid pose towards them (Gauss-Newton on the inverse problem of
Lucas and Kanade 1981, over a head model instead of a window).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.meshes.normals import vertex_normals
from partnerface.tracking.alignment.face_texture import (
    average_texture,
    contrast_images,
    stable_skin,
    texture_residuals,
    texture_sums,
    with_gradient,
)
from partnerface.tracking.alignment.head_outline import (
    GATE_PX,
    HairShell,
    OutlineRows,
    measure_outline,
    outline_equations,
)
from partnerface.tracking.alignment.pose_step import (
    AlignmentSettings,
    damped_step,
    pose_jacobian,
    without_static_offset,
)

ALIGNMENT_SIZE = 256
POSE_CHUNK = 50
MOST_LEARNED_FROM = 2000
"""Frames that texture and outline are learned from: each takes 0.3 MB until the end. In a longer clip they
are spread evenly over it, and its other frames follow, a chunk at a time."""
STATIC_POINTS = 200
"""Points of the skin that say where the mesh lies on average."""

FIRST_GATES_M = (0.1, 0.03, 0.015)
"""How far from the shell the outline is looked for while the shell grows from the bare skin, in metres."""


@torch.no_grad()
def align_poses(
    luminance: Tensor,
    mattes: Tensor,
    camera: Camera,
    head: HeadParameters,
    frame_weights: Tensor,
    head_model: HeadModel,
    settings: AlignmentSettings | None = None,
    on_round: Callable[[int], None] | None = None,
) -> HeadParameters:
    """Correct the rigid pose of every tracked frame.

    Args:
        luminance: ``[T, H, W]`` uint8.
        mattes: ``[T, H, W]`` uint8, 255 is the person.
        camera: ``T`` cameras at the size of these images.
        head: ``T`` fitted head parameters.
        frame_weights: ``[T]``; frames of weight 0 keep their pose.
        head_model: the fitted head model.
        settings: see `AlignmentSettings`.
        on_round: called with the number of each finished round.
    """
    settings = settings or AlignmentSettings()
    points = stable_skin(head_model, head.identity, settings.spacing_m)
    shell = HairShell.bare(head_model)

    def chunk_of(frames: Tensor) -> _PoseChunk:
        some = head.select(frames)
        vertices, normals = _rest_vertices(head_model, some)
        skin = [torch.stack([points.of(frame) for frame in values]) for values in (vertices, normals)]
        return _PoseChunk(
            contrast=contrast_images(luminance[frames]),
            mattes=mattes[int(frames[0]) : int(frames[-1]) + 1],  # no copy
            camera=camera.select(frames),
            skin=(skin[0], functional.normalize(skin[1], dim=-1)),
            outline=(vertices[:, shell.vertices], functional.normalize(normals[:, shell.vertices], dim=-1)),
            rivals=vertices[:, shell.rivals],
            weights=frame_weights[frames],
            first_rotation=some.rotation,
            first_translation=some.translation,
            rotation=some.rotation,
            translation=some.translation,
        )

    stretches = torch.arange(len(head)).split(POSE_CHUNK)
    tracked = [number for number, frames in enumerate(stretches) if frame_weights[frames].any()]
    spread = torch.linspace(0, len(tracked) - 1, MOST_LEARNED_FROM // POSE_CHUNK).long().unique()
    learned = {tracked[i]: chunk_of(stretches[tracked[i]]) for i in spread}
    chunks = list(learned.values())
    weights = torch.cat([chunk.weights for chunk in chunks])
    _, depth = camera.project(head.translation[:, None])
    pixels_per_metre = float((camera.intrinsics[:, 0] / depth[:, 0]).mean())
    for gate in FIRST_GATES_M:
        _learn_shell(shell, chunks, gate * pixels_per_metre)
    for number in range(settings.rounds):
        texture, seen_often = average_texture([chunk.texture() for chunk in chunks], weights)
        _learn_shell(shell, chunks, GATE_PX)
        for chunk in chunks:
            chunk.move_towards(texture, seen_often, shell, settings)
        _hold_mean_place(chunks)
        if on_round is not None:
            on_round(number + 1)
    rotation, translation = head.rotation.clone(), head.translation.clone()
    for number in tracked:
        if (chunk := learned.get(number)) is None:
            chunk = chunk_of(stretches[number])
            for _ in range(settings.rounds):
                chunk.move_towards(texture, seen_often, shell, settings)
        rotation[stretches[number]] = chunk.rotation
        translation[stretches[number]] = chunk.translation
    skin = points.of(head_model.identity_vertices(head.identity))
    skin = skin[:: max(1, len(skin) // STATIC_POINTS)]
    rotation, translation = without_static_offset(
        camera, skin, (head.rotation, head.translation), (rotation, translation), frame_weights
    )
    return replace(head, rotation=rotation, translation=translation)


@dataclass
class _PoseChunk:
    """Some frames of the clip. A clip does not fit in memory as floats with gradients.

    Attributes:
        contrast: ``[T, H, W]`` int8.
        mattes: ``[T, H, W]`` uint8.
        camera: their cameras.
        skin: points of the face and their normals ``[T, Q, 3]`` in the head's rest space.
        outline: vertices of the shell and their normals ``[T, N, 3]`` in the head's rest space.
        rivals: ``[T, M, 3]`` vertices of neck and torso, see `HairShell`, in the head's rest space.
        weights: ``[T]``.
        first_rotation, first_translation: the poses of the landmark fit.
        rotation, translation: the poses now.
    """

    contrast: Tensor
    mattes: Tensor
    camera: Camera
    skin: tuple[Tensor, Tensor]
    outline: tuple[Tensor, Tensor]
    rivals: Tensor
    weights: Tensor
    first_rotation: Tensor
    first_translation: Tensor
    rotation: Tensor
    translation: Tensor

    def texture(self) -> tuple[Tensor, Tensor]:
        pose = self.rotation, self.translation
        return texture_sums(self.contrast, self.camera, *self.skin, *pose, self.weights)

    def measured(self, shell: HairShell, gate: float) -> OutlineRows:
        pose = self.rotation, self.translation
        return measure_outline(shell, self.mattes, self.camera, *self.outline, self.rivals, *pose, gate)

    def move_towards(
        self, texture: Tensor, seen_often: Tensor, shell: HairShell, settings: AlignmentSettings
    ) -> None:
        """Gauss-Newton steps of each pose towards the texture ``[Q]`` and the shell."""
        planes = with_gradient(self.contrast)
        for _ in range(settings.steps):
            pose = self.rotation, self.translation
            skin = texture_residuals(planes, self.camera, *self.skin, *pose, texture, seen_often)
            by_skin = skin.equations(pose_jacobian(self.camera, skin.gradient, skin.world, self.translation))
            rows = self.measured(shell, GATE_PX)
            by_outline = outline_equations(rows, shell, self.camera, self.translation)
            normal, slope = (
                a + settings.outline_weight * b for a, b in zip(by_skin, by_outline, strict=True)
            )
            turned = self.rotation @ self.first_rotation.transpose(1, 2)
            moved = turned, self.translation - self.first_translation
            turn, shift = damped_step(normal, slope, moved, settings)
            self.rotation = axis_angle_to_matrix(turn * self.weights[:, None]) @ self.rotation
            self.translation = self.translation + shift * self.weights[:, None]


def _hold_mean_place(chunks: list[_PoseChunk]) -> None:
    """Undo the mean shift of the clip: texture and outline, learned with it, cannot see it and drift."""
    weight = torch.cat([chunk.weights for chunk in chunks])
    shift = torch.cat([chunk.translation - chunk.first_translation for chunk in chunks])
    mean = (weight[:, None] * shift).sum(0) / weight.sum().clamp_min(1e-6)
    for chunk in chunks:
        chunk.translation = chunk.translation - mean * chunk.weights[:, None]


def _learn_shell(shell: HairShell, chunks: list[_PoseChunk], gate: float) -> None:
    """Average over the clip how far the outline stands off the skin."""
    sums = torch.zeros(3, len(shell.vertices))
    for chunk in chunks:
        rows = chunk.measured(shell, gate)
        weight = chunk.weights[rows.frames]
        metres = -rows.residual * rows.metres_per_pixel
        sums.index_add_(1, rows.vertices, torch.stack([weight * metres, weight * metres.square(), weight]))
    shell.learn(*sums)


def _rest_vertices(head_model: HeadModel, head: HeadParameters) -> tuple[Tensor, Tensor]:
    """Vertices ``[T, V, 3]`` with expression in the head's rest space, and their normals ``[T, V, 3]``."""
    skin = head_model.faces[head_model.part_faces("skin")]
    vertices = head_model.rest_space_vertices(head)
    return vertices, torch.stack([vertex_normals(frame, skin) for frame in vertices])
