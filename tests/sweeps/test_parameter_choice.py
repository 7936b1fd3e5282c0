"""Draws follow the distributions that W&B documents; what is no choice is refused by name."""

from random import Random

import pytest
from scipy import stats

from partnerface.errors import UserError
from partnerface.sweeps.parameter_choice import parameter_choice

DRAWS = 4000


def _draws(entry: dict) -> list:
    choice, generator = parameter_choice("a.b", entry), Random(7)
    return [choice.draw(generator) for _ in range(DRAWS)]


@pytest.mark.parametrize(
    "entry", [{"min": -2.0, "max": 3.0}, {"distribution": "uniform", "min": -2, "max": 3}]
)
def test_uniform(entry: dict) -> None:
    assert stats.kstest(_draws(entry), stats.uniform(-2, 5).cdf).pvalue > 0.01


def test_log_uniform_values_takes_the_values_themselves() -> None:
    drawn = _draws({"distribution": "log_uniform_values", "min": 1e-5, "max": 10})
    assert stats.kstest(drawn, stats.loguniform(1e-5, 10).cdf).pvalue > 0.01
    assert 1e-5 <= min(drawn) <= max(drawn) <= 10


@pytest.mark.parametrize("entry", [{"min": 3, "max": 8}, {"distribution": "int_uniform", "min": 3, "max": 8}])
def test_int_uniform_includes_both_ends(entry: dict) -> None:
    drawn = _draws(entry)
    counts = [drawn.count(value) for value in range(3, 9)]
    assert sum(counts) == DRAWS
    assert stats.chisquare(counts).pvalue > 0.01
    assert all(type(value) is int for value in drawn)


def test_q_uniform_gives_multiples_and_half_the_share_at_the_ends() -> None:
    drawn = _draws({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25})
    counts = [drawn.count(value) for value in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert sum(counts) == DRAWS
    expected = [DRAWS / 8, DRAWS / 4, DRAWS / 4, DRAWS / 4, DRAWS / 8]
    assert stats.chisquare(counts, expected).pvalue > 0.01
    assert set(_draws({"distribution": "q_uniform", "min": 1, "max": 2})) == {1, 2}


def test_listed_values_are_equally_likely() -> None:
    drawn = _draws({"values": ["a", True, 3]})
    assert stats.chisquare([drawn.count("a"), drawn.count(True), drawn.count(3)]).pvalue > 0.01
    assert set(_draws({"value": "x"})) == {"x"}


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        (3, "write {value"),
        ([1, 2], "write {value"),
        ({}, "give value, values, or min and max"),
        ({"min": 1, "max": 2.0}, "both whole or both"),
        ({"min": 1}, "min and max"),
        ({"distribution": ["uniform"], "min": 1, "max": 2}, "distribution '['uniform']'"),
        ({"distribution": "uniform", "min": 1}, "takes min and max"),
        ({"values": []}, "not empty"),
        ({"values": 3}, "must be a list"),
        ({"values": [1, None]}, 'write "null" in quotes'),
        ({"values": [1], "probabilities": [1]}, "unknown key 'probabilities'"),
        ({"parameters": {"c": {"value": 1}}}, "flat dotted name"),
        ({"distribution": "normal", "min": 0, "max": 1}, "distribution 'normal'"),
        ({"distribution": "log_uniform", "min": 0, "max": 1}, "distribution 'log_uniform'"),
        ({"distribution": "uniform", "min": 2, "max": 1}, "must not be above"),
        ({"distribution": "uniform", "min": "1e-3", "max": 1}, "1e-3 is text in YAML"),
        ({"distribution": "uniform", "min": 0, "max": float("nan")}, "must be a number"),
        ({"distribution": "uniform", "min": False, "max": 1}, "must be a number"),
        ({"distribution": "uniform", "min": 0, "max": 1, "q": 1}, "takes min and max"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "above 0"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 1}, "whole numbers"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "q must be positive"),
        ({"distribution": "uniform", "values": [1], "min": 0, "max": 1}, "takes min and max"),
        ({"value": 1, "values": [1]}, "nothing else"),
        ({"distribution": "constant", "values": [1]}, "takes value and nothing else"),
    ],
)
def test_what_is_no_choice_is_refused_by_name(entry: object, part: str) -> None:
    with pytest.raises(UserError) as refused:
        parameter_choice("model.width", entry)
    assert str(refused.value).startswith("model.width: ")
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)
