"""RunFilm: the film of a test or a prediction, whose pictures wait on the disk until all are rendered."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from partnerface.files.videos import write_video
from partnerface.files.whole_files import NotWritten, require_writable
from partnerface.training.distributed import of_every_process, streamed_to_first


class RunFilm:
    """Pictures of one process, in the order in which they are rendered, for a film of all processes.

    Until the film is written they lie compressed in a file without a name, which no kill leaves behind: those
    of a long film would fill the memory.

    Args:
        folder: where the file is kept, the run's folder: the system's temporary one may lie in memory.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        require_writable(folder)
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `write`
        self._kept: list[tuple[int, tuple[int, ...]]] = []

    def add(self, picture: np.ndarray) -> None:
        """Keep a picture ``[H, W, C]`` uint8.

        Raises:
            NotWritten: the disk is full.
        """
        packed = zlib.compress(picture.tobytes(), 1)
        try:
            self._file.write(packed)
            self._file.flush()
        except OSError as error:
            raise NotWritten(
                f"{self._folder}: no picture can be kept there until its film is written ({error.strerror}); "
                "make room and repeat the command"
            ) from error
        self._kept.append((len(packed), picture.shape))

    def write(self, path: Path, fps: float, comment: str) -> int:
        """Write the pictures of all processes, in the order of their ranks; called once.

        All processes have to call it; the first writes.

        Args:
            path: the video, see `write_video`.
            fps: pictures per second.
            comment: what the video says of itself in its metadata.

        Returns:
            The number of pictures of all processes; without any nothing is written.

        Raises:
            NotWritten: the video cannot be written.
        """
        count = sum(of_every_process(len(self._kept)))
        with self._file, streamed_to_first(self._pictures(), len(self._kept)) as pictures:
            if count and pictures is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_video(path, pictures, fps, comment=comment)
        return count

    def _pictures(self) -> Iterator[np.ndarray]:
        self._file.seek(0)
        for size, shape in self._kept:
            yield np.frombuffer(zlib.decompress(self._file.read(size)), np.uint8).reshape(shape)
