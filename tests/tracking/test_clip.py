"""The head cut out of a video agrees with the uncut one; fit and alignment of heads that are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch3d.transforms import axis_angle_to_matrix, matrix_to_axis_angle
from rich.progress import Progress

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.writer import SequenceWriter
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.files.images import read_grey, read_rgb, write_image
from partnerface.files.video_reading.read import read_video
from partnerface.files.video_reading.source import VideoSource
from partnerface.files.videos import write_video
from partnerface.tracking.clip import Clip, _luminance, cut_clip, fit_clip
from partnerface.tracking.detection.mattes import HeadCrop
from partnerface.tracking.fit.head_fit import FitSettings, PictureGeometry
from partnerface.tracking.fit.problem import fit_head
from partnerface.tracking.stages import TrackingStages
from tests.tracking.conftest import project_landmarks

FRAMES, SIDE = 6, 256
CROP = HeadCrop(offset_x=40, offset_y=20, side=160, size=80)


class BrightPixels:
    """What is bright is the person; one frame of it flickers."""

    model_sha256 = "bright"
    coarse = False

    def mattes(self, frames):
        for number, frame in enumerate(frames):
            yield (
                np.full(frame.shape[:2], 255, np.uint8)
                if number == 3
                else (frame[..., 0] > 100) * np.uint8(255)
            )


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    ramp = np.linspace(0, 200, SIDE)[:, None, None] + np.linspace(0, 50, SIDE)[None, :, None] + np.zeros(3)
    write_video(path, [(ramp + i).astype(np.uint8) for i in range(FRAMES)], 5)
    return path


@pytest.fixture
def cut(video, synthetic_track, tmp_path):
    """Cuts the clip with some matting; returns it and the stages."""

    def run(matting, frames=tuple(range(FRAMES))):
        writer = SequenceWriter(tmp_path / "set")
        stages = TrackingStages(tmp_path / "set", "key")
        track = replace(synthetic_track(FRAMES, lost=(2,)).track, timestamps=np.arange(FRAMES) / 25, fps=25.0)
        with Progress(disable=True) as bars:
            return cut_clip(
                VideoSource(video), track, np.array(frames), CROP, matting, writer, stages, bars
            ), stages

    return run


def test_crops_on_disk_are_halves_of_the_frames(video, cut):
    clip, _ = cut(BrightPixels())
    assert [path.name for path in clip.image_paths] == [f"{i:05d}.png" for i in range(FRAMES)]
    for path, frame in zip(clip.image_paths, read_video(video), strict=True):
        square = frame.image[20:180, 40:200].astype(float)
        means = (square[::2, ::2] + square[1::2, ::2] + square[::2, 1::2] + square[1::2, 1::2]) / 4
        # Pillow rounds after the rows and after the columns.
        assert np.abs(read_rgb(path) - means).max() <= 1


def test_mattes_on_disk_are_those_in_memory_without_flicker(cut):
    clip, stages = cut(BrightPixels())
    raw = np.stack([(read_rgb(path)[..., 0] > 100) * 255 for path in clip.image_paths])
    raw[3] = 255
    for i, path in enumerate(clip.matte_paths):
        expected = np.median(raw[i - 1 : i + 2], axis=0) if 0 < i < FRAMES - 1 else raw[i]
        np.testing.assert_array_equal(clip.mattes[i], expected)
        np.testing.assert_array_equal(read_grey(path), expected)
    assert (clip.mattes[3] == 0).any()
    np.testing.assert_array_equal(stages.mattes(clip.mattes.shape), clip.mattes)


class BlockMatting:
    """A block and a far smaller one, coarse."""

    model_sha256 = "block"
    coarse = True

    def mattes(self, frames):
        for frame in frames:
            matte = np.zeros(frame.shape[:2], np.uint8)
            matte[30:, 20:60] = matte[4:10, 4:10] = 255
            yield matte


def test_coarse_mattes_are_refined_and_kept_so(cut):
    clip, stages = cut(BlockMatting())
    assert not clip.mattes[:, :14, :14].any()
    assert (clip.mattes[:, 40:, 30:50] == 255).all()
    for path, matte in zip(clip.matte_paths, clip.mattes, strict=True):
        np.testing.assert_array_equal(read_grey(path), matte)
    np.testing.assert_array_equal(stages.mattes(clip.mattes.shape), clip.mattes)


def test_mattes_of_an_unfinished_run_are_not_made_again(cut):
    first, _ = cut(BrightPixels())

    class Unused:
        def mattes(self, frames):
            raise AssertionError("made again")

    second, _ = cut(Unused())
    np.testing.assert_array_equal(first.mattes, second.mattes)
    assert len(second.image_paths) == FRAMES


def test_mattes_of_the_user_are_cut_as_the_frames(cut, tmp_path):
    folder = tmp_path / "mattes"
    folder.mkdir()
    values = np.zeros((SIDE, SIDE), np.uint8)
    values[20:100, 40:200] = 255
    for i in range(FRAMES):
        Image.fromarray(values).save(folder / f"{i}.png")
    clip, _ = cut(folder)
    expected = np.zeros((80, 80), np.uint8)
    expected[:40] = 255
    np.testing.assert_array_equal(clip.mattes, np.broadcast_to(expected, clip.mattes.shape))


def test_alpha_is_the_matte_and_frames_can_be_chosen(synthetic_track, tmp_path):
    """Frame k of a transparent video is opaque above row 40 k."""
    path = tmp_path / "keyed.mov"
    images = np.full((FRAMES, SIDE, SIDE, 4), (180, 120, 90, 0), np.uint8)
    for k in range(FRAMES):
        images[k, : 40 * k, :, 3] = 255
        images[k, ..., 0] += 10 * k
    write_video(path, images, 5)
    track = synthetic_track(FRAMES).track
    track.transparent = True
    frames = np.array([0, 2, 3, 5])
    with Progress(disable=True) as bars:
        clip = cut_clip(
            *(VideoSource(path), track, frames, CROP, BrightPixels(), SequenceWriter(tmp_path / "set")),
            *(TrackingStages(tmp_path / "set", "key"), bars),
        )
    assert [round((read_rgb(p).mean((0, 1))[0] - 180) / 10) for p in clip.image_paths] == [0, 2, 3, 5]
    np.testing.assert_array_equal(clip.track.timestamps, track.timestamps[frames])
    # Rows 20 to 180 of the video at half the size; the last and the first are left as they are.
    assert [int((m > 127).all(1).sum()) for m in clip.mattes] == [0, 30, 50, 80]


def test_landmarks_and_camera_are_those_of_the_whole_picture(cut, synthetic_track):
    """A point before the whole picture's camera, cut, lies where the clip's camera sees it."""
    clip, _ = cut(BrightPixels())
    whole = synthetic_track(FRAMES, lost=(2,)).track
    moved = (whole.landmarks[..., :2] - [40, 20]) * 0.5
    np.testing.assert_allclose(clip.track.landmarks[..., :2], moved, atol=1e-3)
    assert clip.frame_weights.tolist() == [1, 1, 0, 1, 1, 1]
    points = torch.randn(FRAMES, 9, 3, generator=torch.Generator().manual_seed(0)) * 0.1 - torch.tensor(
        [0, 0, 1.0]
    )
    uncut, depth = Camera.static(FRAMES, 500.0, SIDE, SIDE).project(points)
    found, found_depth = clip.camera(250.0).project(points)
    torch.testing.assert_close(found, (uncut - torch.tensor([40.0, 20.0])) * 0.5, atol=1e-3, rtol=0)
    torch.testing.assert_close(found_depth, depth)
    assert clip.view.shorter_side == SIDE / 2


RENDERED_FRAMES, SIZE = 10, 128


@pytest.fixture(scope="module")
def subject(anny):
    return SubjectRenderer(anny, subject_named("a"), RENDERED_FRAMES, SIZE, seed=0)


@pytest.fixture(scope="module")
def clip(anny, subject, tmp_path_factory):
    """Rendered pictures, exact landmarks but for a pixel of noise that differs from frame to frame."""
    folder = tmp_path_factory.mktemp("clip")
    frames = [subject.render(i) for i in range(RENDERED_FRAMES)]
    for i, frame in enumerate(frames):
        write_image(folder / f"{i}.png", frame.image)
    with torch.no_grad():
        vertices = anny(subject.head).vertices
    track = project_landmarks(anny, subject.head, vertices, subject.camera)
    noise = np.random.default_rng(0).normal(size=(RENDERED_FRAMES, 1, 2)).astype(np.float32)
    track.landmarks[..., :2] += noise
    return Clip(
        track=track,
        view=PictureGeometry((SIZE / 2, SIZE / 2), SIZE),
        times=track.timestamps,
        image_paths=[folder / f"{i}.png" for i in range(RENDERED_FRAMES)],
        matte_paths=[],
        mattes=np.stack([frame.matte for frame in frames]),
    )


def test_pictures_correct_what_landmarks_get_wrong_from_frame_to_frame(anny, subject, clip):
    """Pixels from the truth at the nose bridge, without the clip's mean, before and after the alignment."""

    def places(head, camera):
        bridge = head.rotation @ torch.tensor([0.0, 0.03, 0.11]) + head.translation
        return camera.project(bridge[:, None])[0][:, 0]

    def jitter(fit):
        off = places(fit.head, clip.camera(fit.focal)) - places(subject.head, subject.camera)
        return (off - off.mean(0)).norm(dim=1).mean()

    settings = FitSettings(pose_steps=30, steps=60)
    before = jitter(fit_head(clip.track, anny, torch.from_numpy(clip.mattes), settings=settings))
    with Progress(disable=True) as bars:
        after = jitter(fit_clip(clip, anny, settings, bars))
        assert [task.description for task in bars.tasks] == ["fit", "align"]
        assert all(task.finished for task in bars.tasks)
    assert after < 0.6 * before


