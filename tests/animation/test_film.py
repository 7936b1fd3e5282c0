"""Films of a tiny avatar: what is written is what is rendered, whatever happens in between."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import partnerface
from partnerface.animation.channels import depth_colours
from partnerface.animation.film import Shots, make_film
from partnerface.animation.film_output import FilmOutput
from partnerface.avatar.method import AvatarMethod
from partnerface.cli.main import main
from partnerface.errors import UserError
from partnerface.files.videos import write_video
from tests.files.test_film_encodings import RATE, film_with_sound, heard, lag_of, noise


@pytest.fixture(scope="module")
def avatar(trained_run: Path) -> AvatarMethod:
    return partnerface.load_avatar(trained_run / "checkpoints" / "last.ckpt")


@pytest.fixture(scope="module")
def film(avatar: AvatarMethod) -> Shots:
    """Six views of a mouth that opens."""
    view = avatar.neutral_view()
    return Shots([view.with_expression(jawOpen=0.1 * k) for k in range(6)], 25.0)


def pictures(folder: Path) -> list[np.ndarray]:
    return [np.array(Image.open(path)) for path in sorted(folder.iterdir())]


def test_a_folder_holds_what_the_avatar_renders(tmp_path: Path, avatar, film) -> None:
    output = FilmOutput.parse(tmp_path / "film", None, "transparent", "rgb,depth,parts,normals")
    written = make_film(avatar, film, output, frames=range(2, 5))
    assert written == [tmp_path / name for name in ("film", "film_depth", "film_parts", "film_normals")]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["film", "film_depth", "film_normals", "film_parts"]
    assert sorted(p.name for p in written[0].iterdir()) == ["00002.png", "00003.png", "00004.png"]
    colours, depths, parts, normals = (pictures(path) for path in written)
    for place, view in enumerate(film.views[2:5]):
        picture = avatar.render(view, with_parts=True)
        found, alpha = colours[place][..., :3] / 255.0, colours[place][..., 3:] / 255.0
        wanted = picture.on_white().permute(1, 2, 0).numpy()
        # Two roundings to 8 bits, of the colour and of the opacity.
        assert np.abs(found * alpha + 1 - alpha - wanted).max() < 1.1 / 255
        assert depths[place].dtype == np.uint16
        assert np.abs(depths[place] / 1000 - picture.depth.numpy()).max() <= 0.0005 + 1e-6
        wanted = (picture.normals.permute(1, 2, 0).numpy() + 1) / 2
        assert np.abs(normals[place] / 255 - wanted).max() < 0.51 / 255
        strongest = picture.part_weights.argmax(-1).numpy()
        seen = picture.part_weights.sum(-1).numpy() > 0.99
        # A part's colour is where that part is strongest.
        assert (
            len({tuple(parts[place][seen & (strongest == k)].mean(0)) for k in np.unique(strongest[seen])})
            > 1
        )
        assert (parts[place][picture.depth.numpy() == 0].mean(-1) > 100).all()


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (64, 96), (48, 32)])
def test_a_wider_picture_shows_the_same_head_and_more(avatar, width: int, height: int) -> None:
    """The middle of a picture of another shape is the picture of the avatar's own shape."""
    view, side = avatar.default_view(), min(width, height)
    wide, own = (
        avatar.render(view.resized(width, height), exact=True),
        avatar.render(view, (side, side), exact=True),
    )
    assert wide.alpha.shape == (height, width)
    left, top = (width - side) // 2, (height - side) // 2
    middle = wide.on_white()[:, top : top + side, left : left + side]
    assert (middle - own.on_white()).abs().max() < 2e-3


def test_sound_starts_with_the_first_frame_that_is_shown(tmp_path: Path, avatar) -> None:
    sound, source = noise(4.0), tmp_path / "source.mp4"
    film_with_sound(source, sound, "aac", Fraction(25))
    film = Shots([avatar.default_view()] * 90, 25.0)
    film.sound, film.sound_start = source, 0.4
    output = FilmOutput.parse(tmp_path / "film.mp4", "16", "white")
    make_film(avatar, film, output, frames=range(40, 80))
    samples, end = heard(tmp_path / "film.mp4")
    lag, strength = lag_of(samples[:RATE], sound[round(2.0 * RATE) :][:RATE])
    assert abs(lag) < 2e-3
    assert strength > 0.9
    assert abs(end - 1.6) < 0.021
    make_film(
        avatar, film, FilmOutput.parse(tmp_path / "still.mp4", "16", "white"), frames=range(2), sound=False
    )
    # A driving video may be silent.
    film.sound = tmp_path / "still.mp4"
    make_film(avatar, film, FilmOutput.parse(tmp_path / "silent.mp4", "16", "white"), frames=range(2))
    for name in ("still.mp4", "silent.mp4"):
        with av.open(str(tmp_path / name)) as container:
            assert not container.streams.audio


