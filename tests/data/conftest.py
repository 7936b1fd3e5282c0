"""A tiny tracked video on disk, of a made-up head model."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch3d.transforms import random_rotations

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.writer import SequenceWriter
from partnerface.data.regions import Region
from partnerface.data.sequence import HeadModelRecord, TrackedSequence
from partnerface.head_models.head_parameters import HeadParameters


@dataclass
class TinyVideo:
    """Random frames and the other fields of their `TrackedSequence`."""

    frames: int = 6
    width: int = 32
    height: int = 24
    torso: bool = True
    splits: dict = field(default_factory=lambda: {"train": [0, 1, 2], "val": [3], "temporal": [4, 5]})
    times: torch.Tensor | None = None

    def __post_init__(self) -> None:
        generator = np.random.default_rng(0)
        shape = (self.frames, self.height, self.width)
        self.images = generator.integers(0, 256, (*shape, 3)).astype(np.uint8)
        self.mattes = generator.integers(0, 256, shape).astype(np.uint8)
        self.labels = generator.integers(0, len(Region), shape).astype(np.uint8)

    def parameters(self) -> dict:
        torch.manual_seed(0)
        count = self.frames
        camera = Camera.static(count, 100.0, self.width, self.height)
        camera.camera_to_world[:, :, 3] = torch.tensor([0.0, 0.0, 1.0])
        head = HeadParameters(
            identity=torch.randn(3),
            expression=torch.randn(count, 4),
            joint_rotations=random_rotations(count * 6).view(count, 6, 3, 3),
            rotation=random_rotations(count),
            translation=0.05 * torch.randn(count, 3),
            torso_rotation=random_rotations(count) if self.torso else None,
            torso_translation=torch.randn(count, 3) if self.torso else None,
        )
        return {
            "name": "tiny",
            "camera": camera,
            "head": head,
            "head_model_record": HeadModelRecord("made-up", "7", "abc", 3, 4),
            "fps": 29.97,
            "times": self.times,
            "frame_weights": torch.ones(count),
            "torso_motion": torch.randn(count, 2, 3),
            "neck_line": 0.7,
            "shell_thickness": torch.rand(10),
            "splits": self.splits,
            "split_protocol": {"temporal": "the last two"},
            "coverage": {"train": {"yaw_max": 12.5}},
        }

    def add_frames(self, writer: SequenceWriter) -> None:
        for image, matte, labels in zip(self.images, self.mattes, self.labels, strict=True):
            writer.add_frame(image, matte, labels)

    def finish(
        self, writer: SequenceWriter, landmark_residual: torch.Tensor | None = None, **changed: object
    ) -> TrackedSequence:
        paths = dict(zip(("image_paths", "matte_paths", "label_paths"), writer.paths.values(), strict=True))
        sequence = TrackedSequence(**{**self.parameters(), **paths, **changed})
        return writer.finish(sequence, landmark_residual)

    def write(self, root: Path, **changed: object) -> TrackedSequence:
        with SequenceWriter(root) as writer:
            self.add_frames(writer)
            return self.finish(writer, **changed)


@pytest.fixture
def tiny_video() -> type[TinyVideo]:
    return TinyVideo
