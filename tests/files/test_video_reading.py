"""Videos as people have them: each made by code, and its frames compared with what a player shows."""

import gc
import io
import math
import struct
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image, ImageCms
from scipy.ndimage import gaussian_filter, shift
from scipy.optimize import brentq

from partnerface.errors import UserError
from partnerface.files.video_reading import decoding, read
from partnerface.files.video_reading.colours import hlg_to_light, pq_to_light, to_bt709
from partnerface.files.video_reading.conversion import FrameConverter
from partnerface.files.video_reading.decoding import StreamDecoder
from partnerface.files.video_reading.read import (
    VideoReader,
    probe_streams,
    probe_video,
    read_video,
    streams_of,
)
from partnerface.files.video_reading.source import VideoSource, natural_order, parse_section
from partnerface.files.videos import write_video

TAGS_601 = (Colorspace.ITU601, ColorRange.MPEG, 2, 2)
UNTAGGED = (2, 0, 2, 2)  # 2 is "unspecified" in ITU-T H.273


def encode(
    path: Path,
    frames: list[av.VideoFrame],
    codec: str = "libx264",
    tags: tuple = UNTAGGED,
    options: dict | None = None,
    rate: int = 25,
    aspect: Fraction | None = None,
    times: list[int] | None = None,
) -> None:
    """Write frames as they are, without a conversion of colours; ``times`` are in frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {"crf": "1"})
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = frames[0].format.name
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = tags
        if aspect:
            context.sample_aspect_ratio = aspect
        for frame, pts in zip(frames, times or range(len(frames)), strict=True):
            frame.pts, frame.time_base = pts, Fraction(1, rate)
            frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc = tags
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def yuv(luma: np.ndarray, blue: int = 128, red: int = 128) -> av.VideoFrame:
    """A frame of 8 bits from its luma ``[H, W]`` and constant chroma."""
    height, width = luma.shape
    planes = [luma.astype(np.uint8), np.full((height // 2, width), blue, np.uint8)]
    planes[1][:, width // 2 :] = red
    halves = planes[1].reshape(height // 2, 2, width // 2).transpose(1, 0, 2).reshape(height // 2, width)
    return av.VideoFrame.from_ndarray(np.concatenate([planes[0], halves]), format="yuv420p")


def picture(width: int = 64, height: int = 32) -> np.ndarray:
    """Red top left, green top right, blue bottom left, black bottom right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2, 0] = 255
    image[: height // 2, width // 2 :, 1] = 255
    image[height // 2 :, : width // 2, 2] = 255
    return image


# Display matrices


def _turned_by_arithmetic(image: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Every pixel put where (x, y) -> (a x + c y, b x + d y) takes it, moved back to the origin."""
    a, b, c, d = matrix
    height, width = image.shape[:2]
    places = {(a * x + c * y, b * x + d * y): image[y, x] for y in range(height) for x in range(width)}
    left, top = min(x for x, _ in places), min(y for _, y in places)
    size = (width, height) if a else (height, width)
    turned = np.zeros((size[1], size[0], 3), np.uint8)
    for (x, y), value in places.items():
        turned[y - top, x - left] = value
    return turned


MATRICES = [(a, 0, 0, d) for a, d in product((1, -1), repeat=2)]
MATRICES += [(0, b, c, 0) for b, c in product((1, -1), repeat=2)]


def _turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Replace the display matrix of an MP4 file."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 65536 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("matrix", MATRICES)
def test_all_turns_and_mirrors_of_a_display_matrix(tmp_path, matrix):
    path = tmp_path / "a.mp4"
    write_video(path, [picture()] * 2, 25)
    plain = next(read_video(path)).image
    _turn(path, matrix)
    np.testing.assert_array_equal(next(read_video(path)).image, _turned_by_arithmetic(plain, matrix))


# Pixels that are not square


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(4, 3), (128, 64)), (Fraction(1, 2), (96, 128))])
def test_pixels_become_square(tmp_path, aspect, size):
    """A disc that was squeezed is a disc again, also in a video that is shown after a quarter turn."""
    y, x = np.mgrid[:64, :96]
    wide = 4 / 3 if aspect > 1 else 1
    high = 1 if aspect > 1 else 2
    disc = ((x - 47.5) * wide) ** 2 + ((y - 31.5) * high) ** 2 < 25**2
    marked = (x < 8) & (y < 8)
    encode(tmp_path / "a.mp4", [yuv(np.where(disc, 235, np.where(marked, 90, 16)))] * 2, aspect=aspect)
    reader = VideoReader(tmp_path / "a.mp4")
    image = next(iter([frame.image for frame in reader]))
    assert image.shape == (size[1], size[0], 3)
    rows, columns = np.nonzero(image[..., 1] > 128)
    assert np.ptp(rows) == pytest.approx(49, abs=2.5)
    assert np.ptp(columns) == pytest.approx(49, abs=2.5)
    assert any("square" in note for note in reader.notes)
    assert (probe_video(tmp_path / "a.mp4").width, probe_video(tmp_path / "a.mp4").height) == size
    for matrix in ((0, 1, -1, 0), (0, -1, 1, 0)):
        _turn(tmp_path / "a.mp4", matrix)
        turned = next(read_video(tmp_path / "a.mp4")).image
        np.testing.assert_array_equal(turned, _turned_by_arithmetic(image, matrix))
        assert (probe_video(tmp_path / "a.mp4").height, probe_video(tmp_path / "a.mp4").width) == size


# Colours


def _rgb(y: float, cb: float, cr: float, red: float, blue: float) -> np.ndarray:
    """8-bit RGB of limited-range YCbCr, by the weights of red and blue in luma (ITU-R BT.601, BT.709)."""
    luma, b, r = (y - 16) / 219, (cb - 128) / 224 * 2 * (1 - blue), (cr - 128) / 224 * 2 * (1 - red)
    green = (luma - red * (luma + r) - blue * (luma + b)) / (1 - red - blue)
    return 255 * np.array([luma + r, green, luma + b])


@pytest.mark.parametrize(
    ("size", "tags", "weights"),
    [
        ((64, 720), UNTAGGED, (0.2126, 0.0722)),
        ((64, 718), UNTAGGED, (0.299, 0.114)),
        ((1280, 48), UNTAGGED, (0.2126, 0.0722)),
        ((1278, 48), UNTAGGED, (0.299, 0.114)),
        ((1280, 720), TAGS_601, (0.299, 0.114)),
        ((64, 48), (Colorspace.ITU709, ColorRange.MPEG, 1, 1), (0.2126, 0.0722)),
    ],
)
def test_the_matrix_is_that_of_the_tag_or_of_the_size(tmp_path, size, tags, weights):
    y, cb, cr = 118, 100, 168
    encode(tmp_path / "a.mp4", [yuv(np.full(size[::-1], y), cb, cr)], tags=tags, options={"qp": "0"})
    colour = next(read_video(tmp_path / "a.mp4")).image[20, 20]
    np.testing.assert_allclose(colour, _rgb(y, cb, cr, *weights), atol=1.01)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".webm", ".mov"])
def test_what_is_written_comes_back_and_says_that_it_is_bt709(tmp_path, suffix):
    colours = [(200, 100, 80), (12, 12, 12), (245, 245, 245), (150, 30, 60), (30, 140, 70), (40, 60, 190)]
    flat = [np.full((64, 64, 3), colour, np.uint8) for colour in colours]
    write_video(tmp_path / f"a{suffix}", flat, 25)
    for image, frame in zip(flat, read_video(tmp_path / f"a{suffix}"), strict=True):
        assert np.abs(frame.image.astype(int) - image).max() <= 2
    y, x = np.mgrid[:96, :128]
    smooth = np.stack([200 - x / 3, 60 + y / 2, 80 + x / 4], -1).round().astype(np.uint8)
    write_video(tmp_path / f"a{suffix}", [smooth] * 2, 25, crf=0)
    frame = next(read_video(tmp_path / f"a{suffix}")).image
    assert np.abs(frame.astype(int) - smooth).max() <= 2
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        stored = next(container.decode(video=0))
        tags = stored.colorspace, stored.color_primaries, stored.color_trc, stored.color_range
        assert tags == (1, 1, 1, 1)


def _deep(values: np.ndarray, tags: tuple, path: Path) -> np.ndarray:
    """RGB ``[N, 3]`` in [0, 1] as patches of a BT.2020 video of 10 bits; the patches as they are read."""
    red, blue = 0.2627, 0.0593
    luma = values @ np.array([red, 1 - red - blue, blue])
    cb = (values[:, 2] - luma) / (2 * (1 - blue))
    cr = (values[:, 0] - luma) / (2 * (1 - red))
    planes = [4 * (16 + 219 * luma), 4 * (128 + 224 * cb), 4 * (128 + 224 * cr)]
    frame = av.VideoFrame(32 * len(values), 32, "yuv420p10le")
    for plane, patches, side in zip(frame.planes, planes, (32, 16, 16), strict=True):
        rows = np.zeros((side, plane.line_size // 2), np.uint16)
        filled = np.repeat(patches.round().astype(np.uint16), side)
        rows[:, : len(filled)] = filled
        plane.update(rows.tobytes())
    encode(path, [frame], "libx265", tags, {"x265-params": "lossless=1:log-level=none"})
    return next(read_video(path)).image[16, 16::32].astype(float)


def _pq(light: float) -> float:
    return brentq(lambda v: float(pq_to_light(np.array(v))) - light, 0, 1)


PQ = (Colorspace.BT2020, ColorRange.MPEG, ColorPrimaries.BT2020, ColorTrc.SMPTE2084)
HLG = (Colorspace.BT2020, ColorRange.MPEG, ColorPrimaries.BT2020, ColorTrc.ARIB_STD_B67)


def test_transfer_functions_have_the_levels_of_the_standards():
    """ITU-R BT.2408, table 1: 58 % PQ and 75 % HLG are 203 cd/m²; 38 % is 26 cd/m² in both."""
    assert pq_to_light(np.array([0.58, 0.38, 1.0])) == pytest.approx([203, 26, 10_000], rel=0.02)
    grey = hlg_to_light(np.array([[0.75] * 3, [0.38] * 3, [1.0] * 3]))
    assert grey[:, 0] == pytest.approx([203, 26, 1000], rel=0.02)


@pytest.mark.parametrize("tags", [PQ, HLG], ids=["PQ", "HLG"])
def test_high_dynamic_range_is_tone_mapped(tmp_path, tags):
    """Colours of the standard range, put into HDR as ITU-R BT.2408 says (white at 203 cd/m²), come back."""
    colours = np.array([[90, 90, 90], [140, 90, 70], [60, 110, 80], [40, 60, 120], [150, 150, 150.0]]) / 255
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    light = 203 * (colours**2.4) @ to_2020.T  # matrix of ITU-R BT.2087
    if tags is PQ:
        signal = np.vectorize(_pq)(light)
    else:
        luminance = light @ np.array([0.2627, 0.6780, 0.0593])
        scene = light / 1000 * ((luminance / 1000) ** (1 / 1.2 - 1))[:, None]
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        signal = np.where(scene <= 1 / 12, (3 * scene) ** 0.5, a * np.log((12 * scene - b).clip(1e-9)) + c)
    path = tmp_path / "a.mkv"
    read = _deep(signal, tags, path)
    np.testing.assert_allclose(read, 255 * colours, atol=3)
    reader = VideoReader(path)
    list(reader)
    assert any("tone-mapped to BT.709" in note for note in reader.notes)


def test_highlights_are_compressed_not_cut():
    """Grey stays grey, brighter stays brighter, and 1000 cd/m² are white."""
    light = np.geomspace(1, 1000, 40)
    signal = np.array([[_pq(value)] * 3 for value in light])
    mapped = to_bt709(signal, "PQ", "BT.2020")
    assert np.ptp(mapped, axis=1).max() < 1e-3
    assert (np.diff(mapped[:, 0]) > 0).all()
    assert mapped[-1, 0] == pytest.approx(1, abs=1e-3)
    dark = light < 80
    np.testing.assert_allclose(mapped[dark, 0], (light[dark] / 203) ** (1 / 2.4), atol=1e-3)


def test_colours_of_a_phone_s_wide_gamut_are_converted(tmp_path):
    """Skin in Display P3; the matrix from it to linear BT.709 is that of CSS Color 4."""
    to_709 = np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])
    expected = np.array([200, 140, 110.0])
    stored = 255 * (np.linalg.inv(to_709) @ (expected / 255) ** 2.4) ** (1 / 2.4)
    luma = stored @ np.array([0.2126, 0.7152, 0.0722])
    y = 16 + 219 * luma / 255
    cb, cr = 128 + 224 * (stored[[2, 0]] - luma) / 255 / (2 * (1 - np.array([0.0722, 0.2126])))
    tags = Colorspace.ITU709, ColorRange.MPEG, ColorPrimaries.SMPTE432, ColorTrc.BT709
    frame = yuv(np.full((32, 32), round(y)), round(cb), round(cr))
    encode(tmp_path / "a.mp4", [frame], tags=tags, options={"qp": "0"})
    np.testing.assert_allclose(next(read_video(tmp_path / "a.mp4")).image[9, 9], expected, atol=3)


# Frames that cannot be had


def _moving(frames: int, size: int = 64) -> list[av.VideoFrame]:
    """Frame k has luma 40 + 3 k on noise that changes, so that every packet holds something."""
    rng = np.random.default_rng(0)
    return [yuv(40 + 3 * k + rng.integers(0, 20, (size, size))) for k in range(frames)]


def _number(frame) -> int:
    """Which frame of `_moving` it is."""
    luma = (frame.image.astype(float).mean() / 255 * 219) + 16
    return round((luma - 49.5) / 3)


def _kinds(path: Path) -> str:
    """``I``, ``P`` or ``B`` for each frame as it is shown."""
    with av.open(str(path)) as container:
        return "".join(PictureType(frame.pict_type).name for frame in container.decode(video=0))


def _spoil(path: Path, packets: list[int]) -> None:
    """Overwrite packets, counted in the order in which they are stored."""
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number in packets:
        place, size = places[number]
        data[place + 4 : place + size] = b"\xff" * (size - 4)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("kinds", "packet", "lost", "touched"),
    [
        ("IPPPPPPPPPIPPPPPPPPPIPPPPPPPPP", 14, 14, range(14, 20)),
        ("IBBBPBBBPPIBBBPBBBPPIBBBPBBBPP", 11, 14, range(11, 20)),  # all before the next key refer to it
        ("IBBBPBBBPPIBBBPBBBPPIBBBPBBBPP", 13, 11, ()),  # nothing does
    ],
)
def test_a_broken_packet_costs_its_frame_and_leaves_a_gap(tmp_path, kinds, packet, lost, touched):
    """Packets are stored in the order of decoding: with B pictures the 12th holds the 15th frame."""
    path = tmp_path / "a.mp4"
    options = {"crf": "10", "bf": "3" if "B" in kinds else "0", "g": "10", "x264-params": "scenecut=0"}
    encode(path, _moving(30), options=options)
    assert _kinds(path) == kinds
    clean = [frame.image for frame in read_video(path)]
    _spoil(path, [packet])
    reader = VideoReader(path)
    frames = {round(frame.time * 25): frame.image for frame in reader}
    assert list(frames) == [k for k in range(30) if k != lost]
    for number in frames.keys() - set(touched):
        np.testing.assert_array_equal(frames[number], clean[number])
    assert f"1 of 30 frames are damaged and left out: at {lost / 25:.2f} s" in reader.notes


def test_vp9_does_not_repair_what_refers_to_a_broken_frame(tmp_path):
    """So all frames up to the next key frame are left out, and no others."""
    path = tmp_path / "a.webm"
    encode(path, _moving(130), "libvpx-vp9", options={"g": "10", "crf": "10", "lag-in-frames": "0"})
    clean = [frame.image for frame in read_video(path)]
    _spoil(path, [20])
    reader = VideoReader(path)
    frames = list(reader)
    assert [round(frame.time * 25) for frame in frames] == [*range(20), *range(30, 130)]
    for frame in frames:
        np.testing.assert_array_equal(frame.image, clean[round(frame.time * 25)])
    assert any("10 of 130 frames are damaged and left out: at 0.80 s" in note for note in reader.notes)


def test_hevc_in_a_broadcast_that_lost_pieces(tmp_path):
    """FFmpeg marks the packet, and its decoder does not repair what refers to it."""
    path = tmp_path / "a.ts"
    options = {"x265-params": "log-level=none:keyint=10:min-keyint=10:scenecut=0:bframes=0:crf=10"}
    encode(path, _moving(130), "libx265", options=options)
    clean = {round(frame.time * 25): frame.image for frame in read_video(path)}
    with av.open(str(path)) as container:
        broken = [packet.pos for packet in container.demux(video=0) if packet.size][43]
    data = bytearray(path.read_bytes())
    second = (broken // 188 + 2) * 188
    data[second : second + 188] = b""
    path.write_bytes(data)
    reader = VideoReader(path)
    frames = list(reader)
    lost = {*range(130)} - {round(frame.time * 25) for frame in frames}
    # The packet before may be marked, too.
    assert {*range(43, 50)} <= lost <= {*range(42, 50)}
    for frame in frames:
        np.testing.assert_array_equal(frame.image, clean[round(frame.time * 25)])


def test_a_frame_that_a_broadcast_lost_altogether_is_named(tmp_path):
    """Its pieces of 188 bytes are replaced by empty ones; a stall of 20 frames is no loss."""
    path = tmp_path / "a.ts"
    times = [k if k < 40 else k + 20 for k in range(60)]
    encode(path, _moving(60), times=times, options={"crf": "10", "bf": "0", "g": "10"})
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for at in range(places[14], places[15], 188):
        data[at : at + 188] = bytes([0x47, 0x1F, 0xFF, 0x10]) + bytes(184)
    path.write_bytes(data)
    reader = VideoReader(path)
    assert [round(frame.time * 25) for frame in reader] == [k for k in times if k != 14]
    assert any("1 frames are missing in the broadcast: at 0.56 s" in note for note in reader.notes)


def test_a_broadcast_whose_camera_skipped_frames_is_whole(tmp_path):
    path = tmp_path / "a.ts"
    times = [k + 3 * (k // 20) for k in range(100)]
    encode(path, _moving(100), times=times, options={"crf": "10", "bf": "0"})
    reader = VideoReader(path)
    assert [round(frame.time * 25) for frame in reader] == times
    assert any("12 frames are missing in the broadcast: at 0.80 s, 0.84 s" in note for note in reader.notes)


def test_avi_has_the_times_of_presentation_whatever_the_order_of_decoding(tmp_path):
    path = tmp_path / "a.avi"
    encode(path, _moving(30), options={"crf": "10", "bf": "3", "x264-params": "scenecut=0"})
    assert "BBB" in _kinds(path)
    frames = list(read_video(path))
    assert [_number(frame) for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) / 25, atol=1e-3)


def test_a_clock_that_does_not_begin_at_zero(tmp_path):
    """Of a recorder that divides its film, or a cut that keeps the times."""
    path = tmp_path / "a.mkv"
    encode(path, _moving(30), times=list(range(100, 130)), options={"crf": "10"})
    reader = VideoReader(path)
    assert [round(frame.time * 25) for frame in reader] == list(range(30))
    assert not any("early" in note for note in reader.notes)


def test_an_empty_packet_ends_nothing(tmp_path, monkeypatch):
    """A frame that a phone dropped while writing: a sample of no bytes."""
    path = tmp_path / "a.mp4"
    encode(path, _moving(20), options={"crf": "10", "bf": "0"})
    decoded = decoding.StreamDecoder._decoded

    def with_an_empty_one(self, expected):
        packets = list(self.container.demux(self.stream))
        empty = SimpleNamespace(size=0, pts=packets[8].pts + 1, dts=packets[8].dts + 1, is_discard=False)
        self.container = SimpleNamespace(
            demux=lambda _: iter([*packets[:9], empty, *packets[9:]]), format=self.container.format
        )
        yield from decoded(self, expected)

    monkeypatch.setattr(decoding.StreamDecoder, "_decoded", with_an_empty_one)
    assert [_number(frame) for frame in read_video(path)] == list(range(20))


def test_a_file_that_is_written_anew_is_read_anew(tmp_path):
    path = tmp_path / "a.mp4"
    for count in (12, 20):
        encode(path, _moving(count))
        assert probe_video(path).num_frames == len(list(read_video(path))) == count


def test_a_section_is_a_video_of_its_own(tmp_path):
    """From 0.5 s, which lies between two frames, up to but without the frame at 1.2 s."""
    path = tmp_path / "a.mp4"
    encode(path, _moving(40))
    source = VideoSource(path, section=(0.5, 1.2))
    reader = VideoReader(source)
    frames = list(reader)
    assert [_number(frame) for frame in frames] == list(range(13, 30))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(17) / 25, atol=1e-6)
    assert reader.begins == pytest.approx(0.52)
    assert abs(probe_video(source).num_frames - 17) <= 1
    sources = [VideoSource(path), source, VideoSource(path, section=(0.5, 1.3)), VideoSource(path, fps=25.0)]
    assert len({one.digest() for one in sources}) == 4
    with pytest.raises(UserError, match="no frames within --clip 8:9"):
        list(read_video(VideoSource(path, section=(8, 9))))


def test_what_is_said_of_a_section_is_of_it_alone(tmp_path):
    """A damaged frame at 0.56 s, and a file whose second half never arrived."""
    path = tmp_path / "a.mp4"
    encode(path, _moving(60), options={"crf": "10", "bf": "0", "g": "10", "movflags": "faststart"})
    _spoil(path, [14])
    notes = {}
    for section in ((0.2, 1.0), (0.8, 1.2)):
        reader = VideoReader(VideoSource(path, section=section))
        frames = [round(25 * (frame.time + reader.begins)) for frame in reader]
        assert frames == [k for k in range(round(25 * section[0]), round(25 * section[1])) if k != 14]
        notes[section] = reader.notes
    assert [note for note in notes[0.2, 1.0] if "damaged" in note] == [
        "1 of 19 frames are damaged and left out: at 0.56 s"
    ]
    assert notes[0.8, 1.2] == []


@pytest.mark.parametrize(
    ("text", "section"), [("12.5:40", (12.5, 40)), (":3", (0, 3)), ("2:", (2, math.inf))]
)
def test_a_section_in_words(text, section):
    assert parse_section(text) == section


@pytest.mark.parametrize("text", ["", "5", "5:4", "-1:4", "nan:4", "a:b", "1:2:3"])
def test_no_such_section(text):
    with pytest.raises(UserError, match="give the first and the last second"):
        VideoSource(Path("a.mp4"), section=parse_section(text))


def test_recordings_that_were_joined_go_on_where_the_clock_begins_anew(tmp_path):
    path = tmp_path / "a.ts"
    encode(path, _moving(40), options={"crf": "10", "bf": "0", "g": "10"})
    path.write_bytes(path.read_bytes() * 2)
    assert [round(frame.time * 25) for frame in read_video(path)] == list(range(80))


def test_a_recording_that_was_joined_to_a_damaged_one_is_whole(tmp_path):
    """Its clock begins before the damage; where the streams meet FFmpeg calls up to two packets broken."""
    options = {"x265-params": "log-level=none:keyint=10:min-keyint=10:scenecut=0:bframes=0:crf=10"}
    encode(tmp_path / "a.ts", _moving(50), "libx265", options=options, times=[k + 500 for k in range(50)])
    encode(tmp_path / "b.ts", _moving(50), "libx265", options=options)
    first = bytearray((tmp_path / "a.ts").read_bytes())
    with av.open(str(tmp_path / "a.ts")) as container:
        broken = [packet.pos for packet in container.demux(video=0) if packet.size][43]
    place = (broken // 188 + 2) * 188
    (tmp_path / "c.ts").write_bytes(first[:place] + first[place + 188 :] + (tmp_path / "b.ts").read_bytes())
    shown = [round(frame.time * 25) for frame in read_video(tmp_path / "c.ts")]
    assert shown[:42] == list(range(42))
    assert len([k for k in shown if k >= 50]) >= 38


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([100, 101, 102, 0, 104, 105], [0, 1, 2, 3, 4, 5]),  # one is wrong
        ([100, 101, 102, 10, 11, None, 13], [0, 1, 2, 3, 4, 5, 6]),  # joined, and one has none
        ([0, 3, 1, 2, 4, 5], [0, 3, 3, 3, 4, 5]),  # in another order
    ],
)
def test_times_of_a_broken_muxer_increase_and_come_back(stamps, times):
    class Stamps(StreamDecoder):
        def _decoded(self, expected):
            for pts in stamps:
                yield SimpleNamespace(is_corrupt=False, pts=pts, interlaced_frame=False)

    stream = SimpleNamespace(average_rate=25, guessed_rate=25, time_base=Fraction(1, 25))
    found = [time for _, time in Stamps(SimpleNamespace(format=SimpleNamespace(name="mp4")), stream)]
    assert all(a < b for a, b in pairwise(found))
    assert [round((time - found[0]) * 25) for time in found] == times


def test_half_of_a_film_in_fragments_is_refused(tmp_path):
    """Its index knows only the fragments that are there; its header knows how long it is."""
    encode(tmp_path / "a.mp4", _moving(60), options={"crf": "10", "bf": "0", "g": "10"})
    with (
        av.open(str(tmp_path / "a.mp4")) as given,
        av.open(
            str(tmp_path / "b.mp4"), "w", options={"movflags": "frag_keyframe+dash+global_sidx"}
        ) as container,
    ):
        stream = container.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    assert len(list(read_video(tmp_path / "b.mp4"))) == 60
    whole = (tmp_path / "b.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"b\.mp4: the file ends early: 29 of 58 frames are missing"):
        list(read_video(tmp_path / "b.mp4"))


def test_more_than_a_tenth_of_broken_packets_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    encode(path, _moving(30), options={"crf": "10", "bf": "0", "g": "5"})
    _spoil(path, [7, 12, 17])
    assert len(list(read_video(path))) == 27
    _spoil(path, [22])
    with pytest.raises(UserError, match=r"a\.mp4: 4 of 30 frames are damaged"):
        list(read_video(path))


def test_a_stream_that_begins_within_a_group_of_pictures(tmp_path):
    path = tmp_path / "a.ts"
    encode(path, _moving(40), options={"crf": "10", "g": "20", "bf": "0", "x264-params": "scenecut=0"})
    with av.open(str(path)) as container:
        fourth = [p.pos for p in container.demux(video=0) if p.size][4]
    path.write_bytes(path.read_bytes()[fourth // 188 * 188 :])
    reader = VideoReader(path)
    frames = list(reader)
    assert [_number(frame) for frame in frames] == list(range(20, 40))
    assert frames[0].time == 0
    assert any("begins within a group of pictures" in note for note in reader.notes)


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_half_a_download_is_refused_and_nearly_all_of_one_is_said(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    with av.open(str(path), "w", options={"movflags": "faststart"} if kind == "mp4" else {}) as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10", "bf": "0"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for frame in _moving(40):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=rf"a\.{kind}: the file ends early: \d+ of 4\d frames are missing"):
        list(read_video(path))
    if kind == "mp4":
        path.write_bytes(whole[:-200])
        reader = VideoReader(path)
        frames = list(reader)
        assert 36 <= len(frames) < 40
        assert [_number(frame) for frame in frames] == list(range(len(frames)))
        assert any("the file ends early" in note for note in reader.notes)


def test_an_edit_list_hides_frames_from_the_count(tmp_path):
    """Cut without encoding anew, as ``-ss 0.6 -c copy`` does: frames since the last key frame are hidden."""
    path = tmp_path / "a.mp4"
    encode(path, _moving(30), options={"crf": "10", "bf": "0", "g": "10"})
    data = path.read_bytes()
    place = data.index(b"elst")
    scale = struct.unpack(">I", data[data.index(b"mdhd") + 16 : data.index(b"mdhd") + 20])[0]
    entry = bytearray(data)
    # One entry: duration in the movie's clock, where in the track it begins, its rate.
    length = struct.unpack(">I", data[place + 12 : place + 16])[0]
    entry[place + 12 : place + 20] = struct.pack(">Ii", length * 15 // 30, 15 * scale // 25)
    path.write_bytes(entry)
    frames = list(read_video(path))
    assert [_number(frame) for frame in frames] == list(range(15, 30))
    assert probe_video(path).num_frames == 15


# Transparency


@pytest.mark.parametrize(("suffix", "tolerance"), [(".webm", 6), (".mov", 2)])
def test_alpha_is_read(tmp_path, suffix, tolerance):
    image = np.full((64, 64, 4), (200, 100, 80, 255), np.uint8)
    image[:, :32, 3] = 0
    image[:, 32:48, 3] = 128
    write_video(tmp_path / f"a{suffix}", [image] * 3, 25)
    reader = VideoReader(tmp_path / f"a{suffix}")
    frames = list(reader)
    assert len(frames) == 3
    assert np.abs(frames[1].alpha[:, 4::16].astype(int) - [0, 0, 128, 255]).max() <= tolerance
    assert np.abs(frames[1].image[32, 60].astype(int) - [200, 100, 80]).max() <= 4
    assert reader.transparent
    assert any("alpha is the matte" in note for note in reader.notes)
    write_video(tmp_path / "b.webm", [image[..., :3]] * 2, 25)
    opaque = VideoReader(tmp_path / "b.webm")
    assert [frame.alpha for frame in opaque] == [None, None]
    assert not opaque.transparent


@pytest.mark.parametrize("matrix", [8, 11, 14])
def test_a_matrix_that_cannot_be_converted_is_refused(tmp_path, matrix):
    encode(tmp_path / "a.mkv", _moving(3), tags=(matrix, 1, 1, 1))
    with pytest.raises(UserError, match=rf"a\.mkv: its colours are coded by matrix {matrix} of ITU-T H.273"):
        list(read_video(tmp_path / "a.mkv"))


# Interlaced


def _bar(moment: int) -> np.ndarray:
    """``[64, 64]`` luma with a bar that moves by 6 pixels a field."""
    luma = np.full((64, 64), 40)
    place = 6 * moment // 2 * 2 % 64
    luma[:, place : place + 16] = 200
    return luma


def _woven(frame: int, first: int = 0) -> np.ndarray:
    """The two fields of a frame; ``first`` is the line with which its earlier one begins."""
    luma = _bar(2 * frame)
    luma[1 - first :: 2] = _bar(2 * frame + 1)[1 - first :: 2]
    return luma


def _flagged(frame: av.VideoFrame, order: str) -> av.VideoFrame:
    """The frame, which says of itself which of its fields comes first: ``tff`` or ``bff``."""
    graph = av.filter.Graph()
    source = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000"
    nodes = [("buffer", source), ("setfield", order), ("buffersink", "")]
    graph.link_nodes(*(graph.add(*node) for node in nodes)).configure()
    graph.push(frame)
    return graph.vpull()


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize(("flagged", "still"), [(True, 0), (False, 0), (False, 40)])
def test_interlaced_frames_have_no_combs(tmp_path, flagged, still, order):
    """A bar that moves by 6 pixels a field, after some frames in which it rests: the field of the frame's own
    moment is shown, in every line.
    """
    woven = [yuv(_bar(0))] * still + [yuv(_woven(k, ["tff", "bff"].index(order))) for k in range(6)]
    if flagged:
        woven = [_flagged(frame, order) for frame in woven]
    encode(tmp_path / "a.mp4", woven, options={"crf": "4"} | ({"flags": "+ildct+ilme"} if flagged else {}))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert {frame.interlaced_frame for frame in container.decode(video=0)} == {flagged}
    reader = VideoReader(tmp_path / "a.mp4")
    frames = list(reader)
    assert [round(frame.time * 25) for frame in frames] == list(range(still + 6))
    for number, frame in enumerate(frames[still + 1 : -1], 1):
        grey = frame.image[8:-8, :, 1].astype(int)
        combs = np.abs(2 * grey[1:-1] - grey[:-2] - grey[2:])
        assert (combs > 60).mean() < 0.02
        wrong = (grey.mean(0) > 127) != (_bar(2 * number)[0] > 120)
        assert wrong.mean() < 0.05
    assert any("deinterlaced" in note for note in reader.notes)
    encode(tmp_path / "b.mp4", [yuv(_bar(2 * k)) for k in range(6)], options={"crf": "4"})
    progressive = VideoReader(tmp_path / "b.mp4")
    assert len(list(progressive)) == 6
    assert not any("deinterlaced" in note for note in progressive.notes)


@pytest.mark.parametrize("woven", [True, False])
def test_fields_of_a_face_that_hardly_moves_are_found(tmp_path, woven):
    """A soft texture that moves by half a pixel a field within a still picture, with noise."""
    rng = np.random.default_rng(0)
    still, face = (gaussian_filter(rng.normal(size=(96, 96)), 1.5) * 150 + 128 for _ in range(2))
    inside = np.hypot(*np.mgrid[-48:48, -48:48]) < 24

    def moment(number: int) -> np.ndarray:
        moved = np.where(inside, shift(face, (0, number / 2), order=1, mode="wrap"), still)
        return (moved + rng.normal(0, 2, moved.shape)).clip(0, 255)

    frames = []
    for k in range(20):
        frames.append(moment(2 * k))
        if woven:
            frames[-1][1::2] = moment(2 * k + 1)[1::2]
    encode(tmp_path / "a.mp4", [yuv(luma) for luma in frames], options={"crf": "16"})
    reader = VideoReader(tmp_path / "a.mp4")
    assert len(list(reader)) == 20
    assert any("deinterlaced" in note for note in reader.notes) == woven


# Frames that are wanted


@pytest.mark.parametrize("kind", ["progressive", "interlaced", "pictures"])
def test_wanted_frames_are_those_of_the_whole_video_and_others_are_not_converted(tmp_path, monkeypatch, kind):
    """Of a section that begins with the video's sixth frame."""
    path, converters = tmp_path / "a.mp4", []
    if kind == "pictures":
        path = _pictures(tmp_path / "take", 24)
    else:
        # Not marked as interlaced: found out after some frames at rest.
        woven = [yuv(_bar(0))] * 20 + [yuv(_woven(k)) for k in range(20)]
        encode(path, woven if kind == "interlaced" else _moving(40))
    reader = VideoReader(VideoSource(path, section=(0.18, 1.5)))
    whole, only = list(reader), {1, 2, 9, 17, 18}
    assert any("deinterlaced" in note for note in reader.notes) == (kind == "interlaced")

    class Kept(FrameConverter):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            converters.append(self)

    monkeypatch.setattr(read, "FrameConverter", Kept)
    found = list(VideoReader(reader.source, only))
    assert [frame.time for frame in found] == [whole[k].time for k in sorted(only)]
    for k, frame in zip(sorted(only), found, strict=True):
        np.testing.assert_array_equal(frame.image, whole[k].image)
    converted = [converter._pushed for converter in converters]
    assert converted == {"progressive": [5], "pictures": []}.get(kind, converted)


def test_frames_are_not_held_by_their_display_matrix(tmp_path):
    """In 4K that were gigabytes: one frame holds the memory of all. A tiny copy of the first may stay."""
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        stream.set_display_rotation(90)
        for k in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((32, 64, 3), k, np.uint8))))
        container.mux(stream.encode(None))
    gc.collect()
    gc.disable()
    try:
        shapes = [frame.image.shape for frame in read_video(tmp_path / "a.mp4")]
        held = [thing for thing in gc.get_objects() if isinstance(thing, av.VideoFrame)]
    finally:
        gc.enable()
    assert shapes == [(64, 32, 3)] * 60
    assert all(thing.width * thing.height < 32 * 64 for thing in held)


