"""What a user names becomes a driver, or one line that says why not."""

import copy
import math
import os
import re
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
import yaml

from partnerface.animation import open_driver as opening
from partnerface.animation.open_driver import DrivingOptions, open_driver
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.errors import UserError
from partnerface.files.video_reading.read import streams_of
from partnerface.files.video_reading.source import VideoSource, video_source
from partnerface.files.videos import write_video
from partnerface.head_models import expression_map
from partnerface.head_models.ict_facekit import IctFaceKitHead
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.stages import LANDMARKS_FILE
from tests.avatar.test_avatar import make_avatar
from tests.contracts.subjects import tracked_sequence
from tests.data.drivers.test_live_link_face import values, write
from tests.files.test_film_encodings import film_with_sound, noise


@pytest.fixture(scope="module")
def avatar(synthetic_dataset):
    made = make_avatar()
    made.adapt_to(SyntheticReader(synthetic_dataset, frames=24, size=32).read())
    return made.eval()


@pytest.fixture
def tracker(monkeypatch, tmp_path, synthetic_dataset):
    """In place of minutes of tracking: the synthetic dataset, as of a film's last video stream, and a cache
    of its own. Lists its calls.
    """
    calls = []

    def track(video, out, **settings):
        calls.append((video, out))
        if not out.exists():
            shutil.copytree(synthetic_dataset, out)
            nothing = np.zeros(1, np.float32)
            track = LandmarkTrack(
                *(np.zeros((1, 478, 3)), np.zeros((1, 0)), [], np.zeros((1, 4, 4)), np.zeros(1, bool)),
                *(nothing, nothing, nothing, 25.0, 16, 16, "", "VIDEO"),
                stream=streams_of(video_source(video))[-1].stream,
            )
            track.save(out / LANDMARKS_FILE)
        return PartnerfaceReader(out).read()

    monkeypatch.setattr(opening, "track_video", track)
    monkeypatch.setattr(opening, "cache_folder", lambda: tmp_path / "cache")
    return calls


def film(path: Path, colour: int) -> Path:
    write_video(path, [np.full((16, 16, 3), colour, np.uint8)] * 3, 25)
    return path


@pytest.mark.parametrize("text", ["talk", "range_of_motion", "idle"])
def test_a_motion_by_name(avatar, text, capsys):
    driver = open_driver(text, avatar, DrivingOptions(seconds=2.0))
    assert (len(driver), driver.fps, driver.sound) == (50, 25.0, None)
    said = capsys.readouterr().out
    assert f"{text}: 50 frames at 25 per second" in said
    assert "neutral expression" in said


def test_the_avatars_own_frames_by_the_runs_folder(trained_run, synthetic_dataset):
    from partnerface import load_avatar

    avatar = load_avatar(trained_run / "checkpoints" / "last.ckpt")
    options = DrivingOptions(pose="absolute", range=math.inf, torso="tracked", keep_distance=False)
    lines = []
    own = open_driver("own", avatar, options, run=trained_run, say=lines.append)
    assert any("own person" in line for line in lines)
    other = open_driver(str(synthetic_dataset), avatar, options, say=lines.append)
    again = open_driver(str(trained_run), avatar, options, say=lines.append)
    head = SyntheticReader(synthetic_dataset, frames=24, size=32).read().head
    for driver in (own, other, again):
        torch.testing.assert_close(driver.views.head.expression, head.expression, atol=1e-6, rtol=0)
        torch.testing.assert_close(driver.views.head.rotation, head.rotation, atol=1e-5, rtol=0)


