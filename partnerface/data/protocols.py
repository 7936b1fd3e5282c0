"""NamedProtocol: how a system of the literature divides a video and what it scores, to compare numbers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from partnerface.data.formats.foreign import TOO_SHORT
from partnerface.data.regions import FULL_FRAME, WITHOUT_TORSO
from partnerface.data.sequence import TrackedSequence
from partnerface.data.splits import SPLIT_PROTOCOL, split_coverage
from partnerface.errors import UserError

TEST = "test"
"""The one test split of a named protocol, and of most datasets of other systems."""
OWN_TESTS = {*SPLIT_PROTOCOL, "unseen_combination", "larger"} - {"train", "val"}
"""Test splits that are ours; datasets with others are divided by the system that they come from."""


@dataclass(frozen=True)
class NamedProtocol:
    """How a system divides a video and what it scores.

    Attributes:
        name: by which ``--protocol`` chooses it.
        title: name of the system that it belongs to.
        tested: frames at the end of the video that test, or their share if below 1; None leaves a dataset
            as it is divided.
        image_size: longer side of the pictures in pixels; None for any.
        systems: names of dataset formats whose own division is that of this protocol.
        picture: the region that is scored: ``full_frame``, ``without_torso`` or ``head_mask``.
        metrics: names of the metrics that the system reports, of those that a test here has.
        differences: what differs from the system's own measurement, in words.
    """

    name: str
    title: str
    tested: float | None
    image_size: int | None
    systems: tuple[str, ...]
    picture: str
    metrics: tuple[str, ...]
    differences: tuple[str, ...]

    @property
    def test(self) -> str:
        """Which frames test, in words.

        >>> PROTOCOLS["insta"].test, PROTOCOLS["strict"].test
        ('the last 350 frames', 'those of the dataset')
        """
        if self.tested is None:
            return "those of the dataset"
        share = f"{100 * self.tested:.3g} % of the" if self.tested < 1 else f"{self.tested:g}"
        return f"the last {share} frames"

    def scored(self, division: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What is scored, and what differs from the system's own measurement, as a table for JSON.

        Args:
            division: how the dataset was divided, in words (`TrackedSequence.split_protocol`); one that came
                divided may test otherwise than its system does by default.
        """
        return {
            "title": self.title,
            "test": (division or {}).get(TEST, self.test),
            "picture": self.picture,
            "metrics": list(self.metrics),
            "differences": list(self.differences),
        }


_ALEX = "LPIPS is that of AlexNet"
_FOUND = (
    NamedProtocol(
        name="insta",
        title="INSTA",
        tested=350,
        image_size=512,
        systems=("insta",),
        picture=WITHOUT_TORSO,
        metrics=("psnr", "ssim", "lpips"),
        differences=(
            "both pictures are over white; with which colour INSTA compares is not known to us",
            "clothes are left out by our labels, where INSTA's are cut out of its pictures by a face parser",
            _ALEX,
        ),
    ),
    NamedProtocol(
        name="pointavatar",
        title="PointAvatar",
        tested=350,
        image_size=512,
        systems=("imavatar",),
        picture=WITHOUT_TORSO,
        metrics=("l1", "psnr", "ssim", "lpips"),
        differences=(
            "PointAvatar fits expression, pose and camera of every test frame to its picture first; here "
            "only --model.test_parameters refined does",
            "PointAvatar tests on videos of their own; of a single video the last 350 frames test, as "
            "SplattingAvatar has it",
            "what is left out is white, in PointAvatar's SSIM and LPIPS black",
        ),
    ),
    NamedProtocol(
        name="nerface",
        title="NeRFace",
        tested=1000,
        image_size=512,
        systems=("nerface",),
        picture=FULL_FRAME,
        metrics=("l1", "psnr", "ssim", "lpips"),
        differences=(
            "NeRFace scores the room behind the person too, of which it is given a picture; here both "
            "pictures are over white",
            _ALEX,
        ),
    ),
    NamedProtocol(
        name="nersemble-mono",
        title="NeRSemble's monocular benchmark",
        tested=3105 / 15118,
        image_size=512,
        systems=("nersemble-mono",),
        picture=FULL_FRAME,
        metrics=("psnr", "ssim", "lpips"),
        differences=(
            "the benchmark tests on sequences that it keeps to itself, three quarters of the pictures by "
            "cameras that training has not seen; here the same share of a video's frames tests, by its own "
            "camera",
            _ALEX,
        ),
    ),
    NamedProtocol(
        name="strict",
        title="partnerface",
        tested=None,
        image_size=None,
        systems=(),
        picture="head_mask",
        metrics=("psnr", "ssim", "lpips"),
        differences=(),
    ),
)
PROTOCOLS = {protocol.name: protocol for protocol in _FOUND}
"""Protocols by name. ``strict`` is ours: the dataset's division, and nothing fitted to test pictures."""


def protocol_named(name: str) -> NamedProtocol:
    """The protocol of that name.

    Raises:
        UserError: there is none.
    """
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name, PROTOCOLS, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(PROTOCOLS)}"
        raise UserError(f"--protocol {name}: there is no such protocol; {hint}")
    return PROTOCOLS[name]


def divided_by(sequence: TrackedSequence, protocol: NamedProtocol) -> TrackedSequence:
    """The sequence, divided into ``train`` and ``test`` as a protocol says.

    A dataset that its own system has divided stays as it is where that is the protocol's division. One that
    we have divided is divided anew: of the frames in which the head was tracked the last test, all before
    them train.

    Raises:
        UserError: the video is too short, its pictures are too small, or its own division is another.
    """
    width, height = sequence.camera.width, sequence.camera.height
    if protocol.image_size is not None and max(width, height) < protocol.image_size:
        raise UserError(
            f"--protocol {protocol.name}: is measured at {protocol.image_size} pixels, but the pictures of "
            f"dataset {sequence.name} have {width}x{height}; leave it out, or track the video larger"
        )
    if protocol.tested is None:
        return sequence
    tracked = torch.where(sequence.frame_weights > 0)[0].tolist()
    count = round(len(tracked) * protocol.tested) if protocol.tested < 1 else int(protocol.tested)
    own_words = sequence.split_protocol.get(TEST, "")
    if sequence.format in protocol.systems and TOO_SHORT not in own_words:
        return sequence
    if not 0 < count < len(tracked):
        raise UserError(
            f"--protocol {protocol.name}: tests on {count or 1} frames, but dataset {sequence.name} has "
            f"{len(tracked)} in which a head was tracked; choose a longer video, or leave out --protocol"
        )
    splits = {"train": tracked[:-count], TEST: tracked[-count:]}
    if not OWN_TESTS & {*sequence.splits} and sequence.splits.get(TEST) != splits[TEST]:
        raise UserError(
            f"--protocol {protocol.name}: tests on the last {count} frames, but dataset {sequence.name} is "
            f"divided by its own system (test: {own_words or 'none'}); leave it out, or choose that system's"
        )
    words = {
        "train": "all frames before those of test in which the head was tracked",
        TEST: f"the last {count} frames in which the head was tracked, as {protocol.title} tests",
    }
    coverage = split_coverage(splits, sequence.head)
    return replace(sequence, splits=splits, split_protocol=words, coverage=coverage)
