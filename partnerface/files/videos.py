"""Decode and encode video files with PyAV."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from PIL import Image

from partnerface.errors import UserError
from partnerface.files.images import LARGEST_PIXELS
from partnerface.files.whole_files import whole_file

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg"
"""Containers that are decoded. Playlists are not: they name other files, which a stranger's must not open."""

SMALLER = ((768, 26, 20), (768, 32, 20), (480, 34, 10))
"""Width in pixels, crf and seconds of a video that has to be small, in the order in which they are tried."""

WRITTEN_CONTAINERS = {".mp4": "mp4", ".mkv": "matroska", ".ts": "mpegts"}


@dataclass
class VideoFile:
    """Size and length of a video, from its header and first frame.

    Attributes:
        path: the file.
        width: width of the upright frames in pixels.
        height: height of the upright frames in pixels.
        fps: mean frames per second.
        num_frames: number of frames according to the header, an estimate; 0 if unknown.
    """

    path: Path
    width: int
    height: int
    fps: float
    num_frames: int


@dataclass
class VideoFrame:
    """One decoded frame.

    Attributes:
        image: ``[H, W, 3]`` uint8 RGB, upright, contiguous.
        time: presentation time in seconds from the first frame, strictly increasing.
    """

    image: np.ndarray
    time: float


def probe_video(path: Path) -> VideoFile:
    """Describe a video file; decodes one frame.

    Raises:
        UserError: the file is missing, not a video, or has no frame.
    """
    first = next(read_video(path)).image
    with _opened(path) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        frames = stream.frames
        if not frames and container.duration:
            frames = round(container.duration / av.time_base * rate)
    return VideoFile(Path(path), first.shape[1], first.shape[0], rate, frames)


def read_video(path: Path) -> Iterator[VideoFrame]:
    """Every frame of a video in presentation order, turned upright as its rotation metadata says.

    Frames of a video with a variable rate keep their own times; none is repeated or left out.

    Raises:
        UserError: the file is missing, not a video, damaged, changes its size, or has no frame.
    """
    last, start, shape = None, None, None
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        try:
            for frame in container.decode(stream):
                time = frame.time if frame.time is not None else (0.0 if last is None else last + step)
                # A broken muxer can repeat a time stamp; detectors refuse times that do not increase.
                last = time if last is None else max(time, last + 1e-3)
                start = last if start is None else start
                # The display matrix turns the frame counter-clockwise by this angle, as np.rot90 does.
                upright = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)
                image = np.ascontiguousarray(upright)
                shape = shape or image.shape
                if image.shape != shape:
                    raise UserError(
                        f"{path}: the picture changes its size from {shape[1]}x{shape[0]} to "
                        f"{image.shape[1]}x{image.shape[0]} after {last:.2f} s; encode the video again"
                    )
                yield VideoFrame(image, last - start)
        except av.FFmpegError as error:
            raise UserError(f"{path}: the video is damaged ({error.strerror}); encode it again") from error
    if last is None:
        raise UserError(f"{path}: the video has no frames")


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float, crf: int = 18) -> None:
    """Encode uint8 RGB frames ``[H, W, 3]`` of one size as H.264, yuv420p, quality ``crf``.

    An odd width or height is padded by one repeated row or column, which yuv420p needs. The file
    appears whole or not at all; its suffix chooses the container.

    Raises:
        ValueError: there are no frames, or their sizes differ.
        NotWritten: it cannot be written.
    """
    with whole_file(path) as partial:
        _encode(partial, WRITTEN_CONTAINERS[path.suffix], frames, fps, crf)


def small_video(path: Path, most_bytes: int) -> tuple[bytes | None, str]:
    """A video file of at most so many bytes, and what was left out of it in words.

    The file itself if it is small enough; otherwise it is reduced in size, quality and length, and None
    where that is not enough.

    Raises:
        UserError: the video is missing or damaged.
    """
    if path.is_file() and path.stat().st_size <= most_bytes:
        return path.read_bytes(), ""
    fps = probe_video(path).fps
    for width, crf, seconds in SMALLER:
        frames = (_reduced(frame.image, width) for frame in read_video(path))
        with tempfile.TemporaryDirectory() as folder:
            small = Path(folder) / "small.mp4"
            write_video(small, islice(frames, max(round(seconds * fps), 1)), fps, crf)
            if small.stat().st_size <= most_bytes:
                return small.read_bytes(), f"At most the first {seconds} seconds, {width} pixels wide."
    return None, ""


def _reduced(image: np.ndarray, width: int) -> np.ndarray:
    """``[H, W, 3]`` uint8, not wider than ``width``."""
    if image.shape[1] <= width:
        return image
    size = width, max(round(image.shape[0] * width / image.shape[1]), 1)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _encode(path: Path, container_format: str, frames: Iterable[np.ndarray], fps: float, crf: int) -> None:
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = first.shape[0] + first.shape[0] % 2, first.shape[1] + first.shape[1] % 2
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf)}
        frame = first
        while frame is not None:
            if frame.shape != first.shape:
                raise ValueError(f"frames of one video differ in size: {first.shape} and {frame.shape}")
            padding = ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0))
            even = np.ascontiguousarray(np.pad(frame, padding, mode="edge"))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            frame = next(frames, None)
        container.mux(stream.encode(None))


def _opened(path: Path) -> av.container.InputContainer:
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such video file")
    try:
        # An absolute path is never taken for an address such as concat:a|b.
        container = av.open(str(path.absolute()), options={"format_whitelist": CONTAINERS})
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise UserError(f"{path}: not a video that can be read ({reason})") from error
    fault = None
    if not container.streams.video:
        fault = "has no video stream"
    else:
        stream = container.streams.video[0]
        if stream.width * stream.height > LARGEST_PIXELS:
            fault = f"frames of {stream.width}x{stream.height}; at most {LARGEST_PIXELS:,} pixels are decoded"
    if fault:
        container.close()
        raise UserError(f"{path}: {fault}")
    return container
