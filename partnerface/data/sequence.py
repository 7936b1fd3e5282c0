"""TrackedSequence: a tracked video, what every reader returns and every writer takes; SequenceReader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters


@dataclass
class TrueSurface:
    """What each pixel's ray meets.

    Attributes:
        depth: ``[H, W]`` metres along the ray, 0 where it meets no head.
        canonical: ``[H, W, 3]`` canonical place of the point that it meets, metres: where that point of
            the person lies in rest pose, in the head model's canonical expression, without the fine
            motion that expressions bring.
    """

    depth: Float[Tensor, "H W"]
    canonical: Float[Tensor, "H W 3"]

    def to(self, device: torch.device) -> TrueSurface:
        return TrueSurface(self.depth.to(device), self.canonical.to(device))


@dataclass
class TrueMotion:
    """The fine motion of V points on a person's skin and hair, beyond what the head model expresses.

    Attributes:
        points: ``[V, 3]`` canonical places without fine motion, metres.
        faces: ``[Fc, 3]`` the surface that the points make.
        shapes: ``[K, V, 3]`` motions of which the motion of every frame is a sum, metres in canonical axes.
        weights: ``[T, K]`` the share of each in each of the T frames.
        regions: ``[V]`` bool by name: ``fine_face``, skin of the face with fine motion; ``quiet_face``, the
            rest of its skin; ``hair``.
    """

    points: Float[Tensor, "V 3"]
    faces: Int[Tensor, "Fc 3"]
    shapes: Float[Tensor, "K V 3"]
    weights: Float[Tensor, "T K"]
    regions: dict[str, Tensor]

    def offsets(self, frames: Sequence[int], points: Tensor | None = None) -> Tensor:
        """``[F, V, 3]`` metres that the motion of some frames adds to all points or to some ``[N]``."""
        shapes = self.shapes if points is None else self.shapes[:, points]
        return torch.einsum("fk,kvc->fvc", self.weights[list(frames)], shapes)

    def to(self, device: torch.device) -> TrueMotion:
        tensors = {name: getattr(self, name).to(device) for name in ("points", "faces", "shapes", "weights")}
        return TrueMotion(**tensors, regions={name: mask.to(device) for name, mask in self.regions.items()})


Reference = Literal["motionless", "finer"]
"""A picture that only an embedded subject has: of the same frame without the fine motion of the face, or
with twice as many samples along each axis."""


@dataclass
class HeadModelRecord:
    """Which head model a dataset was tracked with; a different one cannot read its coefficients.

    The version of FLAME is the name of its file: the same file under another name is the same head model.
    """

    name: str
    version: str = field(compare=False)
    checksum: str
    num_identity: int
    num_expression: int


@dataclass
class TrackedSequence:
    """A video of one person, with camera and head parameters for every frame.

    All T frames of the video stay in the time axis; a frame without a face has weight 0.

    Attributes:
        name: shown in logs and tables.
        image_paths: ``T`` files, uint8 RGB.
        matte_paths: ``T`` files, uint8 grey, 255 is the person.
        label_paths: ``T`` files, uint8 grey, values of `Region`.
        camera: ``T`` cameras at the resolution of the files.
        head: ``T`` head parameters.
        head_model_record: which head model these coefficients belong to.
        fps: frames per second.
        frame_weights: ``[T]`` 1 where the head was tracked, 0 elsewhere.
        torso_motion: ``[T, 2, 3]`` affine map of the torso, from a frame's image coordinates to those
            of the reference torso image; both divided by width and height, in [0, 1].
        neck_line: row in the reference torso image, in [0, 1], above which there is no torso.
        shell_thickness: ``[V]`` metres: how far hair and skin reach beyond each vertex, from the mattes.
        splits: frame indices by split name. ``train`` and ``val`` are used in training; every other
            name is a test split (``temporal``, ``blocks``, ``unseen_expression``). Splits other than
            ``unseen_expression`` are disjoint; frames in no split are gaps.
        split_protocol: how the frames of a split were chosen, in words, by split name; a split without an
            entry comes from a dataset that does not say.
        coverage: pose and expression coverage by split name, as written by the tracker's report.
        left_out: frames whose tracking is impossible, with the reason; they have weight 0 and no split.
        times: ``[T]`` seconds, increasing, where frames do not follow each other evenly, as after a choice of
            them or a stall; else None.
        frame_names: ``T`` names of the frames, as its system calls them; empty where the reader gives none.
        head_model: the head model itself, where the reader has it: ``head_model(head)`` poses the head.
        format: name of the format that the dataset was read as.
        recognised_by: as which format it was read and why, in words; empty where there was no choice.
        assumed: what its files do not say and had to be assumed, in words.
    """

    name: str
    image_paths: list[Path]
    matte_paths: list[Path]
    label_paths: list[Path]
    camera: Camera
    head: HeadParameters
    head_model_record: HeadModelRecord
    fps: float
    frame_weights: Float[Tensor, " T"]
    torso_motion: Float[Tensor, "T 2 3"]
    neck_line: float
    shell_thickness: Float[Tensor, " V"]
    splits: dict[str, list[int]]
    split_protocol: dict[str, str] = field(default_factory=dict)
    coverage: dict[str, dict[str, float]] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    head_model: HeadModel | None = None
    times: Float[Tensor, " T"] | None = None
    frame_names: list[str] = field(default_factory=list)
    format: str = "partnerface"
    recognised_by: str = ""
    assumed: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """As which format it was read, why, and what had to be assumed, in words; may be empty."""
        words = [self.recognised_by, *(f"assumed: {text}" for text in self.assumed)]
        return "; ".join(filter(None, words))

    def __len__(self) -> int:
        return len(self.image_paths)

    @property
    def test_splits(self) -> list[str]:
        return [name for name in self.splits if name not in ("train", "val")]

    @property
    def test_frames(self) -> list[int]:
        """Frames of all test splits, in their order."""
        return sorted({frame for name in self.test_splits for frame in self.splits[name]})


def head_model_record(head_model: HeadModel) -> HeadModelRecord:
    """The record that a dataset made with this head model carries."""
    asset = head_model.asset
    return HeadModelRecord(
        asset.name, asset.version, asset.checksum(), head_model.num_identity, head_model.num_expression
    )


def check_head_model(sequence: TrackedSequence, head_model: HeadModel) -> None:
    """Make sure that the sequence's coefficients belong to this head model.

    Raises:
        UserError: they were made with another model, or with another build of it, or are not as many as
            it has joints or vertices.
    """
    expected, found = head_model_record(head_model), sequence.head_model_record
    if expected != found:
        raise UserError(
            f"dataset {sequence.name}: made for head model {_described(found)}, but this avatar uses "
            f"{_described(expected)}; track the video again or choose the matching head model"
        )
    counts = {
        "joint_rotations": (sequence.head.joint_rotations.shape[1], head_model.num_joints),
        "shell_thickness": (len(sequence.shell_thickness), len(head_model.template_vertices)),
    }
    for name, (has, needs) in counts.items():
        if has != needs:
            raise UserError(
                f"dataset {sequence.name}: {name} is for {has}, but the head model {found.name} has {needs}; "
                "track the video again"
            )


def _described(record: HeadModelRecord) -> str:
    return (
        f"{record.name} {record.version} (checksum {record.checksum}, {record.num_identity} identity and "
        f"{record.num_expression} expression coefficients)"
    )


class SequenceReader(ABC):
    """Reads one tracked video.

    Attributes:
        root: the dataset's folder; derived files (the frame cache) are kept in it.
    """

    root: Path

    @abstractmethod
    def read(self) -> TrackedSequence:
        """Read and check the dataset, converting to our conventions; images stay on disk.

        Raises:
            UserError: something is missing or wrong; the message names the file.
        """

    def true_surface(self, frame: int, camera: Camera) -> TrueSurface | None:
        """The surface behind the pixels of a frame; None where nobody knows it, as in any real video.

        ``camera`` is the frame's own, at any resolution.
        """
        del frame, camera
        return None

    def true_motion(self) -> TrueMotion | None:
        """The fine motion of all frames; None where nobody knows it, as in any real video."""
        return None

    def reference_picture(self, frame: int, kind: Reference) -> tuple[np.ndarray, np.ndarray] | None:
        """Image ``[H, W, 3]`` and matte ``[H, W]`` of a frame, uint8, in the files' size; None if unknown."""
        del frame, kind
        return None
