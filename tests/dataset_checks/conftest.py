"""A tracked sequence without files, for checks that look at no picture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pytorch3d.transforms import euler_angles_to_matrix

from partnerface.cameras.pinhole import Camera
from partnerface.data.sequence import HeadModelRecord, TrackedSequence
from partnerface.head_models.head_parameters import HeadParameters


@pytest.fixture
def make_sequence() -> Callable[..., TrackedSequence]:
    """Makes T frames that turn by ``turn`` degrees and use all of four expressions; 300 train."""

    def make(turn: float = 40, frames: int = 400, splits: dict | None = None) -> TrackedSequence:
        head = HeadParameters.neutral(frames, 3, 4, 6)
        yaw = torch.deg2rad(torch.linspace(-turn / 2, turn / 2, 300)).repeat(2)[:frames]
        head.rotation = euler_angles_to_matrix(torch.stack([yaw, 0 * yaw, 0 * yaw], 1), "YXZ")
        head.translation[:, 2] = -1
        head.expression = torch.linspace(0, 1, 300).repeat(2)[:frames, None].repeat(1, 4)
        return TrackedSequence(
            name="made up",
            image_paths=[],
            matte_paths=[],
            label_paths=[],
            camera=Camera.static(frames, 100, 64, 64),
            head=head,
            head_model_record=HeadModelRecord("made-up", "1", "abc", 3, 4),
            fps=25,
            frame_weights=torch.ones(frames),
            torso_motion=torch.eye(2, 3).repeat(frames, 1, 1),
            neck_line=0.7,
            shell_thickness=torch.zeros(10),
            splits=splits or {"train": list(range(300)), "temporal": list(range(310, frames))},
        )

    return make
