"""The static square that is cut out of every frame of a clip."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from partnerface.files.videos import read_video
from partnerface.tracking.detection.landmark_track import LandmarkTrack

CROP_FACE_HEIGHTS = 2.6
"""Side of the crop in face heights (brow line to chin counts as one): hair and shoulders fit in."""
FACE_ROW = 0.48
KEEP_WHOLE_SHARE = 0.8


@dataclass(frozen=True)
class HeadCrop:
    """A square of the video, resized: ``crop pixel = (video pixel - offset) * scale``.

    Attributes:
        offset_x: left edge in video pixels.
        offset_y: upper edge in video pixels.
        side: side of the square in video pixels.
        size: side in pixels after resizing.
    """

    offset_x: int
    offset_y: int
    side: int
    size: int

    @property
    def scale(self) -> float:
        return self.size / self.side

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Crop and resize ``[H, W, 3]`` uint8 (area filter when shrinking)."""
        x, y, side = self.offset_x, self.offset_y, self.side
        square = image[y : y + side, x : x + side]
        if side == self.size:
            return np.ascontiguousarray(square)
        filter_ = Image.Resampling.BOX if side % self.size == 0 else Image.Resampling.LANCZOS
        return np.asarray(
            Image.fromarray(np.ascontiguousarray(square)).resize((self.size, self.size), filter_)
        )

    def save(self, path: Path) -> None:
        """Write offset, side, size and scale as JSON."""
        path.write_text(json.dumps(asdict(self) | {"scale": self.scale}, indent=1))


def choose_head_crop(track: LandmarkTrack, size: int) -> HeadCrop:
    """One crop for the clip, from all its faces: it holds them, hair and shoulders, and stays still.

    A video that is hardly larger than the wanted square keeps its whole shorter side. The crop is
    never enlarged beyond the video's own pixels; its size is even.
    """
    points = track.landmarks[track.valid, :468, :2]
    low, high = points.min(1), points.max(1)
    face_height = float(np.nanmedian(track.face_heights()))
    centre = np.median((low + high) / 2, axis=0)
    reach = np.quantile(high, 0.98, axis=0) - np.quantile(low, 0.02, axis=0)
    side = max(CROP_FACE_HEIGHTS * face_height, float(reach.max()) + 1.2 * face_height)
    shorter = min(track.width, track.height)
    side = shorter if side > KEEP_WHOLE_SHARE * shorter else round(side)
    side -= side % 2
    corner = centre - side * np.array([0.5, FACE_ROW])
    limit = np.array([track.width - side, track.height - side])
    x, y = np.clip(np.round(corner), 0, limit).astype(int)
    return HeadCrop(int(x), int(y), int(side), int(min(size, side)))


def head_crops(video: Path, crop: HeadCrop) -> Iterator[np.ndarray]:
    """``[H, W, 3]`` uint8 RGB of every frame of a video."""
    return (crop.apply(frame.image) for frame in read_video(video))
