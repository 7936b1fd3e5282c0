"""StreamDecoder: the frames of a video stream that can be had, their times, and which are lost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import av

MOST_LOST_SHARE = 0.1
"""Share of the frames without which a video is refused."""

MOST_REGULAR = 0.9
"""Share of equal steps in time from which frames come at a constant rate."""

LONGEST_HOLE = 4.5
"""Steps in time below which a hole is one of frames that got lost."""

CLOCK_RESET_S = 1.0
"""Seconds by which a clock falls back where another recording begins."""

_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""FFmpeg's own decoders of these do not decode alpha."""

_UNREPAIRED = {"vp8", "vp9", "hevc"}
"""Codecs whose decoders show what refers to a damaged frame with its damage, up to the next key frame."""


@dataclass
class StreamSurvey:
    """What the packets of a stream say, without decoding them.

    Attributes:
        frames: number of whole packets whose frames are shown; an edit list can hide some.
        missing: number of frames that the header promises and the file does not hold, because it ends early.
    """

    frames: int
    missing: int


def survey(container: av.container.InputContainer, stream: av.VideoStream) -> StreamSurvey:
    """Read a container to its end without decoding. Reading begins anew with another container."""
    frames, ends = 0, [0.0]
    begin = None
    try:
        for packet in container.demux():
            if packet.pts is None or not packet.size:
                frames += packet.stream_index == stream.index and packet.size > 0
                continue
            time = float(packet.pts * packet.time_base)
            begin = time if begin is None else min(begin, time)
            ends.append(time + float((packet.duration or 0) * packet.time_base))
            hidden = packet.is_discard or packet.is_corrupt
            frames += packet.stream_index == stream.index and not hidden
    except av.FFmpegError:
        pass  # what is missing is counted below
    # A header may count from 0 though the clock begins later.
    reached = max(max(ends) - (begin or 0.0), max(ends))
    return StreamSurvey(frames, _missing_frames(container, stream, frames, reached))


def _missing_frames(
    container: av.container.InputContainer, stream: av.VideoStream, frames: int, seconds: float
) -> int:
    missing = 0
    if "mp4" in container.format.name:
        # Its index names the place of every frame, before or behind the frames themselves.
        ends = [entry.pos + entry.size for entry in stream.index_entries]
        missing = sum(end > container.size for end in ends)
        if stream.frames:
            return missing
        # The index of a film in fragments names those alone that have arrived.
    promised = (container.duration or 0) / av.time_base
    if frames and seconds > 0 and promised * (1 - MOST_LOST_SHARE) > seconds:
        missing = max(missing, round((promised / seconds - 1) * frames))
    return missing


@dataclass
class _Damage:
    """Which frames a decoder shows damaged: what was decoded since a broken packet, up to the next key frame,
    and what is shown before that and decoded after it.
    """

    last: int | None = None
    order: dict[int, int] = field(default_factory=dict)
    begun: list[int] = field(default_factory=list)
    ended: list[tuple[int, int]] = field(default_factory=list)

    def look(self, packet: av.Packet) -> None:
        """Take the next packet into account before it is decoded."""
        if packet.pts is None or packet.dts is None:
            return
        if self.last is not None and packet.dts < self.last:
            # Another recording was joined to it, whose clock begins anew.
            for held in (self.order, self.begun, self.ended):
                held.clear()
        self.last = packet.dts
        self.order[packet.pts] = len(self.order)
        if packet.is_corrupt:
            self.begin(packet)
        elif packet.is_keyframe and len(self.begun) > len(self.ended):
            self.ended.append((self.order[packet.pts], packet.pts))

    def begin(self, packet: av.Packet) -> None:
        """The packet is broken."""
        if packet.pts in self.order and len(self.begun) == len(self.ended):
            self.begun.append(self.order[packet.pts])

    def spoils(self, frame: av.VideoFrame) -> bool:
        """True if the frame must not be shown."""
        if frame.pts not in self.order:
            return False
        order = self.order[frame.pts]
        ends = [*self.ended, (math.inf, math.inf)]
        return any(
            order >= first and (order < key or frame.pts < shown)
            for first, (key, shown) in zip(self.begun, ends, strict=False)
        )


