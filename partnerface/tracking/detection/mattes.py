"""The static square that is cut out of a clip, and the mattes that the user has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from PIL import Image

from partnerface.errors import UserError
from partnerface.files.images import image_size, read_matte
from partnerface.files.video_reading.read import VideoFile, VideoFrame, VideoReader
from partnerface.files.video_reading.source import VideoSource, natural_order
from partnerface.tracking.detection.landmark_track import SKIN_LANDMARKS, LandmarkTrack

CROP_FACE_HEIGHTS = 2.6
"""Side of the crop in face heights (top of the forehead to chin counts as one): hair and shoulders fit in."""
FACE_ROW = 0.48
KEEP_WHOLE_SHARE = 0.8
ELSEWHERE = 0.05
"""Share of the frames that may leave the crop, on each of its sides."""

MATTE_SUFFIXES = (".png", ".jpg", ".jpeg")


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
        """Crop and resize ``[H, W, 3]`` or ``[H, W]`` uint8 (area filter when shrinking)."""
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
    points = track.landmarks[track.used, :SKIN_LANDMARKS, :2]
    low, high = points.min(1), points.max(1)
    face_height = float(np.nanmedian(track.face_heights()))
    # A face that is elsewhere for a moment, as one who walks in, is not worth a smaller one in all frames.
    low, high = np.quantile(low, ELSEWHERE, axis=0), np.quantile(high, 1 - ELSEWHERE, axis=0)
    centre, reach = (low + high) / 2, high - low
    side = max(CROP_FACE_HEIGHTS * face_height, float(reach.max()) + 1.2 * face_height)
    shorter = min(track.width, track.height)
    side = shorter if side > KEEP_WHOLE_SHARE * shorter else round(side)
    side -= side % 2
    corner = centre - side * np.array([0.5, FACE_ROW])
    limit = np.array([track.width - side, track.height - side])
    x, y = np.clip(np.round(corner), 0, limit).astype(int)
    return HeadCrop(int(x), int(y), int(side), int(min(size, side)))


def head_crops(video: VideoSource | Path, crop: HeadCrop, frames: np.ndarray) -> Iterator[VideoFrame]:
    """The frames of a video with the numbers ``[N]``, image and alpha cut to the head."""
    for frame in VideoReader(video, set(frames.tolist())):
        alpha = None if frame.alpha is None else crop.apply(frame.alpha)
        yield VideoFrame(crop.apply(frame.image), frame.time, alpha)


def user_mattes(
    folder: Path,
    crop: HeadCrop,
    width: int,
    height: int,
    count: int,
    frames: np.ndarray | None = None,
    quarter_turns: int = 0,
) -> Iterator[np.ndarray]:
    """Mattes of video frames from a folder of image files, in name order (2 before 10), cropped like them.

    A file with transparency gives its alpha, any other its brightness.

    Args:
        folder: has one file for each of the video's ``count`` frames.
        crop: where the head lies.
        width: width of the video's upright frames in pixels.
        height: their height.
        count: number of its frames.
        frames: ``[N]`` numbers of the frames whose mattes are read; all by default.
        quarter_turns: turns by 90 degrees, counter-clockwise, that make frames and mattes upright.

    Raises:
        UserError: the folder is missing or has another number of files than the video has frames, or a
            file is unreadable or of another size than the video.
    """
    paths = _matte_files(folder)
    if len(paths) != count:
        raise _other_number(folder, len(paths), count)
    for path in paths if frames is None else [paths[i] for i in frames]:
        matte = read_matte(path)
        shape = (width, height) if quarter_turns % 2 else (height, width)
        if matte.shape != shape:
            raise _other_size(path, matte.shape[::-1], shape[::-1])
        yield crop.apply(np.rot90(matte, quarter_turns % 4))


def check_mattes(folder: Path, videos: Sequence[VideoFile]) -> None:
    """Find out before minutes of work that mattes are of none of some videos; `user_mattes` is exact.

    How many frames a video has is known only once it was decoded.

    Raises:
        UserError: there is no such folder, or its files are twice or half as many as the frames, unreadable,
            or of another size.
    """
    paths, video = _matte_files(folder), videos[0]
    if not any(one.num_frames / 2 < len(paths) < one.num_frames * 2 for one in videos):
        raise _other_number(folder, len(paths), video.num_frames)
    shapes = {shape for one in videos for shape in permutations((one.width, one.height))}
    for path in paths:
        if (size := image_size(path)) not in shapes:
            raise _other_size(path, size, (video.width, video.height))


def _other_number(folder: Path, mattes: int, frames: int) -> UserError:
    return UserError(f"{folder}: {mattes} mattes for a video of {frames} frames; one file a frame is needed")


def _other_size(path: Path, size: tuple[int, ...], video: tuple[int, ...]) -> UserError:
    return UserError(f"{path}: {size[0]}x{size[1]}, but the video is {video[0]}x{video[1]}")


def mattes_digest(folder: Path) -> str:
    """sha256 of the user's mattes, names and contents.

    Raises:
        UserError: there is no such folder, it holds no image, or a file cannot be read.
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
    if not folder.is_dir():
        raise UserError(f"--mattes {folder}: no such folder")
    files = [p for p in folder.iterdir() if p.suffix.lower() in MATTE_SUFFIXES and p.name[0] != "."]
    if not files:
        raise UserError(f"--mattes {folder}: holds no image file ({', '.join(MATTE_SUFFIXES)})")
    return sorted(files, key=natural_order)


FLICKER_SECONDS = 0.1
"""Frames that are farther apart show a head that has moved: at 4 frames per second the median of three costs
mattes a third of their accuracy at the ears."""


def remove_flicker(mattes: np.ndarray, times: np.ndarray) -> None:
    """Take out, in place, what mattes ``[T, H, W]`` uint8 show for a single frame.

    That is the median of three frames, at ``times`` ``[T]`` in seconds. A frame without two neighbours within
    `FLICKER_SECONDS` stays as it is.
    """
    near = np.diff(times) < FLICKER_SECONDS + 1e-6
    previous = mattes[0].copy()
    for i in range(1, len(mattes) - 1):
        current = mattes[i].copy()
        if near[i - 1] and near[i]:
            low, high = np.minimum(previous, current), np.maximum(previous, current)
            mattes[i] = np.maximum(low, np.minimum(high, mattes[i + 1]))
        previous = current
