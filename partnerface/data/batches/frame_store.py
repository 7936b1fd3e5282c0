"""FrameStore: every frame of a sequence at the training resolution, as bytes, rid of the background."""

from __future__ import annotations

import hashlib
import mmap
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from partnerface.data.formats.layout import CACHE_FOLDER
from partnerface.data.regions import Region
from partnerface.data.sequence import TrackedSequence
from partnerface.files.images import read_labels, read_matte, read_rgb, shrink
from partnerface.files.whole_files import NotWritten, whole_file

MEMORY_LIMIT = 2_000_000_000
"""Bytes above which the frames must be kept in a memory-mapped file."""

CACHE_FROM = 50_000_000
"""Bytes above which decoded frames are cached on disk if the folder is writable; saves about 10 s."""

ABANDONED = 3600.0
"""Seconds after which nobody writes to a half-written file any more: its process was killed."""


class FrameStore:
    """All T frames, decoded and reduced once.

    Worker processes that are forked share its memory, others open a memory-mapped file anew; nothing is ever
    written to it.

    Attributes:
        channels: ``[T, H, W, 5]`` uint8: both of the following.
        rgba: ``[T, H, W, 4]`` uint8: colour of the person without the background, and matte.
        labels: ``[T, H, W]`` uint8, values of `Region`.
    """

    def __init__(self, channels: np.ndarray) -> None:
        self.channels = channels
        self.rgba = channels[..., :4]
        self.labels = channels[..., 4]
        self._mapping = channels.base if isinstance(channels.base, mmap.mmap) else None

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple:
        if isinstance(self.channels, np.memmap):
            return _opened, (self.channels.filename,)
        return FrameStore, (self.channels,)

    def release(self) -> None:
        """Give the pages of a memory-mapped file back: the system's cache keeps them as long as it can.

        Otherwise every frame once visited counts as this process's memory.
        """
        if self._mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._mapping.madvise(mmap.MADV_DONTNEED)

    @classmethod
    def build(
        cls, sequence: TrackedSequence, width: int, height: int, root: Path, memory_limit: int = MEMORY_LIMIT
    ) -> FrameStore:
        """Decode a sequence into a file under ``root/.cache``, or in memory where it is small or must be.

        Frames are reduced to ``width`` and ``height`` by area averaging. ``root`` is the dataset's folder;
        above ``memory_limit`` bytes there must be a file.

        Raises:
            UserError: an image is missing or damaged, or there is no room for a file that must be.
        """
        shape = (len(sequence), height, width, 5)
        size = int(np.prod(shape))
        if size > min(memory_limit, CACHE_FROM):
            try:
                return cls(_cached(sequence, shape, root))
            except NotWritten:
                if size > memory_limit:
                    raise
        channels = np.empty(shape, np.uint8)
        for index, frame in enumerate(_reduced_frames(sequence, width, height)):
            channels[index] = frame
        channels.flags.writeable = False
        return cls(channels)


def _opened(path: Path) -> FrameStore:
    return FrameStore(np.load(path, mmap_mode="r", allow_pickle=False))


def reduce_frame(
    image: np.ndarray, matte: np.ndarray, labels: np.ndarray, width: int, height: int
) -> np.ndarray:
    """One frame at another size, its colours those of the person alone.

    Image ``[H, W, 3]``, matte and labels ``[H, W]`` are uint8; labels are reduced to the nearest.

    Returns:
        ``[height, width, 5]`` uint8: red, green, blue, matte, label.
    """
    if matte.shape != (height, width):
        # Image and matte each for itself: the mean of many pixels then is what one large pixel would have
        # seen of person and wall, and the wall can still be told apart.
        image, matte = (shrink(whole, width, height) for whole in (image, matte))
        labels = np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
    return np.dstack([foreground_colours(image, matte), matte, labels])


def _reduced_frames(sequence: TrackedSequence, width: int, height: int) -> Iterator[np.ndarray]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not sys.stderr.isatty(), transient=True) as progress:
        frames = zip(sequence.image_paths, sequence.matte_paths, sequence.label_paths, strict=True)
        for image, matte, labels in progress.track(frames, len(sequence), description="Loading frames"):
            regions = read_labels(labels, max(Region))
            yield reduce_frame(read_rgb(image), read_matte(matte), regions, width, height)


