import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from pytorch3d.transforms import (
    axis_angle_to_matrix,
    euler_angles_to_matrix,
    matrix_to_axis_angle,
    matrix_to_euler_angles,
)
from torch.nn import functional

from partnerface.cameras.pinhole import Camera
from partnerface.data.completion.frame_labels import placed_landmarks
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.landmark_geometry import LID_PAIRS, landmark_geometry
from partnerface.tracking.fit.head_fit import FitSettings
from partnerface.tracking.fit.problem import FitProblem, fit_head
from tests.head_models.flame_files import embedded, flame_head_arrays
from tests.tracking.conftest import FOCAL, SIZE, project_landmarks

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


@pytest.fixture(scope="module")
def disturbed(anny, synthetic_track):
    """A fit in the middle of its way: nothing is where it should be, no term is 0."""
    subject = synthetic_track(6)
    mattes = torch.zeros(6, subject.track.height, subject.track.width, dtype=torch.uint8)
    mattes[:, 30:, 70:-70] = 255
    problem = FitProblem(subject.track, anny, mattes, None, None, FitSettings())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in problem.variables.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
        problem.variables.raw_expression[:, 3] = 1.5
        problem.variables.translation[:, 2] -= 0.1
        problem.variables.log_focal += 0.3
    problem.targets = problem.find_targets()
    return problem


def test_every_weight_of_the_settings_acts(disturbed):
    """A weight that the loss did not read would be a claim."""
    before, settings = disturbed.loss().item(), disturbed.settings
    lengths = {"pose_steps", "steps"}
    of_the_jaw = {"jaw_weight", "jaw_smoothness"}
    for name in {f.name for f in fields(FitSettings)} - lengths - of_the_jaw:
        # So much that a small term moves the sum by more than its rounding.
        disturbed.settings = replace(settings, **{name: 100 * getattr(settings, name)})
        assert disturbed.loss().item() != before, name
    disturbed.settings = settings


@pytest.fixture(scope="module")
def jaw_track(anny, tmp_path_factory):
    """A head of FLAME's form whose joint opens the jaw, with what a detector would find of it."""
    path = tmp_path_factory.mktemp("flame") / "flame.npz"
    np.savez(path, **flame_head_arrays(anny))
    flame = embedded(FlameHead(path, 30, 40), anny)
    phase = torch.linspace(0, 2 * torch.pi, 10)
    head = flame.neutral_parameters(10)
    head.rotation = axis_angle_to_matrix(torch.stack([0.1 * phase.cos(), 0.3 * phase.sin(), 0 * phase], 1))
    head.translation = torch.tensor([0.0, 0.02, -1.1]).repeat(10, 1)
    opening = 0.12 * (1 - (2 * phase).cos())
    turns = torch.stack([opening, 0 * opening, 0 * opening], 1)
    head.joint_rotations[:, flame.joint("jaw")] = axis_angle_to_matrix(turns)
    camera = Camera.static(10, FOCAL, SIZE, SIZE)
    with torch.no_grad():
        track = project_landmarks(flame, head, flame(head).vertices, camera)
    unnamed = replace(track, score_names=["jawOpen"], scores=np.zeros((10, 1), np.float32))
    return flame, head, unnamed


def test_a_jaw_that_a_joint_opens_is_fitted(jaw_track):
    flame, truth, track = jaw_track
    fit = fit_head(track, flame)
    found = matrix_to_axis_angle(fit.head.joint_rotations[:, flame.joint("jaw")])
    true = matrix_to_axis_angle(truth.joint_rotations[:, flame.joint("jaw")])
    assert np.corrcoef(found[:, 0], true[:, 0])[0, 1] > 0.95
    assert 0.5 < (found[:, 0].max() - found[:, 0].min()) / true[:, 0].max() < 1.3
    assert found[:, 1:].abs().max() < 0.05
    distance = np.linalg.norm(fit.landmarks.numpy() - track.landmarks[:, fit.landmark_numbers, :2], axis=-1)
    assert distance.mean() < 0.5
    assert degrees_between(fit.head.rotation, truth.rotation).max() < 3
    # What the fit projects is what the dataset holds.
    placed = placed_landmarks(flame, landmark_geometry(flame), fit.head)
    posed, _ = Camera.static(10, fit.focal, SIZE, SIZE).project(placed)
    torch.testing.assert_close(posed, fit.landmarks, atol=0.02, rtol=0)


def test_weights_of_the_jaw_act(jaw_track):
    flame, _, track = jaw_track
    problem = FitProblem(track, flame, None, None, None, FitSettings())
    with torch.no_grad():
        problem.variables.jaw += 0.1 * torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    before = problem.loss().item()
    for name in ("jaw_weight", "jaw_smoothness"):
        problem.settings = replace(FitSettings(), **{name: 3 * getattr(FitSettings(), name)})
        assert problem.loss().item() > before, name
    problem.loss().backward()
    assert torch.isfinite(problem.variables.jaw.grad).all()
    assert problem.scored.tolist() == []


