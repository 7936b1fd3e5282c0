"""The head cut out of a video: pictures, mattes, landmarks and camera must agree with the uncut ones."""

import numpy as np
import pytest
import torch
from PIL import Image
from rich.progress import Progress

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.writer import SequenceWriter
from partnerface.files.images import read_grey, read_rgb
from partnerface.files.videos import read_video, write_video
from partnerface.tracking.clip import cut_clip
from partnerface.tracking.detection.head_crop import HeadCrop
from partnerface.tracking.stages import TrackingStages

FRAMES, SIDE = 6, 256
CROP = HeadCrop(offset_x=40, offset_y=20, side=160, size=80)


class BrightPixels:
    """What is bright is the person; one frame of it flickers."""

    model_sha256 = "bright"

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

    def run(matting):
        writer = SequenceWriter(tmp_path / "set")
        stages = TrackingStages(tmp_path / "set", "key")
        track = synthetic_track(FRAMES, lost=(2,)).track
        with Progress(disable=True) as bars:
            return cut_clip(video, track, CROP, matting, writer, stages, bars), stages

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