def test_the_sound_of_a_file_comes_with_a_driver_that_has_none(tmp_path: Path, avatar) -> None:
    sound, voice = noise(4.0), tmp_path / "voice.flac"
    with av.open(str(voice), "w") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        samples = av.AudioFrame.from_ndarray((32767 * sound[None]).astype(np.int16), "s16", "mono")
        samples.sample_rate = RATE
        container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    film = Shots([avatar.default_view()] * 60, 25.0)
    output = FilmOutput.parse(tmp_path / "film.mp4", "16", "white")
    make_film(avatar, film, output, frames=range(20, 60), sound=voice)
    samples, end = heard(tmp_path / "film.mp4")
    lag, strength = lag_of(samples[:RATE], sound[round(0.8 * RATE) :][:RATE])
    assert abs(lag) < 2e-3
    assert strength > 0.9
    assert abs(end - 1.6) < 0.021


def test_bad_sound_is_refused_before_anything_is_rendered(tmp_path: Path, trained_run: Path, capsys) -> None:
    write_video(tmp_path / "silent.mp4", [np.zeros((16, 16, 3), np.uint8)] * 3, 25)
    for out, sound, words in (
        ("film.mp4", "gone.wav", "gone.wav: no such sound file"),
        ("film.mp4", "silent.mp4", "silent.mp4: has no sound track"),
        ("pictures", "silent.mp4", "silent.mp4: pictures have none"),
    ):
        places = ["--out", str(tmp_path / out), "--sound", str(tmp_path / sound)]
        assert main(["reenact", str(trained_run), "--driver", "talk", *places]) == 2
        assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["silent.mp4"]


@pytest.mark.slow
def test_a_killed_film_continues_and_is_the_same(tmp_path: Path, trained_run: Path, capfd) -> None:
    words = ["reenact", str(trained_run), "--driver", "talk", "--frames", "5:25", "--size", "64"]
    killed, whole = tmp_path / "killed.mp4", tmp_path / "whole.mp4"
    kept = tmp_path / "killed.mp4.frames" / "rgb"
    command = [sys.executable, "-m", "partnerface", *words, "--out", str(killed)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        while len(list(kept.glob("0*.png"))) < 4:
            assert process.poll() is None, "it ended before the moment came"
            time.sleep(0.005)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not killed.exists()
    before = {path.name: path.stat().st_mtime_ns for path in kept.glob("0*.png")}
    assert 4 <= len(before) < 20
    assert main([*words, "--out", str(killed), "--keep_frames"]) == 0
    assert f"{len(before)} of 20 are there already" in capfd.readouterr().err
    after = {path.name: path.stat().st_mtime_ns for path in kept.glob("0*.png")}
    assert len(after) == 20
    assert before.items() <= after.items()
    assert main([*words, "--out", str(whole)]) == 0
    assert killed.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed.mp4", "killed.mp4.frames", "whole.mp4"]


def test_frames_of_other_settings_are_not_mixed_in(tmp_path: Path, avatar, film, capsys) -> None:
    out = tmp_path / "film.mp4"
    make_film(avatar, film, FilmOutput.parse(out, None, "white"), keep_frames=True)
    frames = tmp_path / "film.mp4.frames"
    # More frames of the same film continue it; a driver that differs in one late view does not.
    stale = frames / "rgb" / "00000.png"
    stale.write_bytes(b"")
    make_film(avatar, film, FilmOutput.parse(out, None, "navy"), frames=range(2))
    assert "its frames are of other settings (background); starting anew" in capsys.readouterr().err
    assert not frames.exists()
    changed = Shots([*film.views[:5], film.views[0]], 25.0)
    make_film(avatar, film, FilmOutput.parse(out, None, "white"), keep_frames=True)
    make_film(avatar, changed, FilmOutput.parse(out, None, "white"))
    assert "(driver); starting anew" in capsys.readouterr().err


def test_kept_frames_serve_the_next_folder_of_pictures(tmp_path: Path, avatar, film) -> None:
    """And a call that was stopped after it had given its frames away."""
    out, frames = tmp_path / "film", tmp_path / "film.frames" / "rgb"
    make_film(avatar, film, FilmOutput.parse(out, None, "white"), frames=range(2), keep_frames=True)
    assert len(pictures(out)) == len(pictures(frames)) == 2
    shutil.rmtree(out)
    kept = (frames / "00000.png").stat().st_mtime_ns
    make_film(avatar, film, FilmOutput.parse(out, None, "white"), frames=range(3), keep_frames=True)
    assert len(pictures(out)) == len(pictures(frames)) == 3
    assert (frames / "00000.png").stat().st_mtime_ns == kept
    shutil.rmtree(out)
    shutil.rmtree(frames)
    make_film(avatar, film, FilmOutput.parse(out, None, "white"), frames=range(1))
    assert [path.name for path in tmp_path.iterdir()] == ["film"]


def test_a_film_does_not_replace_what_it_is_made_from(tmp_path: Path) -> None:
    source, picture = tmp_path / "talk.mp4", tmp_path / "wall.png"
    source.write_bytes(b"the only copy")
    Image.new("RGB", (8, 8)).save(picture)
    with pytest.raises(UserError, match=r"talk\.mp4: is read as well"):
        FilmOutput.parse(source, None, "white", driver=str(tmp_path / "." / "talk.mp4"))
    with pytest.raises(UserError, match=r"wall\.png: is read as well"):
        FilmOutput.parse(picture, None, str(picture))
    assert source.read_bytes() == b"the only copy"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, avatar, film) -> None:
    (tmp_path / "film.mp4.frames").mkdir()
    (tmp_path / "film.mp4.frames" / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="holds other files"):
        make_film(avatar, film, FilmOutput.parse(tmp_path / "film.mp4", None, "white"))
    assert (tmp_path / "film.mp4.frames" / "thesis.tex").read_text() == "precious"


