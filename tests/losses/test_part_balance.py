"""The divergence of the parts' usage from uniform, by hand."""

import math

import pytest
import torch

from partnerface.losses.regularisers import PartBalance


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ([1.0], 0.0),
        ([0.5, 0.5], 0.0),
        ([1.0, 0.0], math.log(2)),
        ([0.0, 0.0, 0.0, 1.0], math.log(4)),
        ([0.75, 0.25], 0.75 * math.log(1.5) + 0.25 * math.log(0.5)),
    ],
)
def test_divergence_in_nats(usage, expected, make_pair):
    rendered, batch = make_pair()
    rendered.deformation.part_usage = torch.tensor([usage])
    assert float(PartBalance()(rendered, batch)) == pytest.approx(expected, abs=1e-4)


def test_descent_takes_from_the_greedy_part(make_pair):
    rendered, batch = make_pair()
    usage = torch.tensor([[0.7, 0.2, 0.1]], requires_grad=True)
    rendered.deformation.part_usage = usage
    PartBalance()(rendered, batch).backward()
    gradient = usage.grad[0]
    assert gradient[0] > gradient[1] > gradient[2]


def test_parts_that_frames_use_in_turn_are_in_balance(make_pair):
    """It is the usage over the whole batch that counts."""
    rendered, batch = make_pair()
    rendered.deformation.part_usage = torch.eye(2)
    assert float(PartBalance()(rendered, batch)) == pytest.approx(0, abs=1e-6)
