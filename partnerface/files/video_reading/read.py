"""VideoReader: the frames of a video file or of pictures as players show them, and what was done to them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from pathlib import Path

import av
import numpy as np

from partnerface.errors import UserError
from partnerface.files.containers import opened_video, video_streams
from partnerface.files.images import LARGEST_PIXELS, DamagedImage, read_pixels, shown_size
from partnerface.files.video_reading.conversion import (
    CombSearch,
    ConvertedFrame,
    FrameConverter,
    square_size,
    upright,
)
from partnerface.files.video_reading.decoding import MOST_LOST_SHARE, StreamDecoder, StreamSurvey, survey
from partnerface.files.video_reading.source import DEFAULT_PICTURE_FPS, VideoSource, video_source

MORE_THAN_CORNERS = 0.02
"""Share of the picture that is transparent where its alpha is that of a person; rounded corners have less."""

COMBS_AHEAD = 12
"""Frames ahead in which combs are looked for: those before the search has found out are right too."""


@dataclass
class VideoFile:
    """Size and length of a video.

    Attributes:
        path: the file, folder or pattern.
        width: width of the upright frames in pixels, which are square.
        height: height of the upright frames in pixels.
        fps: mean frames per second.
        num_frames: number of frames.
    """

    path: Path
    width: int
    height: int
    fps: float
    num_frames: int


@dataclass
class VideoFrame:
    """One frame.

    Attributes:
        image: ``[H, W, 3]`` uint8 RGB of BT.709, upright, with square pixels, progressive, contiguous.
        time: presentation time in seconds from the first frame of the section, strictly increasing.
        alpha: ``[H, W]`` uint8, 255 is opaque; None for a video without transparency.
    """

    image: np.ndarray
    time: float
    alpha: np.ndarray | None = None


def read_video(video: VideoSource | Path) -> Iterator[VideoFrame]:
    """Every frame of a video in presentation order; see `VideoReader`.

    Raises:
        UserError: as in `VideoReader`.
    """
    return iter(VideoReader(video))


def first_time(source: VideoSource) -> float:
    """Seconds from the first frame of a video to the first of the source's section.

    Raises:
        UserError: as in `VideoReader`.
    """
    reader = VideoReader(source)
    next(iter(reader))
    return reader.begins or 0.0


def probe_video(video: VideoSource | Path) -> VideoFile:
    """Describe a video; decodes it up to one frame and reads the file to its end.

    Raises:
        UserError: as in `VideoReader`.
    """
    source = video_source(video)
    first = next(read_video(source)).image
    if source.is_pictures:
        rate, frames = source.fps or DEFAULT_PICTURE_FPS, len(source.files)
    else:
        with opened_video(source.path) as container:
            stream = _stream(container, source)
            rate = source.fps or float(stream.average_rate or stream.guessed_rate or 25)
            frames = _surveyed(source.path, stream.index, *_version(source.path)).frames
    if source.section is not None:
        begin, end = (min(frames, rate * seconds) for seconds in source.section)
        frames = round(end - begin)
    return VideoFile(source.path, first.shape[1], first.shape[0], rate, frames)


def streams_of(source: VideoSource) -> list[VideoSource]:
    """The source with each of the video streams that may be meant: the one that it names, or all of its file.

    Cover pictures are left out.

    Raises:
        UserError: the file is missing or not a video.
    """
    if source.is_pictures or source.stream is not None:
        return [source]
    with opened_video(source.path) as container:
        return [replace(source, stream=stream.index) for stream in video_streams(container)]


def probe_streams(source: VideoSource) -> list[VideoFile]:
    """Describe each of `streams_of` that can be read.

    Raises:
        UserError: none can.
    """
    found, refused = [], []
    for one in streams_of(source):
        try:
            found.append(probe_video(one))
        except UserError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    return found


class VideoReader:
    """Iterates over the frames of a video as players show it.

    Frames are turned and mirrored by their display matrix, given square pixels, deinterlaced, and brought to
    BT.709 of standard range. Those of a video with a variable rate keep their own times; none is repeated.
    Frames that are damaged leave a gap in time.

    Args:
        video: the video.
        only: numbers of the frames that are wanted, from 0 in the source's section; all by default. Others
            are decoded and not converted, which takes most of the time of large frames.

    Attributes:
        source: the video.
        notes: what was done to the video, in words for the user; complete once it was read to its end.
        transparent: True once more of a frame was transparent than its corners.
        begins: seconds from the first frame to the first of the source's section; None before it was read.

    Raises:
        UserError: (from the iteration) the file is missing, not a video, changes its size, has no frame, or
            more than a tenth of it is lost.
    """

    def __init__(self, video: VideoSource | Path, only: Collection[int] | None = None) -> None:
        self.source, self._only = video_source(video), only
        self.notes: list[str] = []
        self.transparent = False
        self.begins: float | None = None

    def __iter__(self) -> Iterator[VideoFrame]:
        self.notes, self.transparent, self.begins = [], False, None
        pictures = self.source.is_pictures
        start, shape, wanted = 0.0 if pictures else None, None, self._choice()
        first, last = self.source.section or (0.0, math.inf)
        frames = self._pictures(first, last) if pictures else self._decoded(first, last)
        for index, converted in enumerate(frames):
            start = converted.time if start is None else start
            time = converted.time - start
            time = time if pictures else self._shown_at(index, time)
            if time < first:
                continue
            if time >= last:
                break
            self.begins = time if self.begins is None else self.begins
            if not wanted(time):
                continue
            pixels = upright(converted.pixels, converted.matrix)
            pixels = np.rot90(pixels, self.source.quarter_turns % 4)
            shape = shape or pixels.shape
            if pixels.shape[:2] != shape[:2]:
                raise UserError(
                    f"{self.source.path}: the picture changes its size from {shape[1]}x{shape[0]} to "
                    f"{pixels.shape[1]}x{pixels.shape[0]} after {time:.2f} s; encode the video again"
                )
            alpha = None
            if pixels.shape[2] == 4:
                alpha = np.ascontiguousarray(pixels[..., 3])
                clear = float((alpha < 128).mean())
                self.transparent = self.transparent or clear > MORE_THAN_CORNERS
            yield VideoFrame(np.ascontiguousarray(pixels[..., :3]), time - self.begins, alpha)
        if self.begins is None:
            within = "" if start is None else f" within --clip {first:g}:{last:g}"
            raise UserError(f"{self.source.path}: the video has no frames{within}")
        if self.transparent:
            self.notes.append("the video is transparent: its alpha is the matte")

    def _shown_at(self, index: int, time: float) -> float:
        """Seconds at which a frame is shown, by the source's rate or else by its own time."""
        return time if self.source.fps is None else index / self.source.fps

    def _choice(self) -> Callable[[float], bool]:
        """Whether a frame is wanted, to be asked of all, one after another, by the second it is shown at."""
        (first, last), numbers = self.source.section or (0.0, math.inf), count()

        def is_wanted(shown: float) -> bool:
            return first <= shown < last and (self._only is None or next(numbers) in self._only)

        return is_wanted

    def _pictures(self, first: float, last: float) -> Iterator[ConvertedFrame]:
        """Those from ``first`` seconds on and before ``last``."""
        files, fps = self.source.files, self.source.fps or DEFAULT_PICTURE_FPS
        ending = "" if self.source.fps else ", an assumption that --fps replaces"
        self.notes.append(f"{len(files)} pictures read as {fps:g} frames per second{ending}")
        shown = {k / fps: path for k, path in enumerate(files) if first <= k / fps < last}
        lost: dict[float, DamagedImage] = {}
        sizes: dict[Path, tuple[int, int]] = {}
        for time, path in shown.items():
            # Found out before minutes of work on those before it.
            try:
                sizes[path] = shown_size(path)
            except DamagedImage as error:
                lost[time] = error
        one, size = next(iter(sizes.items()), (self.source.path, (0, 0)))
        for path, (width, height) in sizes.items():
            if (width, height) != size:
                raise UserError(
                    f"{path}: is {width}x{height}, {one.name} is {size[0]}x{size[1]}; give "
                    "pictures of one size"
                )
        most = MOST_LOST_SHARE * len(shown)
        for time, path in shown.items():
            if time not in lost and len(lost) <= most:
                try:
                    yield ConvertedFrame(read_pixels(path, upright=True), time, np.eye(2))
                except DamagedImage as error:
                    lost[time] = error
        if len(lost) > most:
            raise next(iter(lost.values()))
        if lost:
            of = f"{len(lost)} of {len(shown)} pictures"
            self.notes.append(f"{of} are damaged and left out: at {_listed(sorted(lost))}")

    def _decoded(self, first: float, last: float) -> Iterator[ConvertedFrame]:
        """Frames up to ``last`` seconds; what is said of losses is of those from ``first`` on."""
        path = self.source.path
        with opened_video(path) as container:
            index = _stream(container, self.source).index
        held = _surveyed(path, index, *_version(path))
        if self.source.section is not None:
            held = StreamSurvey(0, 0)  # the frames of the section are counted below
        self._check_lost(held, 0)
        if held.missing:
            self.notes.append(
                f"the file ends early, {held.missing} of {held.frames + held.missing} frames are missing"
            )
        with opened_video(path) as container:
            stream = _stream(container, self.source)
            decoder = StreamDecoder(container, stream)
            with closing(iter(decoder)) as frames:
                combs, converter = CombSearch(), FrameConverter(path, stream.sample_aspect_ratio)
                start, waiting, wanted = None, deque(), self._choice()
                for index, (frame, time) in enumerate(frames):
                    start = time if start is None else start
                    shown = self._shown_at(index, time - start)
                    if shown >= last:
                        break
                    if self.source.section is not None:
                        held.frames += time - start >= first
                    combs.look(frame)
                    waiting.append((frame, time, wanted(shown)))
                    if len(waiting) > COMBS_AHEAD:
                        converter.combed = combs.found
                        yield from converter.convert(*waiting.popleft())
                converter.combed = combs.found
                for frame_and_time in waiting:
                    yield from converter.convert(*frame_and_time)
                yield from converter.finish()
                start = start or 0.0
            # Of those before the first that can be decoded, a broadcast's holes say nothing.
            lost = [t - start for t in decoder.lost if t <= start or first <= t - start < last]
            holes = [t - start for t in decoder.holes if t > start and first <= t - start < last]
            self.notes += [*_conversion_notes(converter, stream), *_loss_notes(lost, holes, held.frames)]
            self._check_lost(held, sum(time > 0 for time in lost))

    def _check_lost(self, held: StreamSurvey, lost: int) -> None:
        """Frames before the first that can be decoded do not count: the video begins later."""
        total = held.frames + held.missing
        if held.missing + lost <= MOST_LOST_SHARE * total:
            return
        if held.missing > lost:
            reason = f"the file ends early: {held.missing} of {total} frames are missing; download it again"
        else:
            reason = f"{lost} of {total} frames are damaged; get another copy"
        raise UserError(f"{self.source.path}: {reason}, or cut out the good part and encode it again")


