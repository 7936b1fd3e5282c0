"""ForegroundMatting: head crops -> mattes, with MediaPipe's selfie segmentation or by the user."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from partnerface.errors import UserError, import_extra
from partnerface.files.downloads import SELFIE_SEGMENTATION, model_file
from partnerface.files.images import read_grey
from partnerface.tracking.detection.head_crop import HeadCrop
from partnerface.tracking.detection.landmarks import to_mediapipe_image


class ForegroundMatting(Protocol):
    """Separates the person from the background.

    Attributes:
        model_sha256: digest of the model that it uses; a dataset made with another one is made again.
    """

    model_sha256: str

    def mattes(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Mattes ``[H, W]`` uint8 of frames ``[H, W, 3]`` uint8 RGB in time, 255 is the person."""
        ...


class MediaPipeMatting:
    """MediaPipe's selfie segmentation.

    The network works at 256x256; on the head crop it leaks far less than on a wide frame.
    """

    model_sha256 = SELFIE_SEGMENTATION.sha256

    def mattes(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """As of `ForegroundMatting`.

        Raises:
            UserError: MediaPipe or its model file is missing.
        """
        mediapipe = import_extra("mediapipe")
        vision, tasks = mediapipe.tasks.vision, mediapipe.tasks
        options = vision.ImageSegmenterOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(model_file(SELFIE_SEGMENTATION))),
            output_confidence_masks=True,
            output_category_mask=False,
        )
        with vision.ImageSegmenter.create_from_options(options) as segmenter:
            for frame in frames:
                result = segmenter.segment(to_mediapipe_image(frame))
                confidence = result.confidence_masks[-1].numpy_view().reshape(frame.shape[:2])
                yield np.round(confidence * 255).clip(0, 255).astype(np.uint8)


def temporal_median(mattes: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Median of three neighbouring frames of ``[T, H, W]`` uint8; the first and last frame stay.

    Args:
        mattes: the mattes.
        out: where the result goes; may be ``mattes`` itself.
    """
    out = np.empty_like(mattes) if out is None else out
    previous = mattes[0].copy()
    out[0] = previous
    for i in range(1, len(mattes)):
        current = mattes[i].copy()
        if i + 1 < len(mattes):
            low, high = np.minimum(previous, current), np.maximum(previous, current)
            out[i] = np.maximum(low, np.minimum(high, mattes[i + 1]))
        else:
            out[i] = current
        previous = current
    return out


def user_mattes(folder: Path, crop: HeadCrop, width: int, height: int, count: int) -> Iterator[np.ndarray]:
    """Mattes of every video frame from a folder of image files, in name order, cropped like the frames.

    Raises:
        UserError: the folder has another number of files than the video has frames, or a file is
            unreadable or of another size than the video.
    """
    paths = _matte_files(folder)
    if len(paths) != count:
        raise UserError(
            f"{folder}: {len(paths)} mattes for a video of {count} frames; one file a frame is needed"
        )
    for path in paths:
        matte = read_grey(path)
        if matte.shape != (height, width):
            raise UserError(f"{path}: {matte.shape[1]}x{matte.shape[0]}, but the video is {width}x{height}")
        yield np.asarray(Image.fromarray(crop.apply(matte)))


def mattes_digest(folder: Path) -> str:
    """sha256 of the user's mattes, names and contents.

    Raises:
        UserError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in _matte_files(folder):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        digest.update(f"{path.name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


def _matte_files(folder: Path) -> list[Path]:
    suffixes = {".png", ".jpg", ".jpeg"}
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in suffixes)


def collect_mattes(mattes: Iterable[np.ndarray], out: np.ndarray) -> None:
    """Store mattes into ``out`` ``[T, H, W]`` uint8 and take out what flickers for a single frame."""
    for i, matte in enumerate(mattes):
        out[i] = matte
    temporal_median(out, out)
