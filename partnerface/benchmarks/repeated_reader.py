"""RepeatedReader: a long video from a short one, for benchmarks of length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from partnerface.data.readers.partnerface import PartnerfaceReader
from partnerface.data.sequence_reader import SequenceReader
from partnerface.data.tracked_sequence import TrackedSequence
from partnerface.user_error import UserError


class RepeatedReader(SequenceReader):
    """Plays a dataset again and again until it is ``frames`` long; no file is copied.

    Args:
        root: a dataset in our own format.
        frames: length of the result.
    """

    def __init__(self, root: Path, frames: int) -> None:
        if frames < 1:
            raise UserError(f"frames {frames}: a clip needs at least one frame")
        self.root, self.frames = Path(root), frames

    def read(self) -> TrackedSequence:
        once = PartnerfaceReader(self.root).read()
        order = torch.arange(self.frames) % len(once)
        places = order.tolist()
        members = {name: {*frames} for name, frames in once.splits.items()}
        return replace(
            once,
            image_paths=[once.image_paths[i] for i in places],
            matte_paths=[once.matte_paths[i] for i in places],
            label_paths=[once.label_paths[i] for i in places],
            camera=once.camera.select(order),
            head=once.head.select(order),
            frame_weights=once.frame_weights[order],
            torso_motion=once.torso_motion[order],
            splits={name: [t for t, i in enumerate(places) if i in some] for name, some in members.items()},
        )
