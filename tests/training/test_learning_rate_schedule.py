"""Cosine schedule against its closed form."""

import math

import pytest

from partnerface.training.learning_rate_schedule import cosine_factor


def test_closed_form_at_known_places() -> None:
    assert cosine_factor(0.0, warm_up=0.1, final=0.2) == pytest.approx(0.1)
    assert cosine_factor(0.05, warm_up=0.1, final=0.2) == pytest.approx(0.55)
    assert cosine_factor(0.1, warm_up=0.1, final=0.2) == pytest.approx(1.0)
    assert cosine_factor(0.55, warm_up=0.1, final=0.2) == pytest.approx(0.6)
    assert cosine_factor(1.0, warm_up=0.1, final=0.2) == pytest.approx(0.2)
    quarter = 0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi / 4))
    assert cosine_factor(0.325, warm_up=0.1, final=0.2) == pytest.approx(quarter)


@pytest.mark.parametrize("progress", [-1.0, 0.0, 1.0, 1.5])
@pytest.mark.parametrize("warm_up", [0.0, 0.02, 1.0])
def test_stays_in_range_at_the_ends(progress: float, warm_up: float) -> None:
    assert 0.0 <= cosine_factor(progress, warm_up) <= 1.0


def test_falls_after_the_warm_up() -> None:
    values = [cosine_factor(k / 100) for k in range(2, 101)]
    assert values == sorted(values, reverse=True)
