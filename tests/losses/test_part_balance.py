"""The divergence of the parts' usage from uniform, by hand."""

import math

import pytest
import torch

from partnerface.losses.part_balance import PartBalance


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
    rendered.part_usage = torch.tensor(usage)
    assert float(PartBalance()(rendered, batch)) == pytest.approx(expected, abs=1e-4)


def test_descent_takes_from_the_greedy_part(make_pair):
    rendered, batch = make_pair()
    rendered.part_usage = torch.tensor([0.7, 0.2, 0.1], requires_grad=True)
    PartBalance()(rendered, batch).backward()
    gradient = rendered.part_usage.grad
    assert gradient[0] > gradient[1] > gradient[2]