# Streams


def test_every_stream_is_described(tmp_path):
    """Small slides come first; which stream shows the face is found out later."""
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, (width, height) in zip(streams, ((32, 24), (96, 64)), strict=True):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for stream in streams:
            grey = np.full((stream.height, stream.width, 3), 90, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    source = VideoSource(tmp_path / "a.mkv")
    assert [one.stream for one in streams_of(source)] == [0, 1]
    assert [(one.width, one.height) for one in probe_streams(source)] == [(32, 24), (96, 64)]
    assert [one.width for one in probe_streams(VideoSource(tmp_path / "a.mkv", stream=1))] == [96]


# Pictures


def _pictures(folder: Path, count: int, name: str = "f_{}.png") -> Path:
    folder.mkdir()
    for k in range(count):
        Image.fromarray(np.full((20, 30, 3), 10 * k, np.uint8)).save(folder / name.format(k))
    return folder


@pytest.mark.parametrize("text", ["f_%04d.png", ".", "../take", "../take.gif"])
def test_every_source_has_a_name(tmp_path, monkeypatch, text):
    """Also a pattern without a folder, as an avatar's own folder is named by it."""
    (tmp_path / "take").mkdir()
    monkeypatch.chdir(tmp_path / "take")
    assert VideoSource(Path(text)).name == "take"


def test_numbers_in_names_need_not_be_ascii(tmp_path):
    names = ["10.png", "2.png", "1²3.png"]
    assert sorted(map(Path, names), key=natural_order) == [Path(n) for n in ("1²3.png", "2.png", "10.png")]


def test_a_folder_or_a_pattern_is_a_video(tmp_path):
    folder = _pictures(tmp_path / "take", 12)
    (folder / "notes.txt").write_text("not a picture")
    reader = VideoReader(folder)
    frames = list(reader)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [10 * k for k in range(12)]
    assert [frame.time for frame in frames] == pytest.approx([k / 25 for k in range(12)])
    assert reader.notes == ["12 pictures read as 25 frames per second, an assumption that --fps replaces"]
    (folder / "f_x.png").write_bytes((folder / "f_0.png").read_bytes())
    pattern = VideoReader(VideoSource(folder / "f_%d.png", fps=10.0))
    assert [frame.time for frame in pattern] == pytest.approx([k / 10 for k in range(12)])
    assert pattern.notes == ["12 pictures read as 10 frames per second"]
    record = probe_video(folder / "f_%d.png")
    assert (record.width, record.height, record.fps, record.num_frames) == (30, 20, 25, 12)
    padded = _pictures(tmp_path / "padded", 3, "{:04}.png")
    assert len(list(read_video(padded / "%04d.png"))) == 3
    with pytest.raises(UserError, match=r"%05d\.png: no picture there"):
        list(read_video(padded / "%05d.png"))


def test_pictures_of_other_sizes_and_turned_photographs(tmp_path):
    folder = _pictures(tmp_path / "take", 2)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a turn by 90 degrees clockwise
    Image.fromarray(picture(64, 32)).save(buffer, "JPEG", exif=exif, quality=95)
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    (photographs / "0.jpg").write_bytes(buffer.getvalue())
    image = next(read_video(photographs)).image
    assert image.shape == (64, 32, 3)
    assert [int(image[y, x].argmax()) for y, x in ((8, 8), (8, 24))] == [2, 0]
    (folder / "f_9.jpg").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match=r"f_9\.jpg: is 32x64, f_0\.png is 30x20"):
        next(read_video(folder))


