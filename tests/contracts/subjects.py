"""Heads in strong poses and a small tracked video without files: what the contracts are tried on."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor, nn

from partnerface.cameras.pinhole import Camera
from partnerface.data.sequence import TrackedSequence, head_model_record
from partnerface.data.view import View
from partnerface.deformation.deformation import CanonicalCube, CanonicalHead
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.skinning.head_surface import head_surface

SHELL_M = 0.012


@cache
def shared_head_model() -> HeadModel:
    """The head model that comes with the package, loaded once; tests leave it as it is."""
    return AnnyHead()


def strong_parameters(head_model: HeadModel, frames: int = 1, seed: int = 0) -> HeadParameters:
    """F frames, 1 m before the camera: strong expressions, turned heads and eyes, a torso of its own."""
    generator = torch.Generator().manual_seed(seed)

    def rotations(radians: float) -> Tensor:
        return axis_angle_to_matrix(radians * torch.randn(frames, 3, generator=generator))

    neutral = head_model.neutral_parameters(frames)
    joint_rotations = neutral.joint_rotations.clone()
    for eye in ("eye_left", "eye_right"):
        if eye in head_model.asset.joint_names:
            joint_rotations[:, head_model.joint(eye)] = rotations(0.15)
    strength = torch.rand(frames, head_model.num_expression, generator=generator)
    return replace(
        neutral,
        identity=0.7 * torch.randn(head_model.num_identity, generator=generator),
        expression=0.5 * strength * (torch.rand(strength.shape, generator=generator) < 0.3),
        joint_rotations=joint_rotations,
        rotation=rotations(0.3),
        translation=torch.tensor([0.0, 0.0, -1.0]) + 0.05 * torch.randn(frames, 3, generator=generator),
        torso_rotation=rotations(0.1),
        torso_translation=torch.tensor([0.0, 0.0, -1.0]).repeat(frames, 1),
    )


def rigid_parameters(head_model: HeadModel, parameters: HeadParameters) -> HeadParameters:
    """A pose (F = 1) as one rigid motion: canonical expression, joints at rest, torso and head together."""
    return replace(
        parameters,
        expression=head_model.canonical_expression[None],
        joint_rotations=torch.eye(3).expand(1, head_model.num_joints, 3, 3),
        torso_rotation=None,
        torso_translation=None,
    )


def in_frame(points: Tensor, frame: int = 0) -> Tensor:
    """``[N]`` int32 that number: N points that all lie in one frame."""
    return torch.full((len(points),), frame, dtype=torch.int32)


def random_motion(seed: int = 0) -> tuple[Tensor, Tensor]:
    """A rotation ``[3, 3]`` of some radians and a translation ``[3]`` of some metres, of the whole world."""
    generator = torch.Generator().manual_seed(seed)
    turn = axis_angle_to_matrix(torch.tensor([0.5, -1.2, 0.8]) + 0.1 * torch.randn(3, generator=generator))
    return turn, torch.randn(3, generator=generator)


def moved_head(head: HeadParameters, turn: Tensor, shift: Tensor) -> HeadParameters:
    """Head and torso after a rigid motion of the world."""
    moved = replace(head, rotation=turn @ head.rotation, translation=head.translation @ turn.T + shift)
    if head.torso_rotation is None:
        return moved
    return replace(
        moved,
        torso_rotation=turn @ head.torso_rotation,
        torso_translation=head.torso_translation @ turn.T + shift,
    )


def moved_view(view: View, turn: Tensor, shift: Tensor) -> View:
    """Camera, head and torso after a rigid motion of the world: the same picture."""
    rotation, centre = view.camera.camera_to_world[..., :3], view.camera.camera_to_world[..., 3]
    pose = torch.cat([turn @ rotation, (centre @ turn.T + shift)[..., None]], -1)
    camera = replace(view.camera, camera_to_world=pose)
    return View(camera, moved_head(view.head, turn, shift), view.torso_motion)


def canonical_head(head_model: HeadModel, expression: Tensor | None = None) -> CanonicalHead:
    """The mean person, as deformations are given it, in a cube of half a metre.

    Args:
        head_model: whose mean.
        expression: ``[F, E]`` training expressions; none by default.
    """
    cube = CanonicalCube()
    cube.low.fill_(-0.25)
    cube.extent.fill_(0.5)
    used = head_model.faces[head_surface(head_model)].unique()
    expression = torch.zeros(2, head_model.num_expression) if expression is None else expression
    return CanonicalHead(head_model, head_model.template_vertices, used, expression, cube)


def tracked_sequence(head_model: HeadModel, frames: int = 10, size: int = 24) -> TrackedSequence:
    """A tracked video of strong poses: cameras, heads and splits, without the pictures."""
    files = [Path(f"{frame:05d}.png") for frame in range(frames)]
    motion = torch.eye(2, 3).repeat(frames, 1, 1)
    motion[:, 0, 2] = 0.01 * torch.arange(frames)
    return TrackedSequence(
        name="strong poses",
        image_paths=files,
        matte_paths=files,
        label_paths=files,
        camera=Camera.static(frames, 2.5 * size, size, size),
        head=strong_parameters(head_model, frames),
        head_model_record=head_model_record(head_model),
        fps=25.0,
        frame_weights=torch.ones(frames),
        torso_motion=motion,
        neck_line=0.7,
        shell_thickness=torch.full((len(head_model.template_vertices),), SHELL_M),
        splits={"train": list(range(frames - 3)), "val": [frames - 3], "temporal": [frames - 2, frames - 1]},
    )


def disturb(module: nn.Module, scale: float, seed: int = 0) -> None:
    """Add noise to all parameters, as training would: what starts at zero is zero no more."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
