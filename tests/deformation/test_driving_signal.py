"""The driving signal: untouched inside the training range, bounded outside it."""

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.deformation.driving_signal import ANCHORS, KNEE, DrivingSignal, driving_signal
from partnerface.head_models.head_parameters import HeadParameters


def make_head(expression: torch.Tensor, turn: torch.Tensor | None = None) -> HeadParameters:
    frames = len(expression)
    head = HeadParameters.neutral(frames, 2, expression.shape[1], 3)
    head.expression = expression
    if turn is not None:
        head.rotation = axis_angle_to_matrix(turn)
    return head


@pytest.fixture
def driving() -> DrivingSignal:
    """Trained on expressions 0.2 to 0.8 and turns of up to 0.3 radians."""
    signal = DrivingSignal(4)
    ends = torch.tensor([[0.2] * 4, [0.8] * 4])
    signal.set_range(make_head(ends, torch.tensor([[-0.3] * 3, [0.3] * 3])))
    return signal.eval()


def test_unchanged_inside_the_range(driving):
    values = torch.linspace(0.5 - KNEE * 0.3, 0.5 + KNEE * 0.3, 11)
    head = make_head(values[:, None].expand(11, 4), (values[:, None] - 0.5).expand(11, 3))
    torch.testing.assert_close(driving(head), driving_signal(head), atol=1e-6, rtol=0)


def test_range_ends_are_hardly_touched(driving):
    head = make_head(torch.tensor([[0.2, 0.8, 0.2, 0.8]]))
    torch.testing.assert_close(driving(head), driving_signal(head), atol=0.01, rtol=0)


def test_bounded_and_rising_outside(driving):
    values = torch.linspace(-50, 50, 4001)
    signal = driving(make_head(values[:, None].expand(4001, 4)))[:, :4]
    assert signal.min() >= 0.2 - 0.0201
    assert signal.max() <= 0.8 + 0.0201
    assert (signal.diff(dim=0) >= -1e-6).all()
    # No jump at the knee either.
    fine = torch.linspace(0, 1, 10001)
    assert driving(make_head(fine[:, None].expand(10001, 4)))[:, :4].diff(dim=0).max() < 1.1e-4


def test_a_clip_of_one_frame_and_zero_expression_stay_finite():
    signal = DrivingSignal(4)
    still = make_head(torch.zeros(1, 4))
    signal.set_range(still)
    signal.eval()
    torch.testing.assert_close(signal(still), torch.zeros(1, 10))
    far = make_head(torch.full((1, 4), 100.0), torch.full((1, 3), 1.0)).to(torch.float32)
    assert signal(far).abs().max() <= 0.0201


def test_rotation_is_that_of_the_head_against_the_torso():
    relative, torso = torch.tensor([[0.2, -0.4, 0.1]]), axis_angle_to_matrix(torch.tensor([[1.0, 0.5, -2.0]]))
    head = make_head(torch.rand(1, 4))
    head.rotation = torso @ axis_angle_to_matrix(relative)
    head.torso_rotation, head.torso_translation = torso, torch.zeros(1, 3)
    torch.testing.assert_close(driving_signal(head)[:, 4:7], relative, atol=1e-5, rtol=0)
    assert torch.equal(driving_signal(head)[:, :4], head.expression)


def test_how_fast_the_head_turns_comes_last_and_is_zero_for_a_still_head(driving):
    head = make_head(torch.rand(2, 4))
    assert not driving_signal(head)[:, 7:].any()
    head.angular_velocity = torch.tensor([[0.5, -2.0, 0.0], [0.1, 0.2, 0.3]])
    assert torch.equal(driving_signal(head)[:, 7:], head.angular_velocity)
    assert torch.equal(driving_signal(head.select([1]))[:, 7:], head.angular_velocity[1:])
    # Trained on still heads: whatever comes stays within the margin.
    assert driving(head)[:, 7:].abs().max() <= 0.0201


def test_noise_is_for_training_steps_only(driving):
    head = make_head(torch.full((2000, 4), 0.5))
    driving.train()
    torch.manual_seed(0)
    noise = driving(head)[:, :4] - 0.5
    assert float(noise.std()) == pytest.approx(0.03, rel=0.1)
    with torch.no_grad():
        assert torch.equal(driving(head), driving.eval()(head))