@pytest.mark.parametrize("kind", ["P", "RGB", "LA"])
def test_transparency_of_pictures_of_all_kinds_is_the_matte(tmp_path, kind):
    """A white disc on transparent ground: by a palette with a transparent entry, by a colour, by alpha."""
    disc = np.hypot(*np.mgrid[-10:10, -15:15]) < 8
    grey = Image.fromarray(np.where(disc, np.uint8(255), np.uint8(0)))
    if kind == "LA":
        grey.putalpha(grey.copy())
        grey.save(tmp_path / "0.png")
    else:
        colour = {"P": 0, "RGB": (0, 0, 0)}[kind]
        grey.convert(kind).save(tmp_path / "0.png", transparency=colour)
    frame = next(read_video(tmp_path))
    np.testing.assert_array_equal(frame.alpha, np.where(disc, 255, 0))
    assert (frame.image[disc] == 255).all()


def test_pictures_of_another_colour_space_are_as_viewers_show_them(tmp_path):
    """Red and blue are swapped by a profile: one that Pillow makes of sRGB, with their primaries swapped."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = {bytes(profile[k : k + 4]): k for k in range(132, 132 + 12 * profile[131], 12)}
    for key in (b"rXYZ", b"bXYZ"):
        place = entries[key]
        profile[place : place + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}[key]
    image = np.full((20, 30, 4), (200, 120, 40, 255), np.uint8)
    image[:, 20:, 3] = 0
    Image.fromarray(image).save(tmp_path / "0.png", icc_profile=bytes(profile))
    Image.fromarray(image).save(tmp_path / "1.png", icc_profile=b"damaged")
    swapped, plain = read_video(tmp_path)
    np.testing.assert_allclose(swapped.image[:, :20], np.full((20, 20, 3), (40, 120, 200)), atol=1)
    np.testing.assert_array_equal(plain.image, image[..., :3])
    for frame in (swapped, plain):
        np.testing.assert_array_equal(frame.alpha, image[..., 3])


def test_damaged_pictures_leave_gaps_and_above_a_tenth_are_refused(tmp_path):
    """The first is empty, the fourth cut short."""
    folder = _pictures(tmp_path / "take", 20)
    files = sorted(folder.iterdir(), key=natural_order)
    files[0].write_bytes(b"")
    files[3].write_bytes(files[3].read_bytes()[:-40])
    reader = VideoReader(VideoSource(folder, fps=10.0))
    kept = [k for k in range(20) if k not in (0, 3)]
    assert [round(frame.time * 10) + 1 for frame in reader] == kept
    assert "2 of 20 pictures are damaged and left out: at 0.00 s, 0.30 s" in reader.notes
    clip = VideoReader(VideoSource(folder, fps=10.0, section=(0.35, 1.25)))
    assert [round(frame.time * 10) for frame in clip] == list(range(9))
    assert not any("damaged" in note for note in clip.notes)
    files[19].write_bytes(files[19].read_bytes()[:-40])
    with pytest.raises(UserError, match=r"f_0\.png: not an image that can be read"):
        list(read_video(folder))


def test_transparent_corners_are_no_matte(tmp_path):
    image = np.full((40, 60, 4), 255, np.uint8)
    image[:3, :3, 3] = 0
    folder = tmp_path / "take"
    folder.mkdir()
    Image.fromarray(image).save(folder / "0.png")
    reader = VideoReader(folder)
    list(reader)
    assert not reader.transparent


def test_a_picture_of_16_bits_is_refused_before_those_in_front_of_it_are_read(tmp_path):
    folder = _pictures(tmp_path / "take", 3)
    Image.fromarray(np.zeros((20, 30), np.uint16)).save(folder / "f_9.png")
    with pytest.raises(UserError, match=r"f_9\.png: has pixels of type I;16"):
        next(read_video(folder))


def test_a_gif_keeps_its_times(tmp_path):
    frames = [Image.fromarray(np.full((20, 30, 3), 50 * k, np.uint8)) for k in range(4)]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[40, 80, 40, 40])
    read = list(read_video(path))
    assert [round(frame.time * 100) for frame in read] == [0, 4, 12, 16]
    assert [round(int(frame.image[5, 5, 0]) / 50) for frame in read] == [0, 1, 2, 3]
    assert [f.time for f in read_video(VideoSource(path, fps=10.0))] == pytest.approx([0, 0.1, 0.2, 0.3])


# Streams


def test_a_stream_is_chosen_and_a_cover_picture_never(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
        for k in range(3):
            for stream, luma in zip(streams, (60, 180), strict=True):
                frame = yuv(np.full((32, 32), luma))
                frame.pts = k
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    first, second = (next(read_video(VideoSource(path, stream=k))).image.mean() for k in (0, 1))
    assert first < 80 < 170 < second
    assert next(read_video(path)).image.mean() == first
    assert probe_video(path).num_frames == 3
    cover = tmp_path / "b.mp4"
    with av.open(str(cover), "w") as container:
        art = container.add_stream("png")
        art.width = art.height = 64
        art.pix_fmt = "rgb24"
        art.disposition = av.stream.Disposition.attached_pic
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        container.start_encoding()
        container.mux(art.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        for k in range(3):
            frame = yuv(np.full((32, 32), 180))
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert next(read_video(cover)).image.shape == (32, 32, 3)
    assert len(list(read_video(cover))) == 3
