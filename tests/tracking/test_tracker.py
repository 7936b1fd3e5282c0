"""The tracker as a whole, with a detector of its own; MediaPipe runs where its files are."""

import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partnerface.data.regions import Region
from partnerface.data.sequence import check_head_model
from partnerface.errors import UserError
from partnerface.files.downloads import ASSETS_VARIABLE
from partnerface.files.images import read_grey, write_image
from partnerface.files.video_reading.read import VideoReader, read_video
from partnerface.files.video_reading.source import VideoSource
from partnerface.files.videos import write_video
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.ict_facekit import IctFaceKitHead
from partnerface.tracking import clip, tracker
from partnerface.tracking.fit.head_fit import FitSettings
from partnerface.tracking.tracker import track_video
from tests.head_models.flame_files import embedded, flame_arrays, flame_head_arrays

SHARED = Path(__file__).parents[3] / "shared"
QUICK = FitSettings(pose_steps=30, steps=60)


@pytest.fixture
def video(tmp_path, synthetic_track):
    """A slowly brightening ramp, as long as the synthetic track."""
    path = tmp_path / "clip.mp4"
    ramp = np.linspace(0, 200, 256)[:, None, None] + np.zeros((1, 256, 3))
    write_video(path, [(ramp + 2 * i).astype(np.uint8) for i in range(14)], 5)
    return path


@dataclass
class SyntheticDetector:
    """Landmarks of the synthetic head, whatever the video shows; the seventh frame of a long one is lost."""

    make: Callable
    model_sha256: str = "synthetic"
    calls: list[int] = field(default_factory=list)

    def detect(self, video, on_frame):
        count = sum(1 for _ in read_video(video))
        self.calls.append(count)
        return self.make(count, lost=(6,) if count > 10 else ()).track


class BorderMatting:
    """All but a border is the person."""

    model_sha256 = "border"
    coarse = False

    def mattes(self, frames):
        for frame in frames:
            matte = np.zeros(frame.shape[:2], np.uint8)
            matte[30:, 40:-40] = 255
            yield matte


@pytest.fixture
def detector(synthetic_track):
    return SyntheticDetector(synthetic_track)


@pytest.fixture
def track(detector):
    """`track_video` without MediaPipe, small, and with a short fit."""
    return partial(
        track_video,
        size=128,
        settings=QUICK,
        say=lambda _: None,
        detector=detector,
        matting=BorderMatting(),
    )


def leftovers(folder):
    """Names, those of stages without the key in them."""
    return sorted(re.sub(r"\.[0-9a-f]{16}\.stages", ".stages", p.name) for p in folder.iterdir())


def stop(*_, **__):
    raise KeyboardInterrupt


def test_dataset_report_and_overlay_are_written(video, track, tmp_path):
    out = tmp_path / "out"
    sequence = track(video, out)
    assert len(sequence) == 14
    assert sequence.frame_weights.tolist() == [0.0 if i == 6 else 1.0 for i in range(14)]
    assert all(6 not in frames for frames in sequence.splits.values())
    assert sequence.head.torso_rotation is not None
    assert torch.isfinite(sequence.shell_thickness).all()
    assert sum(1 for _ in read_video(out / "overlay.mp4")) == 14
    record = json.loads((out / "report.json").read_text())
    assert record["frames_without_face"] == [6]
    crop = json.loads((out / "head_crop.json").read_text())
    assert record["picture_side_px"] == pytest.approx(256 * crop["size"] / crop["side"], abs=0.05)
    entries = json.loads((out / "transforms.json").read_text())["frames"]
    residuals = [entry["landmark_residual"] for entry in entries]
    assert residuals[6] == 0
    tracked = [residual for i, residual in enumerate(residuals) if i != 6]
    assert np.mean(tracked) == pytest.approx(record["aligned_residual_px_at_512"]["mean"], abs=2e-3)
    assert "no face in 1: 6 (weight 0)" in (out / "report.md").read_text()
    labels = {region.value for region in Region}
    assert set(np.unique(read_grey(sequence.label_paths[0]))) <= labels


