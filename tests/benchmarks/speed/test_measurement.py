"""Variants take turns; a row says whether its value holds, and why there is none."""

import json
import math

import pytest

from partnerface.benchmarks.speed.measurement import (
    Duration,
    ResultRow,
    Target,
    duration_of,
    interleaved,
    measured_row,
    ratios,
)


def test_variants_take_turns():
    order = []

    def variant(name: str):
        def measure() -> Duration:
            order.append(name)
            return Duration(len(order), 10 * len(order))

        return measure

    found = interleaved({"a": variant("a"), "b": variant("b")}, 3)
    assert order == ["a", "b"] * 3
    assert [d.wall for d in found["a"]] == [1, 3, 5]
    assert [d.cpu for d in found["b"]] == [20, 40, 60]


def test_a_busy_round_cancels_in_the_ratio():
    """The machine is three times slower in the second round; the ratio is two all the same."""
    assert ratios([4.0, 12.0, 4.0], [2.0, 6.0, 2.0]) == [2.0, 2.0, 2.0]


def test_shares_and_sums():
    assert Duration(6.0, 4.0).per(2) == Duration(3.0, 2.0)
    assert Duration(6.0, 4.0).plus(Duration(1.0, 0.5)) == Duration(7.0, 4.5)


def test_work_is_run_once():
    calls = []
    taken = duration_of(lambda: calls.append(1))
    assert calls == [1]
    assert taken.wall >= 0
    assert taken.cpu >= 0


@pytest.mark.parametrize(
    ("comparison", "value", "expected"),
    [(">=", 3.0, True), (">=", 2.999, False), ("<=", 3.0, True), ("<=", 3.001, False), ("<=", -5, True)],
)
def test_a_bound_belongs_to_what_holds(comparison, value, expected):
    assert Target(comparison, 3.0).holds(value) is expected


def test_no_value_is_neither_and_no_number_never_holds():
    for comparison in (">=", "<="):
        assert Target(comparison, 3.0).holds(None) is None
        assert Target(comparison, 3.0).holds(math.nan) is False


def test_the_value_is_the_median_and_the_spread_stands_beside_it():
    row = measured_row("speed", [9.0, 1.0, 2.0, 4.0], "x", Target(">=", 3.0), "how", other=[1])
    assert row.as_json() == {
        "name": "speed",
        "value": 3.0,
        "unit": "x",
        "target": ">= 3",
        "holds": True,
        "note": "how",
        "spread": {"median": 3.0, "min": 1.0, "max": 9.0, "samples": [9.0, 1.0, 2.0, 4.0]},
        "details": {"other": [1]},
    }


def test_cpu_time_stands_beside_wall_time():
    row = measured_row("speed", [9.0, 1.0], "x", by_cpu_time=[4.0, 6.0, 5.0])
    assert row.value == 5.0
    assert row.as_json()["by_cpu_time"] == {"median": 5.0, "min": 4.0, "max": 6.0, "samples": [4.0, 6.0, 5.0]}


def test_what_is_missing_says_why_and_becomes_null():
    row = json.loads(
        json.dumps(ResultRow("fps", None, "frames/s", Target(">=", 60), "no CUDA device").as_json())
    )
    assert row["value"] is None
    assert row["holds"] is None
    assert row["target"] == ">= 60"
    assert row["note"] == "no CUDA device"
    assert "spread" not in row


def test_a_row_without_target_has_nothing_to_hold():
    assert ResultRow("rate", 5.0, "rays/s").as_json()["holds"] is None
