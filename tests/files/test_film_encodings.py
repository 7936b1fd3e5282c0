"""What is decoded by PyAV alone, against what was written: colours, transparency, times and sound."""

import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.signal import correlate

from partnerface.errors import UserError
from partnerface.files.containers import Sound, has_sound_track
from partnerface.files.video_reading.read import probe_video, read_video
from partnerface.files.videos import frame_rate, write_video

RATE = 48000
ALPHA_DECODERS = {".webm": "libvpx-vp9", ".mov": None}


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """``[N]`` in [-1, 1]: a sound that is like itself at one place only, below 6 kHz."""
    drawn = np.random.default_rng(seed).normal(size=round(seconds * RATE) + 15)
    return np.convolve(drawn, np.ones(16) / 16, "valid").astype(np.float32) * 0.5


def film_with_sound(
    path: Path,
    sound: np.ndarray,
    codec: str,
    rate: Fraction,
    sound_starts: float = 0.0,
    first: int = 0,
    group: int | None = None,
) -> None:
    """A black video of the sound's length.

    ``first`` is the number of the time stamp of its first picture, ``group`` the length of its groups of
    pictures.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        if group is not None:
            video.options = {"g": str(group), "bf": "0", "x264-params": "scenecut=0"}
        audio = container.add_stream(codec, rate=RATE, layout="mono")
        for number in range(round(len(sound) / RATE * rate)):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            picture.pts, picture.time_base = number + first, 1 / rate
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        for start in range(0, len(sound), RATE):
            piece = av.AudioFrame.from_ndarray(sound[None, start : start + RATE], "fltp", "mono")
            piece.sample_rate, piece.time_base = RATE, Fraction(1, RATE)
            piece.pts = start + round(sound_starts * RATE)
            container.mux(audio.encode(piece))
        container.mux(audio.encode(None))


def heard(path: Path) -> tuple[np.ndarray, float]:
    """Sound of a file ``[N]`` on the clock of its pictures, and the seconds of its last sample.

    Where a container's clock counts in milliseconds, samples follow each other all the same.
    """
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        origin = (video.start_time or 0) * video.time_base
        samples, end, following = np.zeros(RATE * 100, np.float32), 0.0, -RATE
        resampler = av.AudioResampler("fltp", "mono", RATE)
        for frame in container.decode(audio):
            for piece in resampler.resample(frame):
                stamped = round((piece.pts * piece.time_base - origin) * RATE)
                place = following if abs(stamped - following) < 100 else stamped
                following = place + piece.samples
                values = piece.to_ndarray()[0][max(-place, 0) :]
                samples[max(place, 0) : max(place, 0) + len(values)] = values
                end = max(end, (place + piece.samples) / RATE)
    return samples, end


def lag_of(found: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """Seconds by which a piece of ``found`` comes after ``wanted``, and their correlation there."""
    found = found[: len(wanted)]
    product = correlate(found, wanted, method="fft")
    lag = int(product.argmax()) - (len(wanted) - 1)
    strength = product.max() / (np.linalg.norm(found) * np.linalg.norm(wanted))
    return lag / RATE, float(strength)


def times_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov"])
def test_a_comment_is_kept(tmp_path: Path, suffix: str) -> None:
    path, text = tmp_path / f"a{suffix}", "../läufe/last.ckpt, step 6"
    write_video(path, [np.zeros((32, 32, 3), np.uint8)] * 3, 25, comment=text)
    with av.open(str(path)) as container:
        assert {key.lower(): value for key, value in container.metadata.items()}["comment"] == text


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".webm", ".mov"])
def test_a_minute_at_29_97_is_as_long_as_it_was(tmp_path: Path, suffix: str) -> None:
    path, count, rate = tmp_path / f"a{suffix}", 1798, Fraction(30000, 1001)
    sound, source = noise(60.5), tmp_path / "source.mp4"
    film_with_sound(source, sound, "aac", rate)
    grey = np.full((32, 32, 3), 90, np.uint8)
    write_video(path, (grey for _ in range(count)), 29.97, Sound(source, seconds=float(count / rate)))
    times = times_of(path)
    assert len(times) == count
    # A container's clock may count in milliseconds.
    wanted = [times[0] + number / rate for number in range(count)]
    assert max(abs(a - b) for a, b in zip(times, wanted, strict=True)) <= Fraction(1, 1000)
    samples, end = heard(path)
    assert abs(end - float(count / rate)) < 0.5 / float(rate) + 1e-3
    # In step at the beginning and at the end.
    for start in (0, 55 * RATE):
        lag, strength = lag_of(samples[start : start + 4 * RATE], sound[start : start + 4 * RATE])
        assert abs(lag) < 2e-3
        assert strength > 0.9


def test_rates_that_are_fractions_stay_what_they_are() -> None:
    assert [frame_rate(fps) for fps in (23.976, 23.98, 29.97, 59.94, 30000 / 1001)] == [
        Fraction(nominal * 1000, 1001) for nominal in (24, 24, 30, 60, 30)
    ]
    assert [frame_rate(fps) for fps in (5, 12.5, 24, 25, 29.9, 30, 1 / 3, 47.952)] == [
        *(5, Fraction(25, 2), 24, 25, Fraction(299, 10), 30, Fraction(1, 3), Fraction(48000, 1001))
    ]
    assert frame_rate(Fraction(2997, 100)) == Fraction(2997, 100)


@pytest.mark.parametrize(
    ("source_suffix", "codec", "suffix", "copied"),
    [
        *((".mp4", "aac", ".mp4", True), (".mp4", "aac", ".webm", False)),
        *((".mkv", "libopus", ".webm", True), (".mkv", "flac", ".mov", False)),
    ],
)
@pytest.mark.parametrize(
    ("start", "late", "first"), [(0.0, 0.0, 0), (1.2, 0.0, 0), (0.0, 0.4, 5), (1.0, 0.3, 7)]
)
def test_sound_stays_in_step(tmp_path, source_suffix, codec, suffix, copied, start, late, first) -> None:
    """Cut at the start, beginning late, in a source whose first picture does not come at time zero."""
    source, path, sound = tmp_path / f"s{source_suffix}", tmp_path / f"a{suffix}", noise(4.0)
    film_with_sound(source, sound, codec, Fraction(25), late, first)
    frames = [np.zeros((32, 32, 3), np.uint8)] * 50
    write_video(path, frames, 25, Sound(source, start, 2.0))
    # Sample n of the sound belongs to this second after the first of the pictures that are shown.
    origin = late - first / 25 - start
    samples, end = heard(path)
    begin = max(origin, 0.0) + 0.1
    wanted = sound[round((begin - origin) * RATE) :][:RATE]
    lag, strength = lag_of(samples[round(begin * RATE) :], wanted)
    assert abs(lag) < 2e-3, lag
    assert strength > 0.9
    assert abs(end - 2.0) < 0.5 / 25 + 1e-3
    with av.open(str(path)) as written, av.open(str(source)) as original:
        same = written.streams.audio[0].codec_context.name == original.streams.audio[0].codec_context.name
        if copied and start == 0:
            packets = [
                {bytes(p) for p in container.demux(container.streams.audio[0]) if p.size}
                for container in (written, original)
            ]
            assert packets[0] <= packets[1]
        else:
            assert same == (codec in ("aac", "libopus") and copied)


@pytest.mark.parametrize("suffix", [".webm", ".mov"])
def test_transparency_is_decoded_as_it_was_written(tmp_path: Path, suffix: str) -> None:
    rows, columns = np.mgrid[:64, :96]
    alpha = np.clip((columns - 16) * 4, 0, 255)
    image = np.stack([rows * 3, 200 - rows, np.full_like(rows, 60), alpha], -1).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    write_video(path, [np.roll(image, 8 * k, 1) for k in range(4)], 25)
    found = list(decoded_with_alpha(path))
    assert len(found) == 4
    for k, picture in enumerate(found):
        wanted = np.roll(image, 8 * k, 1).astype(int)
        assert np.abs(picture[..., 3] - wanted[..., 3]).mean() < 2
        seen = wanted[..., 3] > 64
        assert np.abs(picture[..., :3] - wanted[..., :3])[seen].mean() < 3


def decoded_with_alpha(path: Path) -> Iterator[np.ndarray]:
    """RGBA ``[H, W, 4]`` of every frame; FFmpeg's own VP9 decoder leaves transparency out."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        name = ALPHA_DECODERS[path.suffix]
        codec = stream.codec_context if name is None else av.CodecContext.create(name, "r")
        for packet in container.demux(stream):
            for frame in codec.decode(packet if packet.size else None):
                yield frame.to_ndarray(format="rgba").astype(int)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mov"])