def test_eyes_that_look_far_aside_are_found_to_do_so(anny):
    """Ahead and 20 degrees to the left, to the right, up and down, three frames each, in a turned head."""
    looks = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, -1.0], [-1.0, 0.0], [1.0, 0.0]])
    turns = math.radians(20) * looks.repeat_interleave(3, 0)
    frames = len(turns)
    head = anny.neutral_parameters(frames)
    head.translation = torch.tensor([0.0, 0.0, -1.1]).repeat(frames, 1)
    head.rotation = axis_angle_to_matrix(torch.tensor([0.1, 0.3, 0.0])).repeat(frames, 1, 1)
    eyes = [anny.joint("eye_left"), anny.joint("eye_right")]
    head.joint_rotations[:, eyes] = axis_angle_to_matrix(functional.pad(turns, (0, 1)))[:, None]
    track = project_landmarks(anny, head, anny(head).vertices, Camera.static(frames, FOCAL, SIZE, SIZE))
    fit = fit_head(track, anny, settings=FitSettings(pose_steps=40, steps=150))
    found = head.rotation.mT @ fit.head.rotation @ fit.head.joint_rotations[:, eyes[0]]
    angle = torch.acos((found[:, :, 2] * head.joint_rotations[:, eyes[0], :, 2]).sum(1).clamp(-1, 1))
    assert angle.rad2deg().max() < 2


def test_the_gradient_is_that_of_the_loss(disturbed):
    """Central differences along a random direction of each variable."""
    variables = disturbed.variables
    variables.zero_grad()
    disturbed.loss().backward()
    generator = torch.Generator().manual_seed(1)
    # The score gain alone moves the loss too little for single precision.
    for name, step in {"identity": 1e-2, "rotation": 1e-3, "translation": 1e-4, "gaze": 1e-2}.items():
        parameter = getattr(variables, name)
        direction = torch.randn(parameter.shape, generator=generator)
        slope = float((parameter.grad * direction).sum())
        with torch.no_grad():
            start, values = parameter.clone(), []
            for sign in (1, -1):
                parameter.copy_(start + sign * step * direction)
                values.append(disturbed.loss().item())
            parameter.copy_(start)
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=0.03), name


def test_scores_are_centred_over_the_frames_with_a_face(anny, synthetic_track):
    track = synthetic_track(6, lost=(2,)).track
    problem = FitProblem(track, anny, None, None, None, FitSettings())
    column = track.score_names.index("jawOpen")
    scores = np.delete(track.scores[:, column], 2)
    found = problem.scores[:, anny.expression_index("jawOpen")].numpy()
    np.testing.assert_allclose(np.delete(found, 2), scores - scores.mean(), atol=1e-6)
    assert found[2] == 0
    assert not problem.scores[:, anny.expression_index("tongueOut")].any()


def test_lids_that_close_for_one_frame_are_not_smoothed_away(anny):
    """At 30 frames per second; the aperture is that of the fitted head's own lids."""
    frames, closed = 9, 4
    head = anny.neutral_parameters(frames)
    head.translation = torch.tensor([0.0, 0.0, -1.1]).repeat(frames, 1)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        head.expression[closed, anny.expression_index(name)] = 0.8
    track = project_landmarks(anny, head, anny(head).vertices, Camera.static(frames, FOCAL, SIZE, SIZE))
    times, settings = np.arange(frames) / 30, FitSettings(pose_steps=40, steps=150)
    fit = fit_head(track, anny, times=times, settings=settings)
    geometry = landmark_geometry(anny)

    def apertures(expression):
        places = geometry.points.positions(torch.zeros(1), expression)
        pairs = torch.tensor([geometry.rows(pair) for _, pairs in LID_PAIRS for pair in pairs])
        return (places[:, pairs[:, 0]] - places[:, pairs[:, 1]]).norm(dim=-1).mean(1)

    true, found = apertures(head.expression), apertures(fit.head.expression)
    share = (found - true) / (true[0] - true[closed])
    assert share[closed].abs() < 0.1
    assert share[[closed - 1, closed + 1]].abs().max() < 0.1


@pytest.mark.parametrize(("degrees", "hertz"), [(10, 2), (25, 1)])
def test_a_shaken_head_is_not_flattened(anny, degrees, hertz):
    """At 25 frames per second, landmarks off by 0.3 pixels; squares alone recover 0.65 of it."""
    frames = 40
    yaw = math.radians(degrees) * torch.sin(2 * math.pi * hertz * torch.arange(frames) / 25)
    head = anny.neutral_parameters(frames)
    head.translation = torch.tensor([0.0, 0.0, -1.1]).repeat(frames, 1)
    head.rotation = euler_angles_to_matrix(torch.stack([yaw, 0 * yaw, 0 * yaw], 1), "YXZ")
    track = project_landmarks(anny, head, anny(head).vertices, Camera.static(frames, FOCAL, SIZE, SIZE))
    track.landmarks[..., :2] += np.random.default_rng(0).normal(0, 0.3, track.landmarks[..., :2].shape)
    fit = fit_head(track, anny, times=np.arange(frames) / 25)
    found = matrix_to_euler_angles(fit.head.rotation, "YXZ")[:, 0]
    assert np.polyfit(yaw.numpy(), found.numpy(), 1)[0] == pytest.approx(1, abs=0.05)
    assert (found - yaw - (found - yaw).mean()).abs().mean() < math.radians(0.5)