def test_gradient_reaches_the_expression_and_fades_outside(driving):
    expression = torch.tensor([[0.5, 0.3, 5.0, -5.0]], requires_grad=True)
    driving(make_head(expression)).sum().backward()
    torch.testing.assert_close(expression.grad, torch.tensor([[1.0, 1.0, 0.0, 0.0]]), atol=1e-3, rtol=0)


def test_without_clamp_the_signal_passes_as_it_is():
    signal = DrivingSignal(4, clamp=False)
    signal.set_range(make_head(torch.zeros(2, 4)))
    far = make_head(torch.full((1, 4), 7.0))
    assert torch.equal(signal.eval()(far), driving_signal(far))


def test_noise_can_be_chosen():
    head = make_head(torch.full((2000, 4), 0.5))
    torch.manual_seed(0)
    assert float(DrivingSignal(4, noise=0.1, clamp=False)(head)[:, :4].std()) == pytest.approx(0.1, rel=0.1)
    assert torch.equal(DrivingSignal(4, noise=0.0, clamp=False)(head), driving_signal(head))


def damped(training: HeadParameters, damp: str = "motion") -> DrivingSignal:
    signal = DrivingSignal(4, damp=damp)
    signal.set_range(training)
    return signal.eval()


def turning(frames: int) -> HeadParameters:
    """A head that first turns aside and back, then nods: never both at once."""
    aside = torch.linspace(0, torch.pi, frames // 2).sin()
    turn = torch.zeros(frames, 3)
    turn[: len(aside), 1], turn[len(aside) : 2 * len(aside), 0] = 0.5 * aside, 0.4 * aside
    torch.manual_seed(0)
    return make_head(torch.rand(frames, 4), turn)


@pytest.mark.parametrize("frames", [7, ANCHORS, 300])
@pytest.mark.parametrize("damp", ["motion", "all"])
def test_damping_leaves_the_training_frames_as_they_are(frames, damp):
    training = turning(frames)
    undamped = DrivingSignal(4)
    undamped.set_range(training)
    found, expected = damped(training, damp)(training), undamped.eval()(training)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.05)


def test_poses_that_each_axis_has_seen_but_never_together_are_drawn_to_those_of_training():
    """Clamping each number by itself passes them; expressions stay as they are."""
    training = turning(300)
    both = make_head(torch.full((1, 4), 0.5), torch.tensor([[0.38, 0.48, 0.0]]))
    undamped = DrivingSignal(4)
    undamped.set_range(training)
    seen = driving_signal(training)[:, 4:7]
    before, after = undamped.eval()(both), damped(training)(both)
    distance = [float(torch.cdist(signal[:, 4:7], seen).min()) for signal in (before, after)]
    assert distance[1] < 0.8 * distance[0]
    assert torch.equal(before[:, :4], after[:, :4])


def test_damping_is_smooth_and_bounded_far_out():
    training = turning(300)
    signal = damped(training, "all")
    far = torch.linspace(0, 1.5, 2001)
    turn = torch.stack([far, far, 0 * far], 1)
    found = signal(make_head(torch.full((2001, 4), 0.5), turn))
    assert found.isfinite().all()
    # Nothing jumps: no step of the output is many times that of the input.
    assert found.diff(dim=0).norm(dim=1).max() < 5 * turn.diff(dim=0).norm(dim=1).max()


def test_damping_by_a_clip_of_one_frame_keeps_its_pose():
    still = make_head(torch.zeros(1, 4))
    signal = damped(still, "all")
    torch.testing.assert_close(signal(still), torch.zeros(1, 10), atol=1e-6, rtol=0)
    turn = torch.full((1, 3), 1.0).requires_grad_()
    far = make_head(torch.full((1, 4), 100.0), turn)
    assert signal(far).abs().max() <= 0.0301
    assert signal(far).isfinite().all()


def test_the_range_of_damping_travels_with_the_checkpoint():
    trained, fresh = damped(turning(100)), DrivingSignal(4, damp="motion").eval()
    fresh.load_state_dict(trained.state_dict())
    head = make_head(torch.rand(5, 4), torch.randn(5, 3))
    assert torch.equal(trained(head), fresh(head))
    assert set(DrivingSignal(4).state_dict()) == {"low", "high"}
