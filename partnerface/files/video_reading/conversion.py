"""FrameConverter: decoded frames to progressive RGB with square pixels, by FFmpeg's filters."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from partnerface.files.images import LARGEST_PIXELS
from partnerface.files.video_reading.colours import Colours, frame_colours, write_lut

EXACT = "flags=bicubic+accurate_rnd+full_chroma_int"
"""Without these FFmpeg's conversion from YUV is off by up to 5 of 255, and darker on average."""

COMB_RATIO = 1.1
"""Difference of neighbouring lines to that of lines of one field from which ``idet`` calls a frame
interlaced. Changing noise reaches its default of 1.04; films of talking people have far more than 1.1."""

COMB_FRAMES = 30
"""Frames of which it is known whether they are interlaced, after which combs are looked for no more."""


class _Kind(NamedTuple):
    """All that a chain of filters depends on."""

    format: str
    width: int
    height: int
    colours: Colours
    deinterlaced: str


@dataclass
class ConvertedFrame:
    """A frame as players show it, but for the turn that the display matrix asks for.

    Attributes:
        pixels: ``[H, W, 3]`` uint8 RGB, or ``[H, W, 4]`` with straight alpha; None if it was not wanted.
        time: in seconds, as it was given.
        matrix: ``[2, 2]`` of the display matrix, rows are where x and y of the stored picture go; identity
            if there is none.
    """

    pixels: np.ndarray | None
    time: float
    matrix: np.ndarray


class FrameConverter:
    """Converts decoded frames, one after another; a deinterlaced one comes out a frame late.

    Args:
        path: the video, for messages.
        aspect: width of a pixel divided by its height.

    Attributes:
        combed: order of the fields, see `CombSearch.found`, once frames are interlaced although the file does
            not say so; may be set at any time.
        colours: those of the last frame.
        interlaced: number of frames that were deinterlaced.
    """

    def __init__(self, path: Path, aspect: Fraction | None = None) -> None:
        self.path = path
        self.aspect = aspect if aspect and aspect > 0 else Fraction(1)
        self.combed = ""
        self.colours: Colours | None = None
        self.interlaced = 0
        self._graph: av.filter.Graph | None = None
        self._kind: _Kind | None = None
        self._matrix: tuple[int, np.ndarray] | None = None
        self._pushed = 0
        self._waiting: deque[tuple[float, np.ndarray]] = deque()

    def convert(self, frame: av.VideoFrame, time: float, wanted: bool = True) -> Iterator[ConvertedFrame]:
        """What is ready once this frame is in.

        One that is not wanted is left as it is, but where its neighbours need it to be deinterlaced.

        Raises:
            UserError: its colours cannot be converted.
        """
        colours = frame_colours(frame, self.path)
        self.interlaced += bool(self.combed or frame.interlaced_frame)
        # Frames of one field order may alternate with progressive ones: the filter then passes those on.
        marked = frame.interlaced_frame or (
            self._kind is not None and self._kind.deinterlaced == "interlaced"
        )
        deinterlaced = f"all:parity={self.combed}" if self.combed else "interlaced" if marked else ""
        if not (wanted or deinterlaced):
            yield ConvertedFrame(None, time, np.eye(2))
            return
        kind = _Kind(frame.format.name, frame.width, frame.height, colours, deinterlaced)
        if kind != self._kind:
            yield from self.finish()
            self._graph, self._kind, self.colours = self._configured(frame, kind), kind, colours
        frame.colorspace, frame.color_range = colours.matrix, 1 if colours.limited else 2
        self._waiting.append((time, self._display_matrix(frame)))
        self._pushed += 1
        frame.pts, frame.time_base = self._pushed, Fraction(1, 1000)
        self._graph.push(frame)
        yield from self._ready()

    def finish(self) -> Iterator[ConvertedFrame]:
        """What the filters still hold."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
            self._graph = self._kind = None

    def _ready(self) -> Iterator[ConvertedFrame]:
        while True:
            try:
                picture = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            time, matrix = self._waiting.popleft()
            yield ConvertedFrame(picture.to_ndarray(), time, matrix)

    def _display_matrix(self, frame: av.VideoFrame) -> np.ndarray:
        """The frame's `display_matrix`, which is read where its rotation is another than before.

        A frame whose side data were read is held by them until Python collects its garbage, and with it the
        memory of all frames: gigabytes in 4K. So they are read of a tiny one.
        """
        if self._matrix is None or self._matrix[0] != frame.rotation:
            graph = _linked(av.filter.Graph(), [("buffer", _source(self._kind)), ("scale", "16:16")])
            graph.push(frame)
            self._matrix = frame.rotation, display_matrix(graph.vpull())
        return self._matrix[1]

    def _configured(self, frame: av.VideoFrame, kind: _Kind) -> av.filter.Graph:
        colours, graph = kind.colours, av.filter.Graph()
        chain = [("buffer", _source(kind))]
        if kind.deinterlaced:
            chain += [("bwdif", f"mode=send_frame:deint={kind.deinterlaced}")]
        width, height = square_size(kind.width, kind.height, self.aspect)
        rgb = "rgba" if any(part.is_alpha for part in frame.format.components) else "rgb24"
        scale = f"{width}:{height}:{EXACT}"
        if not colours.is_converted:
            chain += [("scale", scale), ("format", rgb)]
            return _linked(graph, chain)
        deep = "gbrap16" if rgb == "rgba" else "gbrp16"
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "colours.cube"
            write_lut(table, colours)
            chain += [("scale", scale), ("format", deep), ("lut3d", f"file='{table}'")]
            chain += [("scale", EXACT), ("format", rgb)]
            return _linked(graph, chain)


def _source(kind: _Kind) -> str:
    return (
        f"video_size={kind.width}x{kind.height}:pix_fmt={kind.format}:time_base=1/1000:"
        f"colorspace={kind.colours.matrix}:range={'tv' if kind.colours.limited else 'pc'}"
    )


def _linked(graph: av.filter.Graph, chain: list[tuple[str, str]]) -> av.filter.Graph:
    nodes = [graph.add(name, options) for name, options in chain]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    return graph


def square_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Size of a picture with square pixels, none of whose sides is smaller than before.

    >>> square_size(720, 576, Fraction(64, 45)), square_size(1440, 1080, Fraction(3, 4))
    ((1024, 576), (1440, 1440))
    """
    wide = max(aspect, Fraction(1))
    high = max(1 / aspect, Fraction(1))
    size = round(width * wide), round(height * high)
    return size if size[0] * size[1] <= LARGEST_PIXELS else (width, height)