def test_the_dataset_inside_a_run_is_found_wherever_the_run_lies(
    avatar, trained_run, synthetic_dataset, tmp_path, monkeypatch
):
    """As `create` makes it; another dataset at the path of the training is not taken in its place."""
    run, root = tmp_path / "moved", Path("avatars") / "me" / "dataset"
    shutil.copytree(synthetic_dataset, run / "dataset")
    config = yaml.safe_load((trained_run / "config.yaml").read_text())
    config["data"]["reader"]["init_args"]["root"] = str(root)
    config["run_dir"] = str(root.parent)
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / root).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert len(open_driver("own", avatar, run=run, say=lambda line: None)) == 24
    # One that never lay in the run is where it was, whatever the run holds.
    shutil.copytree(synthetic_dataset, tmp_path / "elsewhere" / "dataset")
    shutil.rmtree(run / "dataset")
    (run / "dataset").mkdir()
    config["data"]["reader"]["init_args"]["root"] = "elsewhere/dataset"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert len(open_driver("own", avatar, run=run, say=lambda line: None)) == 24


def test_the_dataset_of_a_run_is_found_from_another_working_directory(
    synthetic_dataset, avatar, tmp_path, monkeypatch
):
    """Both paths of its configuration are relative to the directory in which it was trained."""
    project, run = tmp_path / "project", tmp_path / "project" / "runs" / "t"
    run.mkdir(parents=True)
    shutil.copytree(synthetic_dataset, project / "ds" / "a")
    reader = {"init_args": {"root": "ds/a", "head_model": None}}
    (run / "config.yaml").write_text(yaml.safe_dump({"data": {"reader": reader}, "run_dir": "runs/t"}))
    monkeypatch.chdir(project)
    assert len(open_driver("runs/t", avatar, say=lambda line: None)) == 24
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(open_driver("own", avatar, run=Path("../project/runs/t"), say=lambda line: None)) == 24
    # The configuration names the run in one way and its dataset in another.
    inside = tmp_path / "project" / "whole"
    shutil.copytree(synthetic_dataset, inside / "dataset")
    named = {"data": {"reader": {"init_args": {"root": "whole/dataset"}}}, "run_dir": str(inside)}
    (inside / "config.yaml").write_text(yaml.safe_dump(named))
    assert len(open_driver(str(inside), avatar, say=lambda line: None)) == 24
    run.rename(tmp_path / "moved")
    with pytest.raises(UserError, match="relative to the folder in which training ran; give the dataset's"):
        open_driver("../moved", avatar, say=lambda line: None)


@pytest.mark.parametrize(
    ("text", "option", "words"),
    [
        ("{tmp}/clip.mp4", {"seconds": 5.0}, "--seconds: is for a built-in motion; the driver is a video"),
        ("{tmp}/clip.mp4", {"fps": 30.0}, "--fps: is for a Live Link Face file or a table"),
        ("{tmp}/t.npy", {"angles": "degrees"}, "--angles: is for a Live Link Face file"),
        ("talk", {"flip": "yaw"}, "--flip: is for a Live Link Face file; the driver is a built-in motion"),
        ("{tmp}", {"seed": 1}, "the driver is a dataset"),
        ("talk", {"clip": "0:3"}, "--clip: is for a video; the driver is a built-in motion"),
    ],
)
def test_an_option_that_a_driver_does_not_read_is_refused(avatar, tracker, tmp_path, text, option, words):
    film(tmp_path / "clip.mp4", 50)
    np.save(tmp_path / "t.npy", np.zeros((7, 52), np.float32))
    with pytest.raises(UserError) as refused:
        open_driver(text.replace("{tmp}", str(tmp_path)), avatar, DrivingOptions(**option))
    assert words in str(refused.value)
    assert tracker == []


def test_shoulders_of_another_person_are_not_shown(avatar, tracker, tmp_path):
    """The tracked dataset is that of the avatar, with another identity."""
    options = DrivingOptions(pose="absolute", torso="tracked")
    open_driver(str(film(tmp_path / "clip.mp4", 50)), avatar, options, say=lambda line: None)
    stranger = copy.deepcopy(avatar)
    stranger.identity += 0.1
    with pytest.raises(UserError, match=r"clip\.mp4 is not the avatar's own video"):
        open_driver(str(tmp_path / "clip.mp4"), stranger, options, say=lambda line: None)