def test_colours_say_which_standard_they_follow(tmp_path: Path, suffix: str) -> None:
    """Unlabelled, a player takes small pictures for BT.601 and large ones for BT.709."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128), (230, 170, 140), (255, 255, 255)]
    image = np.repeat(np.repeat(np.array(colours, np.uint8)[None], 16, 1), 32, 0)
    write_video(tmp_path / f"a{suffix}", [image] * 3, 25)
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        frame = next(container.decode(video=0))
        y, u, v = (plane.astype(float) for plane in planes(frame))
    scale = 2.0 ** (frame.format.components[0].bits - 8)
    half = y.shape[1] // u.shape[1]
    for place, colour in enumerate(colours):
        x = 16 * place + 8
        found = [y[16, x] / scale, u[16 // half, x // half] / scale, v[16 // half, x // half] / scale]
        assert np.abs(np.array(found) - bt709(*colour)).max() < 4, colour
    assert frame.colorspace == 1


def planes(frame: av.VideoFrame) -> list[np.ndarray]:
    kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
    found = []
    for plane in list(frame.planes)[:3]:
        rows = np.frombuffer(bytes(plane), kind).reshape(plane.height, -1)
        found.append(rows[:, : plane.width])
    return found


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_sound_stays_in_step_with_a_video_that_begins_within_a_group_of_pictures(tmp_path, suffix) -> None:
    """Its first 16 pictures cannot be decoded, so that what a reader has begins 0.8 s into the sound."""
    source, path, sound = tmp_path / "s.ts", tmp_path / f"a{suffix}", noise(4.0)
    film_with_sound(source, sound, "aac", Fraction(25), group=20)
    with av.open(str(source)) as container:
        fifth = [packet.pos for packet in container.demux(video=0) if packet.size][4]
    source.write_bytes(source.read_bytes()[fifth // 188 * 188 :])
    assert sum(1 for _ in read_video(source)) == 80
    write_video(path, [np.zeros((32, 32, 3), np.uint8)] * 50, 25, Sound(source, 0.0, 2.0))
    samples, _ = heard(path)
    lag, strength = lag_of(samples[RATE // 4 :], sound[round(1.05 * RATE) :][:RATE])
    assert abs(lag) < 2e-3, lag
    assert strength > 0.9


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".ts"])
@pytest.mark.parametrize("rate", [192_000, 6_000])
def test_sound_of_a_rate_that_the_encoder_lacks_is_resampled(tmp_path: Path, suffix: str, rate: int) -> None:
    source, path, tone = tmp_path / "s.wav", tmp_path / f"a{suffix}", 440
    sine = 0.5 * np.sin(2 * np.pi * tone * np.arange(2 * rate) / rate)
    with wave.open(str(source), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((32767 * sine).astype("<i2").tobytes())
    write_video(path, [np.zeros((32, 32, 3), np.uint8)] * 25, 25, Sound(source, 0.0, 1.0))
    samples, end = heard(path)
    assert abs(end - 1.0) < 0.05
    spectrum = np.abs(np.fft.rfft(samples[RATE // 4 : 3 * RATE // 4] * np.hanning(RATE // 2)))
    assert abs(2 * int(spectrum.argmax()) - tone) <= 2


def bt709(red: float, green: float, blue: float) -> list[float]:
    """Limited range luma and chroma, by the standard's formulas."""
    r, g, b = red / 255, green / 255, blue / 255
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    return [16 + 219 * luma, 128 + 224 * (b - luma) / 1.8556, 128 + 224 * (r - luma) / 1.5748]


