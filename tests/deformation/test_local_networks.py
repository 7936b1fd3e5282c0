"""The schedules' shape: where they start, that they never turn back, when they rest."""

import itertools

import pytest
import torch

from partnerface.deformation.part_assigner import SETTLED, annealing_factor, settled_share
from partnerface.deformation.part_networks import LocalNetworks


def test_a_schedule_rises_evenly_then_rests():
    shares = [settled_share(k / 100) for k in range(101)]
    half = round(100 * SETTLED)
    assert shares[0] == 0
    steps = [b - a for a, b in itertools.pairwise(shares[: half + 1])]
    assert steps == pytest.approx([1 / half] * half)
    assert set(shares[half:]) == {1.0}


@pytest.mark.parametrize("progress", [-0.1, 1.3])
def test_progress_beyond_its_range_is_that_of_its_ends(progress):
    assert settled_share(progress) == settled_share(min(max(progress, 0), 1))


@pytest.mark.parametrize(("start", "end"), [(1.0, 0.1), (0.1, 1.0), (0.3, 0.3)])
def test_annealing_joins_both_ends_with_equal_ratios(start, end):
    values = [end * annealing_factor(start, end, k / 10 * SETTLED) for k in range(11)]
    assert values[0] == pytest.approx(start)
    assert values[-1] == pytest.approx(end)
    ratios = [b / a for a, b in itertools.pairwise(values)]
    assert ratios == pytest.approx([ratios[0]] * 10)


PARTS, INPUTS, DRIVING, HIDDEN, CODE, CODE_DRIVING = 5, 7, 6, 8, 4, 2
OUTPUTS = 3 + CODE


def make_networks() -> LocalNetworks:
    torch.manual_seed(0)
    networks = LocalNetworks(PARTS, INPUTS, DRIVING, HIDDEN, CODE, CODE_DRIVING)
    for parameter in networks.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return networks


def in_two_frames(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random driving signals ``[2, P, D]`` and the frames of points, in turns."""
    return torch.randn(2, PARTS, DRIVING), (torch.arange(count) % 2).int()


def one_point(
    networks: LocalNetworks, part: int, feature: torch.Tensor, driving: torch.Tensor
) -> torch.Tensor:
    first = feature @ networks.weight1[part] + networks.bias1[part]
    hidden = (first[:HIDDEN] + driving @ networks.driving_weight[part]).relu()
    hidden = (hidden @ networks.weight2[part] + networks.bias2[part]).relu()
    of_code = (first[HIDDEN:] + driving[:CODE_DRIVING] @ networks.code_driving_weight[part]).relu()
    offset = hidden @ networks.weight3[part] + networks.bias3[part]
    return torch.cat([offset, of_code @ networks.code_weight[part] + networks.code_bias[part]])


@pytest.mark.parametrize("routes", [1, 2, PARTS])
def test_values_and_gradients_equal_a_dense_loop(routes):
    networks = make_networks()
    # Part 3 gets no point at all.
    index = torch.rand(60, PARTS).argsort(1)[:, :routes]
    index[index == 3] = 1
    weights = torch.rand(60, routes)
    # Nor does frame 1, of three with a signal of its own for each network.
    frame = 2 * torch.randint(2, (60,), dtype=torch.int32)
    features = torch.randn(60, INPUTS, requires_grad=True)
    driving = torch.randn(3, PARTS, DRIVING, requires_grad=True)
    leaves = [features, driving, *networks.parameters()]
    found = networks(features, driving, frame, weights, index)

    def of_route(n: int, k: int) -> torch.Tensor:
        part = index[n, k]
        return weights[n, k] * one_point(networks, part, features[n], driving[frame[n], part])

    expected = torch.stack([sum(of_route(n, k) for k in range(routes)) for n in range(60)])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    factor = torch.randn(60, OUTPUTS)
    gradients = torch.autograd.grad((found * factor).sum(), leaves)
    wanted = torch.autograd.grad((expected * factor).sum(), leaves)
    for a, b in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)
    assert not gradients[2][3].any()
    assert not gradients[1][1].any()


def test_output_is_zero_at_the_start():
    torch.manual_seed(0)
    networks = LocalNetworks(PARTS, INPUTS, DRIVING, HIDDEN, CODE, CODE_DRIVING)
    index = torch.randint(PARTS, (30, 2))
    output = networks(torch.randn(30, INPUTS), *in_two_frames(30), torch.rand(30, 2), index)
    assert not output.any()
    output.sum().backward()
    assert networks.bias3.grad.any()


def test_parts_share_nothing():
    """A change of one part's weights moves only the points that it acts on."""
    networks = make_networks()
    index = torch.arange(PARTS).repeat(4)[:, None]
    arguments = torch.randn(20, INPUTS), *in_two_frames(20), torch.ones(20, 1), index
    before = networks(*arguments)
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter[2] += 1
    changed = (networks(*arguments) - before).abs().amax(1) > 1e-6
    assert torch.equal(changed, index[:, 0] == 2)


def test_no_points():
    networks = make_networks()
    none = torch.zeros(0, 2)
    output = networks(torch.zeros(0, INPUTS), *in_two_frames(0), none, none.long())
    assert output.shape == (0, OUTPUTS)
    output.sum().backward()
    assert not networks.weight1.grad.any()
