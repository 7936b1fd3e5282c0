import pytest
import torch

from partnerface.losses.loss import Loss, weighted_sum


class Constant(Loss):
    """A term that is what it is told."""

    def __init__(self, value: float, weight: float) -> None:
        super().__init__(weight)
        self.value = value

    def forward(self, rendered, batch):
        return rendered.rays.opacity.sum() * 0 + self.value


def test_the_sum_is_weighted_and_the_terms_are_not(make_pair):
    losses = {"light": Constant(3.0, 0.5), "heavy": Constant(2.0, 10.0)}
    total, terms = weighted_sum(losses, *make_pair())
    assert total.item() == pytest.approx(21.5)
    assert {name: term.item() for name, term in terms.items()} == {"light": 3.0, "heavy": 2.0}


def test_a_term_of_weight_zero_is_known_but_spoils_nothing(make_pair):
    rendered, batch = make_pair()
    total, terms = weighted_sum({"off": Constant(torch.nan, 0.0), "on": Constant(1.0, 2.0)}, rendered, batch)
    assert terms["off"].isnan()
    total.backward()
    assert total.item() == 2.0
    assert rendered.rays.opacity.grad.isfinite().all()


def test_a_term_of_weight_zero_is_not_computed_for_a_step_that_nobody_looks_at(make_pair):
    class Unseen(Loss):
        def forward(self, rendered, batch):
            raise AssertionError

    losses = {"off": Unseen(0.0), "on": Constant(1.0, 2.0), "more": Constant(0.5, 0.25)}
    total, terms = weighted_sum(losses, *make_pair(), with_all=False)
    assert total.item() == 2.125
    assert set(terms) == {"on", "more"}
