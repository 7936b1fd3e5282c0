"""Fit and alignment together, on a rendered clip whose heads are known."""

import numpy as np
import pytest
import torch
from PIL import Image
from rich.progress import Progress

from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.files.images import write_image
from partnerface.tracking.clip import Clip
from partnerface.tracking.clip_fitting import _luminance, fit_clip
from partnerface.tracking.fit.head_fit import FitSettings, PictureGeometry
from partnerface.tracking.fit.problem import fit_head
from tests.tracking.conftest import project_landmarks

FRAMES, SIZE = 10, 128


@pytest.fixture(scope="module")
def subject(anny):
    return SubjectRenderer(anny, subject_named("a"), FRAMES, SIZE, seed=0)


@pytest.fixture(scope="module")
def clip(anny, subject, tmp_path_factory):
    """Rendered pictures, exact landmarks but for a pixel of noise that differs from frame to frame."""
    folder = tmp_path_factory.mktemp("clip")
    frames = [subject.render(i) for i in range(FRAMES)]
    for i, frame in enumerate(frames):
        write_image(folder / f"{i}.png", frame.image)
    with torch.no_grad():
        vertices = anny(subject.head).vertices
    track = project_landmarks(anny, subject.head, vertices, subject.camera)
    noise = np.random.default_rng(0).normal(size=(FRAMES, 1, 2)).astype(np.float32)
    track.landmarks[..., :2] += noise
    return Clip(
        track=track,
        view=PictureGeometry((SIZE / 2, SIZE / 2), SIZE),
        times=track.timestamps,
        image_paths=[folder / f"{i}.png" for i in range(FRAMES)],
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


def test_luminance_is_pillows_grey():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).convert("L")).astype(int)
    assert np.abs(_luminance(image, 32).astype(int) - expected).max() <= 1
