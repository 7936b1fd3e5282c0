"""Mattes of pictures that come without: MediaPipe's selfie segmentation (extra `track`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from partnerface.errors import import_extra
from partnerface.files.downloads import SELFIE_SEGMENTATION, model_file


def import_mediapipe() -> ModuleType:
    """The package ``mediapipe``, its CPU profiler off.

    The profiler signals the process every 10 ms of CPU time. After a training Lightning restores the handlers
    of all signals that Python knows: for this one the default, which ends the process as soon as MediaPipe
    runs again.

    Raises:
        UserError: it is not installed.
    """
    os.environ.setdefault("CPUPROFILE_FREQUENCY", "0")
    return import_extra("mediapipe")


def to_mediapipe_image(image: np.ndarray) -> Any:
    """A MediaPipe image of ``[H, W, 3]`` uint8 RGB."""
    mediapipe = import_mediapipe()
    # An array that is not contiguous is read wrongly without an exception.
    contiguous = np.ascontiguousarray(image, np.uint8)
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=contiguous)


class ForegroundMatting(Protocol):
    """Separates the person from the background.

    Attributes:
        model_sha256: digest of the model that it uses; a dataset made with another one is made again.
        coarse: True if the mattes are coarser than the frames: the tracker then refines them
            (`refine_mattes`).
    """

    model_sha256: str
    coarse: bool

    def mattes(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Mattes ``[H, W]`` uint8 of frames ``[H, W, 3]`` uint8 RGB in time, 255 is the person."""
        ...


class MediaPipeMatting:
    """MediaPipe's selfie segmentation.

    The network works at 256x256; on the head crop it leaks far less than on a wide frame.
    """

    model_sha256 = SELFIE_SEGMENTATION.sha256
    coarse = True

    def mattes(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Mattes ``[H, W]`` uint8 of frames ``[H, W, 3]`` uint8 RGB in time, 255 is the person.

        Raises:
            UserError: MediaPipe or its model file is missing.
        """
        mediapipe = import_mediapipe()
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