def test_what_cannot_be_written_or_heard(tmp_path: Path) -> None:
    clear = np.zeros((32, 32, 4), np.uint8)
    with pytest.raises(ValueError, match="no transparency"):
        write_video(tmp_path / "a.mp4", [clear], 25)
    (tmp_path / "text.wav").write_text("no sound " * 100)
    with pytest.raises(UserError, match=r"text\.wav: not a sound"):
        write_video(tmp_path / "a.mp4", [clear[..., :3]], 25, Sound(tmp_path / "text.wav"))
    with pytest.raises(UserError, match=r"missing\.wav: no such sound"):
        has_sound_track(tmp_path / "missing.wav")
    write_video(tmp_path / "silent.mp4", [clear[..., :3]] * 4, 25)
    assert not has_sound_track(tmp_path / "silent.mp4")
    write_video(tmp_path / "b.mp4", [clear[..., :3]] * 4, 25, Sound(tmp_path / "silent.mp4"))
    assert probe_video(tmp_path / "b.mp4").num_frames == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.mp4", "silent.mp4", "text.wav"]


def test_damaged_sound_gives_one_line(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    film_with_sound(source, noise(3.0), "aac", Fraction(25))
    data = bytearray(source.read_bytes())
    start = data.index(b"mdat") + 8
    data[start : start + 20000] = bytes(np.random.default_rng(0).integers(0, 256, 20000, dtype=np.uint8))
    source.write_bytes(data)
    frames = [np.zeros((32, 32, 3), np.uint8)] * 50
    with pytest.raises(UserError, match=r"source\.mp4: its sound is damaged .*--sound false"):
        write_video(tmp_path / "a.webm", frames, 25, Sound(source, 0.0, 2.0))
    assert [p.name for p in tmp_path.iterdir()] == ["source.mp4"]
