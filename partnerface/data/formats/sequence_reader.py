"""SequenceReader: what turns a dataset on disk into a TrackedSequence. One implementation per format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from partnerface.cameras.pinhole import Camera
from partnerface.data.sequence import TrackedSequence, TrueSurface


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

        Args:
            frame: its number in the sequence.
            camera: the frame's camera, at any resolution.
        """
        del frame, camera
        return None