def _version(path: Path) -> tuple[int, int]:
    """What tells a file from what it was before."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=16)
def _surveyed(path: Path, stream: int, *version: int) -> StreamSurvey:
    """`survey` of a stream; a large file is read to its end once."""
    del version
    with opened_video(path) as container:
        return survey(container, container.streams[stream])


def _stream(container: av.container.InputContainer, source: VideoSource) -> av.VideoStream:
    chosen = source.stream is not None
    stream = container.streams[source.stream] if chosen else video_streams(container)[0]
    width, height = square_size(stream.width, stream.height, stream.sample_aspect_ratio or 1)
    if width * height > LARGEST_PIXELS:
        raise UserError(
            f"{source.path}: frames of {width}x{height}; at most {LARGEST_PIXELS:,} pixels are decoded"
        )
    return stream


def _conversion_notes(converter: FrameConverter, stream: av.VideoStream) -> list[str]:
    notes, colours = [], converter.colours
    if colours is None:
        return notes
    if colours.transfer != "SDR":
        notes.append(f"{colours.transfer} of {colours.gamut}: tone-mapped to BT.709 of standard range")
    elif colours.is_converted:
        notes.append(f"colours of {colours.gamut}: converted to BT.709")
    if converter.aspect != 1:
        width, height = square_size(stream.width, stream.height, converter.aspect)
        notes.append(
            f"pixels of {converter.aspect.numerator}:{converter.aspect.denominator}: "
            f"{stream.width}x{stream.height} became {width}x{height} square ones"
        )
    if converter.interlaced:
        notes.append(f"interlaced: {converter.interlaced} frames were deinterlaced")
    return notes


def _loss_notes(lost: list[float], holes: list[float], total: int) -> list[str]:
    """What is said of lost frames, and of those that never came, by seconds from the first that is shown."""
    notes, inside = [], [time for time in lost if time > 0]
    if early := len(lost) - len(inside):
        notes.append(
            f"the video begins within a group of pictures: its first {early} frames, "
            f"{-lost[0]:.2f} s, cannot be decoded"
        )
    if inside:
        notes.append(f"{len(inside)} of {total} frames are damaged and left out: at {_listed(inside)}")
    if holes:
        notes.append(f"{len(holes)} frames are missing in the broadcast: at {_listed(holes)}")
    return notes


def _listed(times: list[float]) -> str:
    shown = ", ".join(f"{time:.2f} s" for time in times[:10])
    return f"{shown} and {len(times) - 10} more" if len(times) > 10 else shown