def test_a_video_is_tracked_once_into_a_cache_by_its_content(avatar, tracker, tmp_path):
    video, lines = film(tmp_path / "clip.mp4", 50), []
    driver = open_driver(str(video), avatar, say=lines.append)
    assert (len(driver), driver.fps, driver.sound) == (24, 25.0, None)
    [(tracked, folder)] = tracker
    assert tracked == VideoSource(video)
    assert any(str(folder) in line for line in lines)
    assert driver.performance.name == "clip.mp4"
    copied = Path(shutil.copy(video, tmp_path / "copy.mp4"))
    open_driver(str(copied), avatar, say=lines.append)
    open_driver(str(film(tmp_path / "other.mp4", 90)), avatar, say=lines.append)
    folders = [out for _, out in tracker]
    assert folders[1] == folders[0]
    assert folders[2] != folders[0]


def test_a_video_keeps_all_its_frames_and_their_pace(avatar, tmp_path, monkeypatch, synthetic_dataset):
    """A stall of 8 frames after the tenth: what follows comes as much later as it did in the video."""
    sequence = PartnerfaceReader(synthetic_dataset).read()
    sequence.times = torch.arange(len(sequence), dtype=torch.float64) / sequence.fps
    sequence.times[10:] += 8 / sequence.fps
    asked = []

    def track(video, out, **settings):
        asked.append(settings["max_frames"])
        return sequence

    monkeypatch.setattr(opening, "track_video", track)
    monkeypatch.setattr(opening, "cache_folder", lambda: tmp_path / "cache")
    driver = open_driver(str(film(tmp_path / "clip.mp4", 50)), avatar, say=lambda line: None)
    assert len(driver) == len(sequence) + 8
    assert asked[0] > 100_000
    expression = driver.performance.expression + driver.performance.neutral
    torch.testing.assert_close(expression[18:], sequence.head.expression[10:], atol=1e-5, rtol=0)
    middle = (5 * sequence.head.expression[9] + 4 * sequence.head.expression[10]) / 9
    torch.testing.assert_close(expression[13], middle, atol=1e-5, rtol=0)
    sequence.times = torch.arange(len(sequence), dtype=torch.float64) / sequence.fps + 0.01
    sequence.times[0] = 0
    assert len(open_driver(str(tmp_path / "clip.mp4"), avatar, say=lambda line: None)) == len(sequence)


def test_a_videos_sound_comes_along(avatar, tracker, tmp_path):
    """A second of a tone beside pictures, and a file of the tone alone, which is no video."""
    video, tone = tmp_path / "clip.mkv", tmp_path / "tone.mkv"
    for path, pictures in ((video, 25), (tone, 0)):
        with av.open(path, "w") as container:
            stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
            if pictures:
                shown = container.add_stream("libx264", rate=25, width=16, height=16, pix_fmt="yuv420p")
                grey = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 90, np.uint8), format="rgb24")
                for _ in range(pictures):
                    container.mux(shown.encode(grey))
                container.mux(shown.encode(None))
            wave = (1e4 * np.sin(np.arange(8000)[None] / 3)).astype(np.int16)
            samples = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            samples.sample_rate = 8000
            container.mux(stream.encode(samples))
            container.mux(stream.encode(None))
    assert open_driver(str(video), avatar, say=lambda line: None).sound == video
    with pytest.raises(UserError, match="has no video stream"):
        open_driver(str(tone), avatar, say=lambda line: None)


def test_a_section_of_a_video_is_tracked_alone_and_its_sound_begins_there(avatar, tracker, tmp_path):
    video = tmp_path / "clip.mkv"
    film_with_sound(video, noise(2.0), "flac", Fraction(25))
    quiet = {"say": lambda line: None}
    driver = open_driver(str(video), avatar, DrivingOptions(clip="0.5:"), **quiet)
    assert (driver.sound, driver.sound_start) == (video, pytest.approx(0.52, abs=1e-3))
    assert open_driver(str(video), avatar, **quiet).sound_start == 0
    [(section, folder), (whole, other)] = tracker
    assert (section.section, whole.section) == ((0.5, math.inf), None)
    assert folder != other
    for clip, words in (("9:10", "no frames within --clip 9:10"), ("5", "--clip 5: give the first and the")):
        with pytest.raises(UserError, match=words):
            open_driver(str(video), avatar, DrivingOptions(clip=clip), **quiet)