PERIOD = 8
"""Frames of a shake to either side and back, at 25 frames per second."""


def quick_fit(anny, folder, degrees: float, light: float, grain: float, jitter: float):
    """True angles of a head that shakes by some degrees and those of `fit_clip`, in degrees off their mean.

    Its 40 pictures, 25 a second, have ``light`` of their brightness and ``grain`` of 255 as noise; landmarks
    are off by ``jitter`` pixels, one by one and together.
    """
    frames, rng = 40, np.random.default_rng(0)
    subject = SubjectRenderer(anny, subject_named("a"), frames, SIZE, seed=0)
    head = subject.head
    head.expression[:], head.joint_rotations[:], subject.sway[:] = 0, torch.eye(3), 0
    yaw = math.radians(degrees) * (2 * math.pi * torch.arange(frames) / PERIOD).sin()
    head.rotation[:] = axis_angle_to_matrix(torch.stack([0 * yaw, yaw, 0 * yaw], 1))
    head.translation[:] = head.torso_translation
    rendered = [subject.render(i) for i in range(PERIOD if degrees else 1)]
    shown = [rendered[i % len(rendered)] for i in range(frames)]
    for i, frame in enumerate(shown):
        noisy = light * frame.image + rng.normal(0, grain, frame.image.shape)
        write_image(folder / f"{i}.png", noisy.round().clip(0, 255).astype(np.uint8))
    track = project_landmarks(anny, head, anny(head).vertices, subject.camera)
    for shape in ((frames, 1, 2), (frames, 478, 2)):
        track.landmarks[..., :2] += rng.normal(0, jitter, shape)
    clip = Clip(
        track=replace(track, timestamps=np.arange(frames) / 25),
        view=PictureGeometry((SIZE / 2, SIZE / 2), SIZE),
        times=np.arange(frames) / 25,
        image_paths=[folder / f"{i}.png" for i in range(frames)],
        matte_paths=[],
        mattes=np.stack([frame.matte for frame in shown]),
    )
    with Progress(disable=True) as bars:
        found = fit_clip(clip, anny, FitSettings(pose_steps=30, steps=60), bars).head.rotation
    angles = [matrix_to_axis_angle(some @ some[0].mT).rad2deg() for some in (head.rotation, found)]
    return [some - some.mean(0) for some in angles]


def test_a_head_at_rest_in_the_dark_is_held_still(anny, tmp_path):
    """By its landmarks and pictures alone it would turn by up to half a degree."""
    _, found = quick_fit(anny, tmp_path, degrees=0, light=0.3, grain=5, jitter=0.5)
    assert found.norm(dim=1).max() < 0.1


def test_small_motion_in_clean_pictures_is_not_smoothed(anny, tmp_path):
    """Three times a second by 0.2 degrees, which in the dark would pass for rest."""
    true, found = quick_fit(anny, tmp_path, degrees=0.2, light=1, grain=0, jitter=0)
    assert (found * true).sum() / true.square().sum() == pytest.approx(1, abs=0.1)
    assert (found - true).norm(dim=1).max() < 0.1


def test_luminance_is_pillows_grey():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).convert("L")).astype(int)
    assert np.abs(_luminance(image, 32).astype(int) - expected).max() <= 1
