"""The schedules' shape: where they start, that they never turn back, when they rest."""

import itertools

import pytest

from partnerface.deformation.coarse_to_fine import SETTLED, annealing_factor, settled_share


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
