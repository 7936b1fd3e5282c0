"""Media containers: open those of strangers, and copy the sound of one into another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Disposition

from partnerface.errors import UserError
from partnerface.files.video_reading.decoding import StreamDecoder

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif"
"""Containers that are decoded. Playlists are not: they name other files, which a stranger's must not open."""

SOUND_CONTAINERS = f"{CONTAINERS},wav,mp3,flac,aac"

USUAL_RATE = 48000
"""Samples per second."""

SHORTEST_CUT = 1e-3
"""Seconds: sound that begins within this of the first picture is copied as it is."""


@dataclass(frozen=True)
class Sound:
    """A piece of the sound of a media file.

    Attributes:
        path: the file: a video with sound, or sound alone.
        start: where the piece begins, in seconds from the file's first picture, or from its beginning if it
            has no pictures.
        seconds: length of the piece; None for all that is left.
    """

    path: Path
    start: float = 0.0
    seconds: float | None = None


def opened_video(path: Path) -> av.container.InputContainer:
    """A container with a video stream; see `video_streams`.

    Raises:
        UserError: the file is missing or no such video.
    """
    container = opened(path, CONTAINERS, "video")
    if not video_streams(container):
        container.close()
        raise UserError(f"{path}: has no video stream")
    return container


def video_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams of a container, without cover pictures."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def opened(path: Path, formats: str, kind: str) -> av.container.InputContainer:
    """A container of one of ``formats``; ``kind`` is the word for the file in messages.

    Raises:
        UserError: the file is missing, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such {kind} file")
    try:
        # An absolute path is never taken for an address such as concat:a|b.
        return av.open(str(path.absolute()), options={"format_whitelist": formats})
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise UserError(f"{path}: not a {kind} that can be read ({reason})") from error


def has_sound_track(path: Path) -> bool:
    """True if a media file has a sound track.

    Raises:
        UserError: the file is missing or no media file.
    """
    with opened(path, SOUND_CONTAINERS, "sound") as container:
        return bool(container.streams.audio)


class SoundCopy:
    """Writes a piece of sound beside the pictures of a container; a context manager.

    Packets are copied as they are where the container may hold their codec and the piece begins at the first
    picture: to the nearest packet, about 10 ms, at the end. Otherwise the sound is encoded anew, cut to the
    sample. Sound that begins late stays late; without a sound track nothing is written.

    Args:
        container: where to write, before its first packet.
        sound: which sound.
        copied: codecs that the container may hold.
        encoder: codec for all others.
    """

    def __init__(
        self, container: av.container.OutputContainer, sound: Sound, copied: frozenset[str], encoder: str
    ) -> None:
        self._container, self._sound = container, sound
        self._source = opened(sound.path, SOUND_CONTAINERS, "sound")
        self._packets: Iterator[tuple[float, av.Packet]] = iter(())
        if self._source.streams.audio:
            stream = self._source.streams.audio[0]
            if stream.codec_context.name in copied and abs(sound.start) < SHORTEST_CUT:
                self._packets = self._copied(stream, container.add_stream_from_template(stream))
            else:
                layout = "mono" if stream.channels == 1 else "stereo"
                target = container.add_stream(encoder, rate=_rate(encoder, stream.rate), layout=layout)
                self._open(target)
                self._packets = self._encoded(stream, target)
        self._next: tuple[float, av.Packet] | None = None

    def __enter__(self) -> SoundCopy:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def _open(self, target: av.AudioStream) -> None:
        """Open an encoder before the pictures are written.

        Raises:
            UserError: it cannot encode this sound.
        """
        try:
            target.codec_context.open()
        except (av.FFmpegError, ValueError) as error:
            self._source.close()
            reason = getattr(error, "strerror", error)
            raise UserError(
                f"{self._sound.path}: its sound cannot be encoded ({reason}); --sound false leaves it out"
            ) from error

    def write_until(self, seconds: float) -> None:
        """Write the packets that begin before a time of the pictures, so that players find both together.

        Raises:
            UserError: the sound is damaged.
        """
        while True:
            try:
                self._next = self._next or next(self._packets, None)
            except (av.FFmpegError, ValueError) as error:
                reason = getattr(error, "strerror", error)
                raise UserError(
                    f"{self._sound.path}: its sound is damaged ({reason}); --sound false leaves it out"
                ) from error
            if self._next is None or self._next[0] >= seconds:
                return
            self._container.mux(self._next[1])
            self._next = None

    def _first_picture(self) -> Fraction:
        """Seconds on the source's clock of the first picture that can be decoded, 0 without pictures."""
        with opened(self._sound.path, SOUND_CONTAINERS, "sound") as container:
            for stream in video_streams(container)[:1]:
                for _, time in StreamDecoder(container, stream):
                    return Fraction(time).limit_denominator(10**6)
        return Fraction(0)

    def _copied(self, stream: av.AudioStream, target: av.AudioStream) -> Iterator[tuple[float, av.Packet]]:
        begin, end = self._first_picture(), self._sound.seconds
        for packet in self._source.demux(stream):
            if packet.pts is None:
                continue  # the empty packet at the end
            time = packet.pts * packet.time_base - begin
            length = (packet.duration or 0) * packet.time_base
            if end is not None and time + length / 2 >= end:
                return
            if time + length > 0:
                shift = round(begin / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.pts - shift, target
                yield float(time), packet

    def _encoded(self, stream: av.AudioStream, target: av.AudioStream) -> Iterator[tuple[float, av.Packet]]:
        begin = self._first_picture() + Fraction(self._sound.start).limit_denominator(10**6)
        graph = av.filter.Graph()
        source = graph.add_abuffer(template=stream)
        until = "" if self._sound.seconds is None else f":end={float(begin) + self._sound.seconds:.9f}"
        chain = [
            source,
            graph.add("atrim", f"start={float(begin):.9f}{until}"),
            graph.add("asetpts", f"PTS-{float(begin):.9f}/TB"),
            # Silence where the sound begins late or has gaps.
            graph.add("aresample", f"{target.rate}:async=1:first_pts=0"),
            graph.add("aformat", f"sample_fmts={target.format.name}:channel_layouts={target.layout.name}"),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*chain).configure()
        if begin > 1:
            self._source.seek(int((begin - 1) / stream.time_base), stream=stream)
        last = None if self._sound.seconds is None else begin + Fraction(self._sound.seconds)
        for frame in self._source.decode(stream):
            if last is not None and frame.pts is not None and frame.pts * frame.time_base > last:
                break
            source.push(frame)
            yield from _drained(chain[-1], target)
        source.push(None)
        yield from _drained(chain[-1], target)
        yield from ((_seconds(packet), packet) for packet in target.encode(None))


def _rate(encoder: str, rate: int) -> int:
    """Samples per second to encode: those of the sound where the encoder knows them."""
    known = av.Codec(encoder, "w").audio_rates
    return rate if encoder != "libopus" and rate in (known or (rate,)) else USUAL_RATE


def _drained(
    sink: av.filter.context.FilterContext, target: av.AudioStream
) -> Iterator[tuple[float, av.Packet]]:
    while True:
        try:
            frame = sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        yield from ((_seconds(packet), packet) for packet in target.encode(frame))


def _seconds(packet: av.Packet) -> float:
    return float((packet.pts or 0) * packet.time_base)
