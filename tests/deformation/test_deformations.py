"""What holds for part, global and no deformation alike, and what sets them apart."""

import copy
from collections.abc import Callable

import pytest
import torch

from partnerface.deformation.deformation import Deformation, dense_part_weights
from partnerface.deformation.global_deformation import NoDeformation, global_deformation
from partnerface.deformation.lip_expression import LipExpression
from partnerface.deformation.part_deformation import OFFSET_SCALE, PartDeformation

EVERY_CHOICE = {"temperature_schedule": "learned", "residual_frequencies": 2, "windowed_frequencies": True}
MAKERS: dict[str, Callable[..., Deformation]] = {
    "parts": lambda **k: PartDeformation(parts=6, top_k=2, hidden_width=8, **k),
    "all parts": lambda **k: PartDeformation(parts=4, top_k=4, hidden_width=8, **k),
    "every choice": lambda **k: PartDeformation(parts=4, top_k=4, hidden_width=8, **EVERY_CHOICE, **k),
    "global": lambda **k: global_deformation(hidden_width=8, **k),
    "none": lambda appearance_width=0, **k: NoDeformation(**k),
}
WITH_NETWORKS = ["parts", "all parts", "every choice", "global"]


@pytest.fixture(params=MAKERS)
def deformation(request) -> Deformation:
    torch.manual_seed(0)
    made = MAKERS[request.param](driving_width=5)
    if isinstance(made, PartDeformation):
        made.place_parts(torch.rand(made.parts, 3))
    return made


def wake(deformation: Deformation) -> None:
    for parameter in deformation.networks.parameters():
        torch.nn.init.normal_(parameter)


def test_nothing_moves_at_the_start(deformation):
    deformed = deformation(torch.rand(50, 3), torch.randn(5))
    assert not deformed.offsets.any()
    assert deformed.appearance is None or not deformed.appearance.any()


@pytest.mark.parametrize("hard", [True, False])
def test_weights_sum_to_one_in_both_stages(deformation, hard):
    deformation.set_hard(hard)
    deformed = deformation(torch.rand(50, 3), torch.randn(5))
    dense = dense_part_weights(deformed.part_weights, deformed.part_index, deformation.parts)
    assert dense.shape == (50, deformation.parts)
    torch.testing.assert_close(dense.sum(1), torch.ones(50))
    if hard:
        assert (dense.amax(1) == 1).all()


def test_no_points(deformation):
    deformed = deformation(torch.zeros(0, 3), torch.randn(5))
    assert deformed.offsets.shape == (0, 3)
    assert deformed.part_weights.shape[0] == 0


@pytest.mark.parametrize("name", WITH_NETWORKS)
@pytest.mark.parametrize("appearance_width", [0, 4])
def test_appearance_has_the_promised_width(name, appearance_width):
    torch.manual_seed(0)
    deformation = MAKERS[name](driving_width=5, appearance_width=appearance_width)
    deformed = deformation(torch.rand(9, 3), torch.randn(5))
    assert deformation.appearance_width == appearance_width
    assert (deformed.appearance is None) == (appearance_width == 0)
    if appearance_width:
        assert deformed.appearance.shape == (9, appearance_width)


@pytest.mark.parametrize("name", WITH_NETWORKS)
def test_driving_moves_points_by_the_stated_scale(name):
    torch.manual_seed(0)
    deformation = MAKERS[name](driving_width=5)
    wake(deformation)
    positions = torch.rand(20, 3)
    first = deformation(positions, torch.zeros(5)).offsets
    second = deformation(positions, torch.ones(5)).offsets
    assert ((first - second).abs().amax(1) > 1e-6).all()
    torch.nn.init.zeros_(deformation.networks.weight3)
    torch.nn.init.ones_(deformation.networks.bias3)
    offsets = deformation(positions, torch.zeros(5)).offsets
    torch.testing.assert_close(offsets, torch.full((20, 3), OFFSET_SCALE))


@pytest.mark.parametrize("name", WITH_NETWORKS)
def test_gradient_is_finite_and_reaches_every_weight(name):
    torch.manual_seed(0)
    deformation = MAKERS[name](driving_width=5)
    deformation.place_parts(torch.rand(deformation.parts, 3))
    wake(deformation)
    positions = torch.rand(500, 3, requires_grad=True)
    driving = torch.randn(5, requires_grad=True)
    deformed = deformation(positions, driving)
    (deformed.offsets.sum() + deformed.appearance.square().sum()).backward()
    assert driving.grad.abs().min() > 0
    assert positions.grad.isfinite().all()
    for parameter_name, parameter in deformation.named_parameters():
        assert parameter.grad.isfinite().all(), parameter_name
        # One part alone always weighs one, so its place is of no account.
        assert parameter.grad.any() or (name == "global" and "assigner" in parameter_name), parameter_name


@pytest.mark.parametrize("name", WITH_NETWORKS)
def test_points_follow_the_velocity_and_shading_knows_nothing_of_it(name):
    torch.manual_seed(0)
    deformation = MAKERS[name](driving_width=5)
    wake(deformation)
    positions, driving = torch.rand(20, 3), torch.randn(5)
    still, turning = (deformation(positions, driving * torch.tensor([1, 1, v, v, v])) for v in (0, 1))
    assert (still.offsets - turning.offsets).abs().amax(1).min() > 1e-4
    assert torch.equal(still.appearance, turning.appearance)
    hot = driving.clone()
    hot[:2] += 1
    assert (deformation(positions, hot).appearance != turning.appearance).any()