@dataclass
class StreamDecoder:
    """Decodes a stream as far as that goes; used once.

    A damaged packet costs its own frame and no other: frames that refer to it are taken as the
    decoder repairs them, which is what players show. Where decoders repair nothing it costs all up to the
    next key frame.

    Args:
        container: the container.
        stream: one of its video streams.

    Attributes:
        lost: seconds of frames that could not be decoded, on the stream's clock; complete once the iteration
            has ended or was closed.
        holes: seconds of frames of which a broadcast holds nothing; complete then, too.
    """

    container: av.container.InputContainer
    stream: av.VideoStream
    lost: list[float] = field(default_factory=list)
    holes: list[float] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames and their times in seconds on the stream's clock, strictly increasing.

        Where that begins anew, since recordings were joined, it is taken on from there.
        """
        step = 1 / float(self.stream.average_rate or self.stream.guessed_rate or 25)
        last, expected, shown, fields, closed, joined = None, [], set(), False, True, 0.0
        try:
            for frame in self._decoded(expected):
                if frame.is_corrupt:
                    continue
                shown.add(frame.pts)
                fields |= frame.interlaced_frame
                # AVI has no times of presentation: FFmpeg counts those of frames in the order of decoding.
                stamp = frame.dts if self.container.format.name == "avi" else frame.pts
                if stamp is not None:
                    time = float(stamp * self.stream.time_base)
                    joined = 0.0 if last is None else _joined_by(time, last, step, joined)
                    time += joined
                else:
                    time = 0.0 if last is None else last + step
                # A broken muxer can repeat a time stamp; detectors refuse times that do not increase.
                last = time if last is None else max(time, last + 1e-3)
                yield frame, last
            closed = False
        finally:
            if None not in shown:
                # Of an iteration that was closed, packets after the last frame have not been decoded yet.
                known = [pts for pts in expected if not closed or pts <= max(shown, default=0)]
                self._find_lost(known, shown, fields)

    def _find_lost(self, expected: list[int], shown: set[int], fields: bool) -> None:
        missed = sorted(set(expected) - shown)
        if fields and len(missed) > 0.4 * len(expected):
            missed = []  # the second field of a frame is a packet of its own
        self.lost = [float(pts * self.stream.time_base) for pts in missed]
        if self.container.format.name == "mpegts" and not fields:
            self.holes = [float(pts * self.stream.time_base) for pts in _holes(sorted(expected))]

    def _decoded(self, expected: list[int]) -> Iterator[av.VideoFrame]:
        """Frames without errors; the time stamps of all packets to be shown are put into ``expected``."""
        decoder, damage = self._context(), _Damage()
        repairs = self.stream.codec_context.name not in _UNREPAIRED
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                packet = None  # nothing can be read any more
            if packet is not None and packet.size and packet.pts is not None and not packet.is_discard:
                expected.append(packet.pts)
            if packet is not None and not packet.size and packet.pts is not None:
                continue  # a frame that was dropped while writing
            ending = packet is None or not packet.size
            if not (repairs or ending):
                damage.look(packet)
            try:
                for frame in decoder.decode(None if ending else packet):
                    if not damage.spoils(frame):
                        yield frame
            except av.EOFError:
                return
            except av.FFmpegError:
                # What is left out is found by its time.
                if not (repairs or ending):
                    damage.begin(packet)
            if ending:
                return

    def _context(self) -> av.VideoCodecContext:
        name = self.stream.codec_context.name
        if self.stream.metadata.get("alpha_mode") == "1" and name in _ALPHA_DECODERS:
            return av.CodecContext.create(_ALPHA_DECODERS[name], "r")
        # Of several frames at once FFmpeg says only later, and on each machine at another time, that one is
        # damaged.
        self.stream.thread_type = "SLICE" if name in ("vp8", "vp9") else "AUTO"
        return self.stream.codec_context


def _joined_by(time: float, last: float, step: float, joined: float) -> float:
    """Seconds by which a clock is shifted at a frame of that ``time``, ``joined`` at the last one.

    It begins anew where it falls back by far, unless that was a single wrong stamp.
    """
    if joined and last < time < last + LONGEST_HOLE * step:
        return 0.0
    return last + step - time if time + joined < last - CLOCK_RESET_S else joined


def _holes(stamps: list[int]) -> list[float]:
    """Time stamps of single frames that are missing from those ``[N]`` of a constant rate, increasing.

    A broadcast is sent in small pieces: a frame whose first piece is lost leaves no packet. Longer holes are
    stalls, in which nothing was filmed.
    """
    if len(stamps) < 3:
        return []
    usual = median(b - a for a, b in pairwise(stamps))
    steps = [(a, (b - a) / usual) for a, b in pairwise(stamps)] if usual > 0 else []
    regular = sum(abs(step - 1) < 0.1 for _, step in steps) >= MOST_REGULAR * len(steps)
    return [
        a + k * usual
        for a, step in steps
        if regular and 1.9 < step < LONGEST_HOLE and abs(step - round(step)) < 0.1
        for k in range(1, round(step))
    ]