def test_second_run_reuses_the_dataset_and_another_size_the_landmarks(video, track, detector, tmp_path):
    out, said = tmp_path / "out", []
    track(video, out, say=said.append)
    assert said == []
    track(video, out, say=said.append)
    assert "already tracked" in said.pop()
    resized = track(video, out, size=96, say=said.append)
    assert "landmarks of this video, reused" in said.pop()
    assert resized.camera.width == 96
    assert len(detector.calls) == 1


def test_a_damaged_dataset_is_made_again(video, track, detector, tmp_path):
    """By the very command that its message names."""
    out, said = tmp_path / "out", []
    track(video, out)
    (out / "images" / "00003.png").unlink()
    found = track(video, out, say=said.append)
    assert "00003.png: missing" in said[0]
    assert (out / "images" / "00003.png").is_file()
    assert len(found) == 14
    assert len(detector.calls) == 1
    track(video, out, say=said.append)
    assert "already tracked" in said[-1]


def test_every_frame_keeps_its_time(video, track, tmp_path):
    found, seen = track(video, tmp_path / "out").times, [frame.time for frame in read_video(video)]
    np.testing.assert_allclose(found.numpy(), seen, atol=1e-6)


def test_a_video_smaller_than_the_size_is_said_in_one_line(video, track, tmp_path):
    said = []
    sequence = track(video, tmp_path / "out", size=1024, say=said.append)
    assert (sequence.camera.width, sequence.camera.height) == (256, 256)
    [line] = said
    assert line.endswith("clip.mp4: the head crop is 256 pixels wide and is not enlarged to 1024")


def test_what_was_done_to_the_video_is_said_and_kept(video, track, detector, tmp_path):
    """A folder of pictures with a rate, of which some are used; the notes outlive an interrupt."""
    folder, said = tmp_path / "take", []
    folder.mkdir()
    for i, frame in enumerate(read_video(video)):
        write_image(folder / f"{i}.png", frame.image)

    class Noting(SyntheticDetector):
        def detect(self, video, on_frame):
            found = super().detect(video, on_frame)
            found.notes = [*VideoReader(video).notes, "turned"]
            return found

    out = tmp_path / "out"
    noting = Noting(detector.make)
    sequence = track(VideoSource(folder, fps=5.0), out, max_frames=12, detector=noting, say=said.append)
    assert len(sequence) == 12
    assert sequence.name == "take"
    notes = json.loads((out / "report.json").read_text())["notes"]
    assert notes[0] == "turned"
    assert "12 of 14 frames are used" in notes[1]
    assert said == [f"{folder}: {note}" for note in notes]
    assert "- turned\n" in (out / "report.md").read_text()
    resized = track(VideoSource(folder, fps=5.0), out, size=96, detector=noting, say=said.append)
    assert len(resized) == 14
    assert len(noting.calls) == 1


def test_a_single_picture_is_refused(tmp_path, track):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.gif")
    with pytest.raises(UserError, match=r"a\.gif: a single picture"):
        track(tmp_path / "a.gif", tmp_path / "out")


def test_another_detector_or_matting_does_not_reuse_the_dataset(video, track, detector, tmp_path):
    class WholePicture(BorderMatting):
        model_sha256 = "whole"
        coarse = False

        def mattes(self, frames):
            return (np.full(frame.shape[:2], 255, np.uint8) for frame in frames)

    out, said = tmp_path / "out", []
    track(video, out)
    whole = track(video, out, matting=WholePicture(), say=said.append)
    assert read_grey(whole.matte_paths[0]).min() == 255
    assert "landmarks of this video, reused" in said.pop()
    other = SyntheticDetector(detector.make, "other")
    track(video, out, matting=WholePicture(), detector=other, say=said.append)
    assert said == []
    assert (len(detector.calls), len(other.calls)) == (1, 1)


def test_video_of_three_frames(tmp_path, track):
    path = tmp_path / "short.mp4"
    write_video(path, [np.zeros((64, 64, 3), np.uint8)] * 3, 25)
    with pytest.raises(UserError, match=r"short\.mp4: a face in only 3 of 3 frames"):
        track(path, tmp_path / "out")
    assert leftovers(tmp_path) == ["short.mp4"]


@pytest.mark.parametrize("content", [b"", b"this is text"])
def test_unreadable_or_empty_file(tmp_path, track, content):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.mp4"):
        track(path, tmp_path / "out")
    assert leftovers(tmp_path) == ["broken.mp4"]