def test_the_sound_of_a_section_begins_with_the_stream_of_the_face(avatar, tracker, tmp_path):
    """Slides, one a second, come before the camera's stream: within 0.5 s the first of them is at 1 s."""
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        streams = [container.add_stream("libx264", rate=rate) for rate in (1, 25)]
        for stream in streams:
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
        for stream, count in zip(streams, (3, 50), strict=True):
            for _ in range(count):
                picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    options = DrivingOptions(clip="0.5:")
    driver = open_driver(str(tmp_path / "a.mkv"), avatar, options, say=lambda line: None)
    assert driver.sound_start == pytest.approx(0.52, abs=2e-3)


def test_a_recording_and_a_table_by_their_suffix(avatar, tmp_path):
    path = write(tmp_path / "Take.CSV", values(80))
    assert open_driver(str(path), avatar, DrivingOptions(fps=30), say=print).fps == 30
    np.save(tmp_path / "t.npy", np.zeros((7, 52), np.float32))
    (tmp_path / "t.npy").rename(tmp_path / "T.NPY")
    driver = open_driver(str(tmp_path / "T.NPY"), avatar)
    assert len(driver) == 7
    neutral = avatar.default_view().head.expression
    torch.testing.assert_close(driver.views.head.expression, neutral.expand(7, -1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dance", "no such file or folder, nor own or a motion (range_of_motion, talk, idle)"),
        ("gone.mp4", "gone.mp4: no such file"),
        ("own", "only a run folder names its dataset"),
        ("{tmp}/empty", "is no dataset of a known format"),
        ("{tmp}/pipe", "not a file"),
        ("{tmp}/notes.txt", "not a video that can be read"),
        ("{tmp}/none.mp4", "not a video that can be read"),
    ],
)
def test_what_is_no_driver_is_said_in_one_line(avatar, tmp_path, text, words, monkeypatch):
    monkeypatch.setattr(opening, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "none.mp4").touch()
    with pytest.raises(UserError) as refused:
        open_driver(text.replace("{tmp}", str(tmp_path)), avatar, say=lambda line: None)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "cache").exists()


def test_wrong_options_are_refused_before_anything_is_read(avatar, tracker, tmp_path):
    video = film(tmp_path / "clip.mp4", 50)
    for wrong in ({"pose": "up"}, {"range": -1.0}, {"torso": "gone"}):
        with pytest.raises(UserError, match=f"--{next(iter(wrong))}"):
            open_driver(str(video), avatar, DrivingOptions(**wrong))
    assert tracker == []


def test_a_dataset_of_another_head_model_is_carried_over(avatar, tmp_path, monkeypatch):
    """Its error is said; FLAME's file has to be given."""
    sequence, lines = tracked_sequence(IctFaceKitHead(), 6), []
    monkeypatch.setattr(opening, "AutoReader", lambda *_: SimpleNamespace(read=lambda: sequence))
    monkeypatch.setattr(expression_map, "cache_folder", lambda: tmp_path / "cache")
    driver = open_driver(str(tmp_path), avatar, say=lines.append)
    assert len(driver) == 6
    assert driver.views.head.expression.shape[1] == avatar.head_model.num_expression
    [note] = [line for line in lines if "carried over" in line]
    assert re.search(r"ict_facekit carried over to anny: \d\.\d\d of \d+\.\d\d mm", note)
    sequence = replace(sequence, head_model_record=replace(sequence.head_model_record, name="flame"))
    with pytest.raises(UserError, match="tracked with FLAME; give its file as --head_model FILE"):
        open_driver(str(tmp_path), avatar, say=lines.append)