@pytest.mark.parametrize("name", [*WITH_NETWORKS, "lips"])
def test_the_shortest_signal_that_a_configuration_may_ask_for(name):
    least = 4
    deformation = LipExpression(driving_width=least) if name == "lips" else MAKERS[name](driving_width=least)
    assert deformation(torch.rand(9, 3), torch.randn(least)).appearance.isfinite().all()


def test_a_single_part_is_the_global_deformation():
    torch.manual_seed(0)
    one, whole = (
        PartDeformation(parts=1, hidden_width=8, driving_width=5, local_driving=False),
        global_deformation(8, driving_width=5),
    )
    wake(one)
    whole.load_state_dict(one.state_dict())
    positions, driving = torch.rand(20, 3), torch.randn(5)
    assert torch.equal(one(positions, driving).offsets, whole(positions, driving).offsets)


def test_hard_and_soft_agree_far_inside_a_part():
    torch.manual_seed(0)
    deformation = PartDeformation(parts=4, temperature=0.01, top_k=4, hidden_width=8, driving_width=5)
    deformation.place_parts(
        torch.tensor([[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])
    )
    wake(deformation)
    positions = deformation.assigner.centres.detach() + 0.05 * torch.rand(4, 3)
    driving = torch.randn(5)
    soft = deformation(positions, driving).offsets
    deformation.set_hard(True)
    torch.testing.assert_close(deformation(positions, driving).offsets, soft, atol=1e-6, rtol=0)


def test_the_interface_itself_deforms_nothing():
    with pytest.raises(TypeError, match="abstract class Deformation"):
        Deformation()(torch.rand(1, 3), torch.rand(5))


def test_a_fixed_partition_gets_no_gradient_and_its_networks_do():
    torch.manual_seed(0)
    fixed = PartDeformation(parts=4, driving_width=5, learn_parts=False)
    torch.nn.init.normal_(fixed.networks.weight3)
    deformed = fixed(torch.rand(50, 3), torch.rand(5))
    (deformed.offsets.square().sum() + deformed.part_weights.square().sum()).backward()
    assert all(p.grad is None for p in fixed.assigner.parameters())
    assert fixed.networks.weight1.grad.abs().sum() > 0


def test_choices_that_are_off_leave_no_trace():
    """Neither in the checkpoint nor in the random numbers: what was trained before loads and repeats."""
    torch.manual_seed(0)
    plain = PartDeformation(parts=4, driving_width=5, local_driving=False)
    after_plain = torch.rand(1)
    assert set(plain.state_dict()) == {
        *(f"assigner.{name}" for name in ("centres", "log_sizes", "biases", "spacing")),
        *(f"networks.{name}" for name in ("weight1", "weight2", "weight3", "bias1", "bias2", "bias3")),
        *(f"networks.code_{name}" for name in ("driving_weight", "weight", "bias")),
        "networks.driving_weight",
    }
    torch.manual_seed(0)
    chosen = PartDeformation(parts=4, driving_width=5, **EVERY_CHOICE)
    assert torch.equal(torch.rand(1), after_plain)
    wake(plain)
    chosen.networks.load_state_dict(plain.networks.state_dict())
    positions, driving = torch.rand(50, 3), torch.randn(5)
    assert torch.equal(chosen(positions, driving).offsets, plain(positions, driving).offsets)


def test_octaves_come_in_one_after_the_other():
    """At the start a network sees the place alone; a change of an octave's weights tells if it is open."""
    torch.manual_seed(0)
    deformation = PartDeformation(parts=1, num_frequencies=4, driving_width=5, windowed_frequencies=True)
    wake(deformation)
    positions, driving = torch.rand(30, 3), torch.randn(5)
    opened = []
    for progress in (0.0, 0.125, 0.25, 0.375, 0.5, 1.0):
        deformation.set_progress(progress)
        before = deformation(positions, driving).offsets
        felt = 0
        for octave in range(4):
            changed = copy.deepcopy(deformation)
            with torch.no_grad():
                changed.networks.weight1[:, 3 + octave :: 4] += 1
            felt += not torch.equal(changed(positions, driving).offsets, before)
        opened.append(felt)
    assert opened == [0, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("schedule", ["constant", "annealed", "learned"])
def test_the_state_of_a_schedule_travels_with_the_checkpoint(schedule):
    """A checkpoint of a third of training is tested as it was, and resumes where it was."""

    def make() -> PartDeformation:
        made = PartDeformation(
            parts=5, driving_width=5, temperature_schedule=schedule, windowed_frequencies=True
        )
        made.place_parts(torch.rand(5, 3, generator=torch.Generator().manual_seed(0)))
        return made

    trained = make()
    wake(trained)
    trained.set_progress(0.3)
    if schedule == "learned":
        torch.nn.init.constant_(trained.assigner.log_temperature_factor, 0.4)
    positions, driving = torch.rand(40, 3), torch.randn(5)
    expected = trained(positions, driving).offsets
    fresh = make()
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(fresh(positions, driving).offsets, expected)
    fresh.set_progress(0.3)
    assert torch.equal(fresh(positions, driving).offsets, expected)