@pytest.fixture
def disk_full_after() -> Iterator:
    """A disk that fills up while PNG files are written."""
    with pytest.MonkeyPatch.context() as patch:

        def fill(count: int) -> None:
            original, left = Image.Image.save, [count]

            def save(image, path, *args, **kwargs) -> None:
                left[0] -= 1
                if left[0] < 0:
                    Path(path).write_bytes(b"half")
                    raise OSError(errno.ENOSPC, "No space left on device")
                original(image, path, *args, **kwargs)

            patch.setattr(Image.Image, "save", save)

        fill.undo = patch.undo
        yield fill


def test_a_full_disk_keeps_what_was_done(tmp_path: Path, trained_run: Path, capsys, disk_full_after) -> None:
    words = [
        "reenact",
        str(trained_run),
        "--driver",
        "talk",
        "--frames",
        "0:6",
        "--out",
        str(tmp_path / "a.mp4"),
    ]
    disk_full_after(4)
    assert main(words) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert "No space left on device" in error[-1]
    assert "what was done is kept" in error[-1]
    kept = tmp_path / "a.mp4.frames" / "rgb"
    assert sorted(p.name for p in kept.iterdir()) == [f"0000{k}.png" for k in range(4)]
    disk_full_after.undo()
    assert main(words) == 0
    assert "4 of 6 are there already" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_a_disk_that_is_full_at_the_end_keeps_the_frames(tmp_path: Path, avatar, film, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("partnerface.files.videos._encode", full)
    with pytest.raises(UserError, match=r"No space left on device.*what was done is kept"):
        make_film(avatar, film, FilmOutput.parse(tmp_path / "a.mp4", None, "white"), frames=range(2))
    assert len(list((tmp_path / "a.mp4.frames" / "rgb").iterdir())) == 2
    assert not (tmp_path / "a.mp4").exists()


def test_depth_has_colours_of_its_own_distance(avatar) -> None:
    """Nearer is redder, and a nearer camera changes nothing: colours belong to the head."""
    view = avatar.neutral_view()
    picture = avatar.render(view)
    colours, seen = depth_colours(picture, view).astype(int), picture.depth.numpy() > 0
    assert (colours[~seen] == 0).all()
    depth = picture.depth.numpy()[seen]
    redness = colours[seen][:, 0] - colours[seen][:, 2]
    near, far = redness[depth < np.quantile(depth, 0.1)], redness[depth > np.quantile(depth, 0.9)]
    assert near.mean() > far.mean()
    shifted = torch.where(picture.depth > 0, picture.depth + 0.5, 0.0)
    pose = view.camera.camera_to_world.clone()
    forward = view.head.translation - pose[..., 3]
    pose[..., 3] -= 0.5 * forward / forward.norm()
    farther = type(view.camera)(view.camera.intrinsics, pose, view.camera.width, view.camera.height)
    again = depth_colours(
        type(picture)(picture.rgb, picture.alpha, shifted), type(view)(farther, view.head, view.torso_motion)
    )
    assert np.abs(again.astype(int) - colours).max() <= 4
