"""Grids against itertools; random sweeps are repeatable, free of repeats, and grow at their end."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest

from partnerface.errors import UserError
from partnerface.sweeps.combinations import combinations
from partnerface.sweeps.parameter_choice import parameter_choice
from partnerface.sweeps.sweep_file import Sweep


def _sweep(method: str, parameters: dict, cap: int | None = None) -> Sweep:
    choices = tuple(parameter_choice(name, entry) for name, entry in parameters.items())
    return Sweep("s", "", method, "loss", False, choices, ("${args}",), None, cap)


LISTS = {"a": [1, 2, 3], "b.c": ["x", True], "seed": [0, 1]}
GRID = {name: {"values": values} for name, values in LISTS.items()}


def test_a_grid_is_the_product_in_the_order_of_the_file() -> None:
    expected = [dict(zip(LISTS, row, strict=True)) for row in itertools.product(*LISTS.values())]
    assert combinations(_sweep("grid", GRID)) == expected
    assert combinations(_sweep("grid", GRID), count=5) == expected[:5]
    assert combinations(_sweep("grid", GRID, cap=4), count=5) == expected[:4]
    assert combinations(_sweep("grid", GRID), count=99) == expected


def test_a_value_that_is_listed_twice_runs_once() -> None:
    assert combinations(_sweep("grid", {"a": {"values": [1, 2, 1]}})) == [{"a": 1}, {"a": 2}]
    # Equal for Python, but not on the command line.
    assert len(combinations(_sweep("grid", {"a": {"values": [1, True, 1.0]}}))) == 3


def test_random_is_repeatable_and_a_larger_count_keeps_the_first() -> None:
    sweep = _sweep("random", {"x": {"min": 0.0, "max": 1.0}, "n": {"min": 1, "max": 3}, "v": {"value": "k"}})
    few, many = combinations(sweep, 5, seed=3), combinations(sweep, 50, seed=3)
    assert few == many[:5] == combinations(sweep, 5, seed=3)
    assert few != combinations(sweep, 5, seed=4)
    assert {row["v"] for row in many} == {"k"}
    assert len({row["x"] for row in many}) == 50
    assert set(Counter(row["n"] for row in many)) == {1, 2, 3}


def test_few_combinations_are_all_met_once() -> None:
    drawn = combinations(_sweep("random", GRID), 100)
    assert len(drawn) == 12
    assert sorted(map(str, drawn)) == sorted(map(str, combinations(_sweep("grid", GRID))))


def test_random_needs_an_end() -> None:
    endless = _sweep("random", GRID)
    with pytest.raises(UserError, match="--count"):
        combinations(endless)
    assert len(combinations(replace(endless, run_cap=3))) == 3
