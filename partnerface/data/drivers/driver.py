"""Driver: the interface of what drives an avatar, and the driver of its own video."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import Dataset

from partnerface.data.view import View


class Driver(Dataset, ABC):
    """A performance: N views of the avatar's person, one after another in time.

    Attributes:
        fps: views per second.
        sound: a file whose sound belongs to the views, or None.
        sound_start: where in it the first view is, in seconds from its first picture.
    """

    fps: float
    sound: Path | None = None
    sound_start: float = 0.0

    @abstractmethod
    def __len__(self) -> int:
        """Number of views N."""

    @abstractmethod
    def __getitem__(self, place: int) -> View:
        """The view (F = 1) number ``place`` in [0, N)."""


class OwnFrames(Driver):
    """Frames of the video that the avatar was made from, as tracked.

    Args:
        views: all T frames of the video, at the size to render.
        frames: numbers of the frames to show, in order.
        fps: frames per second of the video.
    """

    def __init__(self, views: View, frames: Sequence[int], fps: float) -> None:
        self.views, self.frames, self.fps = views, list(frames), fps

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, place: int) -> View:
        return self.views.select([self.frames[place]])
