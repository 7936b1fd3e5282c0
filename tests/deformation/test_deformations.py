"""What holds for part, global and no deformation alike, and what sets them apart."""

from collections.abc import Callable

import pytest
import torch

from partnerface.deformation.deformation import Deformation, dense_part_weights
from partnerface.deformation.global_deformation import global_deformation
from partnerface.deformation.no_deformation import NoDeformation
from partnerface.deformation.part_deformation import OFFSET_SCALE, PartDeformation

MAKERS: dict[str, Callable[..., Deformation]] = {
    "parts": lambda **k: PartDeformation(parts=6, top_k=2, hidden_width=8, **k),
    "all parts": lambda **k: PartDeformation(parts=4, top_k=4, hidden_width=8, **k),
    "global": lambda **k: global_deformation(hidden_width=8, **k),
    "none": lambda appearance_width=0, **k: NoDeformation(**k),
}
WITH_NETWORKS = ["parts", "all parts", "global"]


@pytest.fixture(params=MAKERS)
def deformation(request) -> Deformation:
    torch.manual_seed(0)
    made = MAKERS[request.param](driving_width=5)
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
    dense = dense_part_weights(deformed, deformation.parts)
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


def test_a_single_part_is_the_global_deformation():
    torch.manual_seed(0)
    one, whole = (
        PartDeformation(parts=1, hidden_width=8, driving_width=5),
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
    with pytest.raises(TypeError, match="Deformation defines no forward"):
        Deformation()(torch.rand(1, 3), torch.rand(5))


def test_a_fixed_partition_gets_no_gradient_and_its_networks_do():
    torch.manual_seed(0)
    fixed = PartDeformation(parts=4, driving_width=5, learn_parts=False)
    torch.nn.init.normal_(fixed.networks.weight3)
    deformed = fixed(torch.rand(50, 3), torch.rand(5))
    (deformed.offsets.square().sum() + deformed.part_weights.square().sum()).backward()
    assert all(p.grad is None for p in fixed.assigner.parameters())
    assert fixed.networks.weight1.grad.abs().sum() > 0