def _checksum(sequence: TrackedSequence) -> str:
    """Changes whenever one of the image files does."""
    digest = hashlib.sha256(b"foreground colours of means over areas")
    for path in (*sequence.image_paths, *sequence.matte_paths, *sequence.label_paths):
        status = path.stat()
        digest.update(f"{path.parent.name}/{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _cached(sequence: TrackedSequence, shape: tuple[int, ...], root: Path) -> np.ndarray:
    """The frames ``[T, H, W, 5]``, memory-mapped, from their cache file, which is written if need be."""
    _, height, width, _ = shape
    folder = root / CACHE_FOLDER
    if folder.is_symlink():
        # Old caches in it are removed, which must not happen elsewhere.
        raise NotWritten(f"{folder}: is a link, which a dataset's cache may not be; remove it")
    path = folder / f"frames_{width}x{height}_{_checksum(sequence)}.npy"
    channels = _read_cache(path, shape)
    if channels is None:
        _write_cache(path, shape, _reduced_frames(sequence, width, height))
        channels = np.load(path, mmap_mode="r", allow_pickle=False)
    return channels


def _read_cache(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The frames of a cache file; None where it is missing or is not what it should be."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        channels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = isinstance(channels, np.ndarray) and channels.shape == shape and channels.dtype == np.uint8
    return channels if fits else None


def _write_cache(path: Path, shape: tuple[int, ...], frames: Iterator[np.ndarray]) -> None:
    size = int(np.prod(shape))
    advice = f"the frame cache takes {size / 1e9:.1f} GB: make room or choose a smaller --data.image_size"
    with whole_file(path, advice) as partial:
        path.parent.mkdir(exist_ok=True)
        for stale in path.parent.glob(f"frames_{shape[2]}x{shape[1]}_*.npy"):
            stale.unlink(missing_ok=True)
        for partial_file in path.parent.glob("*.partial"):
            with suppress(FileNotFoundError):  # another process has finished its own meanwhile
                if time.time() - partial_file.stat().st_mtime > ABANDONED:
                    partial_file.unlink()
        if shutil.disk_usage(path.parent).free < size:
            raise OSError("no space left on the disk")
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        with partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for frame in frames:
                file.write(frame.tobytes())


RADII = (16, 4, 1)
"""Pixels: from farther than the widest rim of a matte down to the pixel's own neighbours."""

TINY = 1e-5


def foreground_colours(image: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Take the background out of the colours of half-covered pixels.

    A camera's pixel is `I = a F + (1 - a) B`. Laid over another background as it is, it brings the old one
    along: a bright rim around dark hair. This is blur fusion (Forte, "Approximate Fast Foreground Colour
    Estimation", ICIP 2021): `F` and `B` are means over ever smaller windows, weighted by the matte and by
    what it leaves; what the pixel shows beyond them is given to `F`, as far as it is covered.

    Args:
        image: ``[H, W, 3]`` uint8.
        matte: ``[H, W]`` uint8, the person's share `a` of each pixel.

    Returns:
        ``[H, W, 3]`` uint8: `F`. Pixels that show the person alone stay as they are; those that show
        nothing of the person hold any colour.
    """
    rows, columns = ((matte > 0) & (matte < 255)).nonzero()
    if not len(rows):
        return image
    alpha = matte[..., None].astype(np.float32) / 255
    foreground, background = (image.astype(np.float32) / 255 for _ in range(2))
    seen, share = foreground[rows, columns], alpha[rows, columns]
    for radius in RADII:
        windows = _Windows(rows, columns, radius, matte.shape)
        person = windows.mean(foreground, alpha)
        behind = windows.mean(background, 1 - alpha)
        surplus = seen - share * person - (1 - share) * behind
        foreground[rows, columns] = (person + share * surplus).clip(0, 1)
        background[rows, columns] = behind
    return (foreground * 255).round().astype(np.uint8)


class _Windows:
    """Square windows of ``2 radius + 1`` pixels around N pixels, cut off at the frame."""

    def __init__(self, rows: np.ndarray, columns: np.ndarray, radius: int, shape: tuple[int, int]) -> None:
        self.top, self.left = (np.maximum(places - radius, 0) for places in (rows, columns))
        self.bottom = np.minimum(rows + radius + 1, shape[0])
        self.right = np.minimum(columns + radius + 1, shape[1])

    def mean(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """``[N, C]`` weighted means of ``[H, W, C]``: differences of running sums, whatever the radius."""
        running = np.zeros((values.shape[0] + 1, values.shape[1] + 1, values.shape[2] + 1))
        running[1:, 1:, :-1], running[1:, 1:, -1:] = values * weights, weights
        # In place, the same sums as numpy's in a fifth of the time.
        summed = torch.from_numpy(running)
        torch.cumsum(torch.cumsum(summed, 0, out=summed), 1, out=summed)
        sums = (
            running[self.bottom, self.right]
            - running[self.top, self.right]
            - running[self.bottom, self.left]
            + running[self.top, self.left]
        )
        return sums[:, :-1] / (sums[:, -1:] + TINY)
