import numpy as np
import pytest
import torch

from partnerface.tracking.fit.head_fit import FitSettings
from partnerface.tracking.fit.problem import fit_head

LOST = (4, 9, 10)


def degrees_between(first, second):
    trace = (first.transpose(1, 2) @ second).diagonal(dim1=1, dim2=2).sum(1)
    return torch.rad2deg(((trace - 1) / 2).clamp(-1, 1).arccos())


@pytest.fixture(scope="module", params=[(), LOST], ids=["every frame", "lost frames"])
def fitted(request, anny, synthetic_track):
    subject = synthetic_track(lost=request.param)
    return subject, fit_head(subject.track, anny)


def test_pose_is_recovered_in_every_frame(fitted):
    """A bridged frame may be a little worse, but it stays in its place in time."""
    subject, fit = fitted
    error = degrees_between(fit.head.rotation, subject.head.rotation)
    valid = torch.as_tensor(subject.track.valid)
    assert len(fit.head) == len(subject.head)
    assert error[valid].max() < 2.0
    assert error.max() < 5.0
    assert (fit.head.translation - subject.head.translation)[:, :2].abs().max() < 0.004


def test_landmarks_are_met_within_half_a_pixel(fitted):
    subject, fit = fitted
    valid = subject.track.valid
    detected = subject.track.landmarks[valid][:, fit.landmark_numbers, :2]
    distance = np.linalg.norm(fit.landmarks.numpy()[valid] - detected, axis=-1)
    assert distance.mean() < 0.5


def test_closed_eyes_and_open_mouth_are_seen(fitted, anny):
    subject, fit = fitted
    valid = subject.track.valid
    for name in ("eyeBlinkLeft", "jawOpen"):
        index = anny.expression_index(name)
        true, found = (h.expression[valid, index].numpy() for h in (subject.head, fit.head))
        assert np.corrcoef(true, found)[0, 1] > 0.9, name


def test_level_of_the_scores_is_no_expression(fitted, anny):
    """The synthetic scores are 0.3 too high throughout; actions at rest must stay near zero."""
    _, fit = fitted
    assert fit.head.expression[:, anny.expression_index("mouthSmileLeft")].mean() < 0.12


def test_fit_ignores_what_stands_in_lost_frames(anny, synthetic_track):
    """Values behind a frame of weight 0 have no influence, not even on the start."""
    plain, spoilt = (synthetic_track(12, lost=(3,)).track for _ in range(2))
    spoilt.landmarks[3] = 1e4
    first, second = (fit_head(track, anny).head for track in (plain, spoilt))
    assert torch.equal(first.rotation, second.rotation)


def test_threads_are_given_back(anny, synthetic_track):
    threads = torch.get_num_threads()
    fit_head(synthetic_track(10).track, anny, settings=FitSettings(pose_steps=2, steps=2))
    assert torch.get_num_threads() == threads