def test_missing_video_and_bad_size(tmp_path, video, track):
    with pytest.raises(UserError, match=r"none\.mp4: no such video"):
        track(tmp_path / "none.mp4", tmp_path / "out")
    with pytest.raises(UserError, match="--size 101"):
        track(video, tmp_path / "out", size=101)
    assert leftovers(tmp_path) == ["clip.mp4"]


def test_a_head_model_without_landmarks_is_refused_before_anything_is_done(tmp_path, video, track, detector):
    np.savez(tmp_path / "flame.npz", **flame_arrays())
    with pytest.raises(UserError, match="head model flame: has no landmark embedding"):
        track(video, tmp_path / "out", head_model=FlameHead(tmp_path / "flame.npz", 7, 5))
    assert detector.calls == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["flame", "ict_facekit"])
def test_a_video_is_tracked_with_another_head_model(name, anny, video, track, tmp_path):
    """From the video to a dataset for that head model; FLAME's mouth is opened by a joint."""
    if name == "flame":
        np.savez(tmp_path / "flame.npz", **flame_head_arrays(anny))
        head_model = embedded(FlameHead(tmp_path / "flame.npz", 20, 10), anny)
    else:
        head_model = IctFaceKitHead()
    sequence = track(video, tmp_path / "out", head_model=head_model)
    check_head_model(sequence, head_model)
    assert sequence.head_model_record.name == name
    if name == "flame":
        opened = sequence.head.joint_rotations[:, head_model.joint("jaw"), 1, 2].abs()
    else:
        opened = sequence.head.expression[:, head_model.expression_index("jawOpen")]
    assert opened.max() > (0.05 if name == "flame" else 0.15)
    record = json.loads((tmp_path / "out" / "report.json").read_text())
    assert record["residual_px_at_512"]["mean"] < 6
    labels = np.stack([read_grey(path) for path in sequence.label_paths])
    for region in (Region.FACE, Region.EYES, Region.MOUTH, Region.NECK):
        assert (labels == region).any(), region
    assert (labels == Region.FACE).sum() > (labels == Region.NECK).sum()


def test_folder_that_cannot_be_written(tmp_path, video, track):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(UserError, match="file"):
        track(video, blocked / "out")


STAGES = (
    (SyntheticDetector, "detect"),
    (BorderMatting, "mattes"),
    (clip, "fit_head"),
    (tracker, "write_video"),
)


@pytest.mark.parametrize("stopped", range(len(STAGES)), ids=[name for _, name in STAGES])
def test_an_interrupted_run_goes_on_with_the_stage_it_was_in(tmp_path, video, track, monkeypatch, stopped):
    def repeated(*_, **__):
        raise AssertionError("a stage that had ended was run again")

    whole, out, said = tmp_path / "whole", tmp_path / "out", []
    track(video, whole, say=said.append)
    with monkeypatch.context() as patch:
        patch.setattr(*STAGES[stopped], stop)
        with pytest.raises(KeyboardInterrupt):
            track(video, out, say=said.append)
    assert leftovers(tmp_path) == sorted(["clip.mp4", "whole", *([".out.stages"] if stopped else [])])
    for place in STAGES[:stopped]:
        monkeypatch.setattr(*place, repeated)
    track(video, out, say=said.append)
    assert ["continued" in line for line in said] == [True] * bool(stopped)
    assert leftovers(tmp_path) == ["clip.mp4", "out", "whole"]
    files = [sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file()) for root in (whole, out)]
    assert files[0] == files[1]
    for name in files[0]:
        assert content(whole / name) == content(out / name), name


def content(path):
    """Of a file, but for the time that it names; a film's frame sizes, for x264 does not repeat its bytes."""
    if path.suffix == ".mp4":
        return [frame.image.shape for frame in read_video(path)]
    if path.name == "report.json":
        return json.loads(path.read_text()) | {"fit_cpu_seconds": None}
    return path.read_bytes()


