"""Views: those of a sequence, and random ones for tests that do not care what they show."""

import torch
from pytorch3d.transforms import random_rotations

from partnerface.cameras.pinhole import Camera
from partnerface.data.sequence import TrackedSequence
from partnerface.data.view import View
from partnerface.head_models.head_parameters import HeadParameters


def views_of(sequence: TrackedSequence, frames: list[int] | None = None) -> View:
    """Some frames of a sequence, or all, at the size of its camera."""
    views = View(sequence.camera, sequence.head, sequence.torso_motion)
    return views if frames is None else views.select(frames)


def random_view(frames: int, seed: int = 0, width: int = 9, height: int = 6) -> View:
    """F views with every optional tensor; no two frames are alike."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        camera = Camera(
            torch.tensor([100.0, 110.0, width / 2, height / 2]) + torch.rand(frames, 4),
            torch.cat([random_rotations(frames), torch.randn(frames, 3, 1)], 2),
            width,
            height,
        )
        head = HeadParameters(
            identity=torch.randn(3),
            expression=torch.randn(frames, 4),
            joint_rotations=random_rotations(frames * 2).view(frames, 2, 3, 3),
            rotation=random_rotations(frames),
            translation=torch.randn(frames, 3),
            torso_rotation=random_rotations(frames),
            torso_translation=torch.randn(frames, 3),
            angular_velocity=torch.randn(frames, 3),
        )
        return View(camera, head, torch.randn(frames, 2, 3))


def tensors_of(view: View) -> dict[str, torch.Tensor | None]:
    """All tensors of a view by name."""
    camera = {name: getattr(view.camera, name) for name in ("intrinsics", "camera_to_world")}
    return {**camera, **vars(view.head), "torso_motion": view.torso_motion}
