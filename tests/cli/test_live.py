"""The command live: bad input is one line; with MediaPipe's model it runs on a rendered clip."""

import time
from pathlib import Path

import numpy as np
import pytest

from partnerface.cli.main import EXIT_BAD_INPUT, main
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.errors import UserError
from partnerface.files.downloads import FACE_LANDMARKER, stored_file
from partnerface.files.live_video import LivePicture
from partnerface.files.video_reading.read import read_video
from partnerface.files.videos import write_video
from partnerface.head_models.anny import AnnyHead


@pytest.fixture(scope="module")
def blank_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    video = tmp_path_factory.mktemp("live") / "blank.mp4"
    write_video(video, [np.full((48, 64, 3), 200, np.uint8)] * 6, 12)
    return video


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "8"], "--size 8: choose 16 to 1024"),
        (["--samples", "1"], "--samples 1: choose 3 or more"),
        (["--smooth", "0"], "--smooth 0.0: give a cutoff above 0 Hz"),
        (["--smooth", "nan"], "smooth: expected float, got nan"),
        (["--beta=-1"], "--beta -1.0: give 0 or more"),
        (["--seconds", "0"], "--seconds 0.0: must be more than 0"),
        (["--out", "clip.gif"], "--out clip.gif: a live performance is written as .mp4"),
        (["--source", "none.mp4"], "none.mp4: no such video file"),
        (["--source", "97"], "camera 97 (/dev/video97): there is none"),
        (["--source", "/dev/video97"], "camera 97 (/dev/video97): there is none"),
        (["--range", "0"], "--range 0: give a number above 0"),
        (["--pose", "sideways"], "pose"),
    ],
)
def test_bad_input_is_one_line(trained_run, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["live", str(trained_run), *arguments]) == EXIT_BAD_INPUT
    error = capsys.readouterr().err.strip().splitlines()
    assert words in error[-1]
    assert error[-1].startswith("partnerface: ")
    assert list(tmp_path.iterdir()) == []


def test_an_avatar_that_is_not_there_is_one_line(tmp_path, blank_video, capsys):
    assert main(["live", str(tmp_path / "nobody"), "--source", str(blank_video)]) == EXIT_BAD_INPUT
    assert "nobody" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["live", "x", "--source", "0"], ["benchmark", "transfer", "--avatar=x", "--performer=talk"]]
)
def test_the_avatar_is_opened_on_the_best_device_with_what_is_trusted(command, monkeypatch, capsys):
    def refuse(*given: object) -> None:
        raise UserError(f"opened {given[0]} trusting {given[1:]}")

    monkeypatch.setattr("partnerface.animation.open_avatar.open_avatar", refuse)
    monkeypatch.setattr(
        "partnerface.files.live_video.camera_pictures", lambda number: (None for _ in range(1))
    )
    assert main([*command, "--trust", "my_package"]) == EXIT_BAD_INPUT
    # No device is named, so that it is the GPU if one is usable.
    assert "opened x trusting ('my_package',)" in capsys.readouterr().err


needs_mediapipe = pytest.mark.skipif(
    stored_file(FACE_LANDMARKER.name) is None,
    reason=f"{FACE_LANDMARKER.name} is neither in the folder PARTNERFACE_ASSETS nor in the cache",
)


@needs_mediapipe
def test_a_video_without_a_face_shows_the_default_view(trained_run, blank_video, tmp_path, capsys):
    out = tmp_path / "shown.mp4"
    arguments = ["--source", str(blank_video), "--size", "32", "--out", str(out), "--side_by_side", "false"]
    assert main(["live", str(trained_run), *arguments]) == 0
    said = capsys.readouterr().out
    assert "without a face" in said
    assert str(out) in said
    frames = [frame.image for frame in read_video(out)]
    assert frames[0].shape == (32, 32, 3)
    assert frames[0].std() > 5


@needs_mediapipe
def test_a_rendered_person_drives_an_avatar(trained_run, tmp_path, capsys):
    renderer = SubjectRenderer(AnnyHead(), subject_named("a"), 40, 128, seed=0)
    video, out = tmp_path / "person.mp4", tmp_path / "shown.mp4"
    write_video(video, [renderer.render(frame).image for frame in range(0, 40, 8)], 5)
    flags = ["--size", "32", "--out", str(out), "--neutral_at", "0.3", "--smooth", "2"]
    assert main(["live", str(trained_run), "--source", str(video), *flags]) == 0
    said = capsys.readouterr().out
    assert "dropped, 0 without a face" in said
    frames = [frame.image for frame in read_video(out)]
    assert frames[0].shape == (32, 64, 3)
    # Shown at 25 frames per second for as long as the performer was seen.
    assert 1 <= len(frames) <= 24


@needs_mediapipe
def test_what_was_recorded_is_kept_when_the_camera_goes_away(
    trained_run, blank_video, tmp_path, capsys, monkeypatch
):
    def pulled_out(path: Path):
        for number in range(4):
            yield LivePicture(np.full((48, 64, 3), 200, np.uint8), 0.2 * number, time.monotonic())
            time.sleep(0.3)
        raise UserError("camera 0: gives no pictures any more")

    monkeypatch.setattr("partnerface.files.live_video.played_pictures", pulled_out)
    out = tmp_path / "shown.mp4"
    flags = ["--source", str(blank_video), "--size", "32", "--out", str(out)]
    assert main(["live", str(trained_run), *flags]) == EXIT_BAD_INPUT
    assert "camera 0: gives no pictures any more" in capsys.readouterr().err
    assert sum(1 for _ in read_video(out)) >= 5