def display_matrix(frame: av.VideoFrame) -> np.ndarray:
    """``[2, 2]`` rotation and mirroring of a frame's metadata; see `ConvertedFrame`."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return np.eye(2)
    values = np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2]
    return values / 65536


def upright(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A picture ``[H, W, C]`` turned and mirrored by a display matrix, to the nearest quarter turn."""
    x, y = matrix  # where one step to the right, and one down, go
    if abs(x[1]) > abs(x[0]):
        pixels = pixels.swapaxes(0, 1)
        x, y = y, x
    if x[0] < 0:
        pixels = pixels[:, ::-1]
    if y[1] < 0:
        pixels = pixels[::-1]
    return pixels


class CombSearch:
    """Finds out whether frames are interlaced that are not marked so, by FFmpeg's filter ``idet``.

    Neighbouring lines of moving things then belong to different moments. What stands still tells nothing,
    and a video may begin with a person who sits still.

    Attributes:
        found: which field comes first, ``tff`` for the top or ``bff`` for the bottom one, if most of the
            frames that tell it so far, and two at least, are interlaced; otherwise empty.
    """

    def __init__(self) -> None:
        self.found = ""
        self._told = 0
        self._kind: tuple[str, int, int] | None = None
        self._graph: av.filter.Graph | None = None

    def look(self, frame: av.VideoFrame) -> None:
        """Take the next frame into account, until enough have been seen."""
        # Fields are stored as YUV; pictures in RGB are drawn, and their dithering looks like combs.
        if frame.interlaced_frame or frame.format.is_rgb or self._told >= COMB_FRAMES:
            return
        kind = frame.format.name, frame.width, frame.height
        if kind != self._kind:
            source = f"video_size={kind[1]}x{kind[2]}:pix_fmt={kind[0]}:time_base=1/1000"
            chain = [("buffer", source), ("idet", f"intl_thres={COMB_RATIO}")]
            self._graph, self._kind = _linked(av.filter.Graph(), chain), kind
        self._graph.push(frame)
        try:
            seen = self._graph.vpull().metadata
        except (av.BlockingIOError, av.EOFError):
            return
        top, bottom, whole = (
            float(seen[f"lavfi.idet.multiple.{order}"]) for order in ("tff", "bff", "progressive")
        )
        self._told = top + bottom + whole
        order = "bff" if bottom > top else "tff"
        self.found = order if top + bottom > max(1, whole) else ""