def test_stages_of_other_settings_or_damaged_ones_are_run_again(
    tmp_path, video, track, detector, monkeypatch
):
    def interrupted(settings):
        with monkeypatch.context() as patch:
            patch.setattr(tracker, "write_video", stop)
            with pytest.raises(KeyboardInterrupt):
                track(video, tmp_path / "out", settings=settings)

    fits = []
    fit_head = clip.fit_head
    monkeypatch.setattr(clip, "fit_head", lambda *args: fits.append(1) or fit_head(*args))
    interrupted(QUICK)
    [stages] = tmp_path.glob(".out.*.stages")
    interrupted(FitSettings(pose_steps=30, steps=61))
    assert len(fits) == 2
    interrupted(QUICK)
    # Landmarks do not depend on the settings of the fit.
    assert (len(fits), len(detector.calls)) == (2, 1)
    for damaged in (b"", b"no archive", (stages / "fit.npz").read_bytes()[:-500]):
        (stages / "fit.npz").write_bytes(damaged)
        interrupted(QUICK)
    assert (len(fits), len(detector.calls)) == (5, 1)
    # Mattes and fit belong to the landmarks that they were made from.
    for path in tmp_path.glob(".out.*.stages/landmarks.npz"):
        path.unlink()
    interrupted(QUICK)
    assert (len(fits), len(detector.calls)) == (6, 2)


def test_mattes_that_were_repaired_after_an_interrupt_are_read_again(tmp_path, video, track, monkeypatch):
    folder = tmp_path / "mattes"
    folder.mkdir()

    def write(value):
        for i in range(14):
            matte = np.full((256, 256), value, np.uint8)
            matte[:30] = 0
            Image.fromarray(matte).save(folder / f"{i:03}.png")

    write(0)
    with monkeypatch.context() as patch:
        patch.setattr(tracker, "write_video", stop)
        with pytest.raises(KeyboardInterrupt):
            track(video, tmp_path / "out", mattes=folder)
    write(255)
    sequence = track(video, tmp_path / "out", mattes=folder)
    assert read_grey(sequence.matte_paths[3])[60:].min() == 255
    write(0)
    sequence = track(video, tmp_path / "out", mattes=folder)
    assert read_grey(sequence.matte_paths[3]).max() == 0


def test_a_finished_dataset_leaves_other_settings_unfinished(tmp_path, video, track, monkeypatch):
    track(video, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(clip, "fit_head", stop)
        with pytest.raises(KeyboardInterrupt):
            track(video, tmp_path / "out", size=96)
    track(video, tmp_path / "out")
    assert leftovers(tmp_path) == [".out.stages", "clip.mp4", "out"]


def test_a_second_tracking_into_a_folder_is_refused_while_the_first_runs(
    video, track, detector, tmp_path, monkeypatch
):
    """And changes nothing there; the first goes on to its end, after which a second finds its dataset."""
    out, said = tmp_path / "out", []
    fit_head = clip.fit_head

    def meanwhile(*args):
        before = leftovers(tmp_path)
        for settings in (QUICK, FitSettings(pose_steps=30, steps=61)):
            with pytest.raises(UserError, match="out: another command is at work there; wait until"):
                track(video, out, settings=settings)
        assert leftovers(tmp_path) == before
        return fit_head(*args)

    monkeypatch.setattr(clip, "fit_head", meanwhile)
    assert len(track(video, out)) == 14
    assert leftovers(tmp_path) == ["clip.mp4", "out"]
    track(video, out, say=said.append)
    assert "already tracked" in said[0]
    assert len(detector.calls) == 1


def test_real_detector_on_a_real_clip(tmp_path, monkeypatch):
    source, models = SHARED / "data" / "videos" / "turning.mp4", SHARED / "data" / "models"
    if not (source.exists() and models.exists()):
        pytest.skip("the shared test video or MediaPipe's model files are not on this machine")
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("mediapipe (extra `track`) is not installed")
    monkeypatch.setenv(ASSETS_VARIABLE, str(models))
    clip = tmp_path / "clip.mp4"
    frames = [frame.image for frame, _ in zip(read_video(source), range(24), strict=False)]
    write_video(clip, frames, 25)
    track_video(clip, tmp_path / "out", size=256, say=lambda _: None)
    record = json.loads((tmp_path / "out" / "report.json").read_text())
    assert record["frames_without_face"] == []
    for name, bound in {"mean": 1.7, "lips": 1.7, "eyes": 1.2, "iris": 1.6}.items():
        assert record["residual_px_at_512"][name] < bound, name
