"""Encode video files with PyAV."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation

from partnerface.files.containers import Sound, SoundCopy
from partnerface.files.images import shrink
from partnerface.files.video_reading.read import probe_video, read_video
from partnerface.files.whole_files import whole_file


@dataclass(frozen=True)
class Encoding:
    """How pictures and sound are encoded in a container.

    Attributes:
        container: the container's name.
        codec: encoder of the pictures.
        opaque: pixel format of RGB pictures.
        transparent: pixel format of RGBA pictures, or None if the codec has no transparency.
        options: options of the encoder.
        copied: codecs of sound that are copied as they are.
        sound: encoder of all other sound.
    """

    container: str
    codec: str
    opaque: str
    transparent: str | None
    options: dict[str, str]
    copied: frozenset[str]
    sound: str = "aac"

    @property
    def halves_colour(self) -> bool:
        """True if colour has half the resolution, which needs an even width and height."""
        return "420" in self.opaque


_H264 = "libx264", "yuv420p", None, {"crf": "18"}
_VP9_OPTIONS = {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
ENCODINGS = {
    ".mp4": Encoding("mp4", *_H264, frozenset({"aac", "mp3"})),
    ".mkv": Encoding("matroska", *_H264, frozenset({"aac", "mp3", "opus", "vorbis", "flac"})),
    ".ts": Encoding("mpegts", *_H264, frozenset()),
    ".webm": Encoding(
        *("webm", "libvpx-vp9", "yuv420p", "yuva420p", _VP9_OPTIONS),
        *(frozenset({"opus", "vorbis"}), "libopus"),
    ),
    ".mov": Encoding(
        *("mov", "prores_ks", "yuv444p10le", "yuva444p10le", {"profile": "4444"}), frozenset({"aac", "mp3"})
    ),
}
"""By the suffix of the file. VP9 in WebM and ProRes 4444 keep transparency."""

SMALLER = ((768, 26, 20), (768, 32, 20), (480, 34, 10))
"""Width in pixels, crf and seconds of a video that has to be small, in the order in which they are tried."""


def fault_of_encoding(path: Path, transparent: bool) -> str | None:
    """Why no video can be written under a name, in words for the user; None if one can."""
    suffix = path.suffix.lower()
    if suffix not in ENCODINGS:
        return f"{path.name}: no video is written as {suffix or 'such'}; choose {', '.join(ENCODINGS)}"
    if transparent and ENCODINGS[suffix].transparent is None:
        able = [name for name, encoding in ENCODINGS.items() if encoding.transparent]
        return f"{path.name}: {suffix} has no transparency; choose {' or '.join(able)}"
    return None


def frame_rate(fps: float | Fraction) -> Fraction:
    """Pictures per second as a fraction; 29.97, 23.98 and the like stand for 30000/1001, 24000/1001.

    >>> frame_rate(29.97), frame_rate(23.976), frame_rate(12.5)
    (Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25, 2))
    """
    if isinstance(fps, Fraction):
        return fps
    whole = round(fps * 1.001)
    if whole and (whole % 24 == 0 or whole % 30 == 0) and abs(fps * 1.001 - whole) < 0.005:
        return Fraction(1000 * whole, 1001)
    return Fraction(fps).limit_denominator(1001)


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: float | Fraction,
    sound: Sound | None = None,
    crf: int | None = None,
    comment: str = "",
) -> None:
    """Encode uint8 frames of one size, RGB ``[H, W, 3]`` or RGBA ``[H, W, 4]`` with straight alpha.

    The suffix chooses the encoding, see `ENCODINGS`; quality is that of H.264 at crf 18. Where colour has
    half the resolution, an odd width or height is padded by one repeated row or column. The file appears
    whole or not at all.

    Args:
        path: the file.
        frames: the pictures; transparent ones need WebM or MOV.
        fps: pictures per second, see `frame_rate`.
        sound: from the first picture on; cut off at the end of the last.
        crf: quality of H.264 and VP9, smaller is better; by default that of the encoding.
        comment: the file's metadata ``comment``, which MPEG-TS does not have.

    Raises:
        ValueError: there are no frames, their sizes differ, or the encoding has no transparency.
        NotWritten: it cannot be written.
        UserError: the sound cannot be read.
    """
    with whole_file(path) as partial:
        encoding = ENCODINGS[path.suffix.lower()]
        if crf is not None:
            encoding = replace(encoding, options=encoding.options | {"crf": str(crf)})
        _encode(partial, encoding, frames, frame_rate(fps), sound, comment)


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
            write_video(small, islice(frames, max(round(seconds * fps), 1)), fps, crf=crf)
            if small.stat().st_size <= most_bytes:
                return small.read_bytes(), f"At most the first {seconds} seconds, {width} pixels wide."
    return None, ""


def _reduced(image: np.ndarray, width: int) -> np.ndarray:
    """``[H, W, 3]`` uint8, not wider than ``width``."""
    if image.shape[1] <= width:
        return image
    return shrink(image, width, max(round(image.shape[0] * width / image.shape[1]), 1))


_BT709 = {
    "dst_colorspace": Colorspace.ITU709,
    "dst_color_range": ColorRange.MPEG,
    "dst_color_primaries": ColorPrimaries.BT709,
    "dst_color_trc": ColorTrc.BT709,
    # Without these flags the conversion is off by up to 4 of 255.
    "interpolation": Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
}


def _label_colours(context: av.VideoCodecContext) -> None:
    """Say that colours follow BT.709: players guess otherwise, by the size of the picture."""
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709


def _encode(
    path: Path,
    encoding: Encoding,
    frames: Iterable[np.ndarray],
    rate: Fraction,
    sound: Sound | None,
    comment: str,
) -> None:
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    transparent = first.shape[2] == 4
    pixel_format = encoding.transparent if transparent else encoding.opaque
    if pixel_format is None:
        raise ValueError(f"{encoding.codec} has no transparency")
    with ExitStack() as opened:
        container = opened.enter_context(av.open(str(path), "w", format=encoding.container))
        if comment:
            container.metadata["comment"] = comment
        stream = container.add_stream(encoding.codec, rate=rate)
        padded = [side % 2 if encoding.halves_colour else 0 for side in first.shape[:2]]
        stream.height, stream.width = first.shape[0] + padded[0], first.shape[1] + padded[1]
        stream.pix_fmt = pixel_format
        stream.options = encoding.options
        _label_colours(stream.codec_context)
        copy = None
        if sound is not None:
            copy = opened.enter_context(SoundCopy(container, sound, encoding.copied, encoding.sound))
        frame, count = first, 0
        while frame is not None:
            if frame.shape != first.shape:
                raise ValueError(f"frames of one video differ in size: {first.shape} and {frame.shape}")
            whole = np.pad(frame, ((0, padded[0]), (0, padded[1]), (0, 0)), mode="edge")
            kind = "rgba" if transparent else "rgb24"
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(whole), format=kind)
            picture = picture.reformat(format=pixel_format, **_BT709)
            container.mux(stream.encode(picture))
            frame, count = next(frames, None), count + 1
            if copy is not None:
                copy.write_until(float(count / rate))
        container.mux(stream.encode(None))
