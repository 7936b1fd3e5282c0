"""The exponent of a curve against closed forms."""

import math

import pytest

from partnerface.benchmarks.speed.growth import LINEAR, GrowthCurve, growth_exponent, measured_curve
from partnerface.benchmarks.speed.measurement import Duration

SIZES = [1.0, 2.0, 4.0, 8.0, 64.0]


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, -1.0])
def test_a_power_law_has_its_exponent(exponent):
    assert growth_exponent(SIZES, [7 * s**exponent for s in SIZES]) == pytest.approx(exponent, abs=1e-12)


def test_a_fixed_cost_hides_growth_and_never_adds_to_it():
    assert 0 < growth_exponent(SIZES, [100 + s for s in SIZES]) < 1


def test_noise_is_averaged_as_by_least_squares():
    """Against the normal equations solved by hand for three points."""
    costs = [1.1, 3.7, 20.0]
    x, y = ([math.log(v) for v in values] for values in ((2, 8, 32), costs))
    expected = (3 * sum(a * b for a, b in zip(x, y, strict=True)) - sum(x) * sum(y)) / (
        3 * sum(a * a for a in x) - sum(x) ** 2
    )
    assert growth_exponent([2, 8, 32], costs) == pytest.approx(expected)


@pytest.mark.parametrize(("exponent", "holds"), [(0.2, True), (1.0, True), (1.3, False), (2.0, False)])
def test_the_row_holds_up_to_linear_growth(exponent, holds):
    curve = GrowthCurve("mesh", "triangles", "one step", SIZES, [s**exponent for s in SIZES])
    row = curve.row()
    assert row.name == "growth_mesh"
    assert row.target == LINEAR
    assert row.holds is holds
    assert row.details["sizes"] == SIZES


def test_a_fixed_cost_does_not_hide_the_end_of_the_curve():
    curve = GrowthCurve("x", "axis", "cost", [1, 2, 100, 200, 400], [50, 50, 50, 200, 800])
    assert curve.row().value == pytest.approx(2)
    assert curve.row().holds is False


def test_a_curve_is_the_median_of_rounds_without_the_first():
    calls = {10: [], 20: []}

    def measure(size: int):
        def once() -> Duration:
            calls[size].append(1)
            return Duration(0.0, size * len(calls[size]) / 1000)

        return once

    curve = measured_curve("x", "axis", "cost", {s: measure(s) for s in calls}, rounds=3)
    assert curve.sizes == [10, 20]
    assert curve.milliseconds == pytest.approx([30, 60])
