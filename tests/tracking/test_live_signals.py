"""Filter and neutral of a live performer, against closed forms."""

import math

import numpy as np
import pytest

from partnerface.tracking.live_signals import OneEuroFilter, RunningNeutral


def first_order_weight(cutoff: float, step: float) -> float:
    """Of an RC low-pass: the step over the step and the time constant."""
    return step / (step + 1 / (2 * math.pi * cutoff))


def test_without_beta_a_step_is_approached_like_a_charging_capacitor():
    smooth, weight = OneEuroFilter(1.5, beta=0.0), first_order_weight(1.5, 0.04)
    assert smooth(np.zeros(1), 0.0) == 0
    for count in range(1, 20):
        assert smooth(np.ones(1), 0.04 * count)[0] == pytest.approx(1 - (1 - weight) ** count)


def test_at_rest_noise_falls_as_a_first_order_low_pass_says():
    noise = np.random.default_rng(0).normal(size=(20000, 1))
    smooth, weight = OneEuroFilter(1.0, beta=0.0), first_order_weight(1.0, 0.04)
    smoothed = np.array([smooth(value, 0.04 * i) for i, value in enumerate(noise)])[100:]
    assert smoothed.std() == pytest.approx(math.sqrt(weight / (2 - weight)), rel=0.05)


def test_at_constant_speed_it_lags_as_much_as_the_raised_cutoff_lets_it():
    speed, step, beta = 3.0, 0.02, 0.7
    smooth = OneEuroFilter(0.5, beta)
    for i in range(2000):
        before = smooth(np.array([speed * i * step]), i * step)[0]
    after = smooth(np.array([speed * 2000 * step]), 2000 * step)[0]
    assert after - before == pytest.approx(speed * step, rel=1e-6)
    # The speed is measured from the value that lags; its filter has settled.
    gap = speed * 2000 * step - before
    assert (after - before) / gap == pytest.approx(
        first_order_weight(0.5 + beta * gap / step, step), rel=1e-6
    )


def test_each_signal_has_its_own_cutoff_and_a_repeated_time_changes_nothing():
    smooth = OneEuroFilter(0.2, beta=5.0)
    for i in range(50):
        value = smooth(np.array([0.2 * i, 0.01 * (-1) ** i]), 0.04 * i)
    assert abs(value[0] - 0.2 * 49) < 0.1
    assert abs(value[1]) < 0.005
    assert np.array_equal(smooth(np.array([100.0, 100.0]), 0.04 * 49), value)


def watch(neutral: RunningNeutral, signals: np.ndarray, fps: float = 10.0, start: float = 0.0) -> None:
    for i, row in enumerate(signals):
        neutral.observe(np.atleast_1d(row), np.array([row.sum(), 1.0]), start + i / fps)


def test_the_neutral_is_a_low_quantile_of_the_last_minute_and_not_the_first_picture():
    values = np.random.default_rng(1).beta(0.5, 2, size=900)
    values[0] = 1.0
    neutral = RunningNeutral()
    watch(neutral, values[:300], fps=9.5)
    assert neutral.signals[0] == pytest.approx(np.quantile(values[:300], 0.15))
    watch(neutral, values[300:], fps=9.5, start=40.0)
    assert neutral.signals[0] == pytest.approx(np.quantile(values[-600:], 0.15))


def test_an_open_mouth_at_the_start_is_not_neutral_for_long():
    neutral = RunningNeutral()
    watch(neutral, np.full(20, 0.8))
    assert neutral.signals[0] == 0.8
    watch(neutral, np.full(20, 0.02), start=2.0)
    assert neutral.signals[0] == 0.02


def test_fast_pictures_do_not_shorten_the_memory():
    neutral = RunningNeutral()
    watch(neutral, np.linspace(0, 1, 1201), fps=60.0)
    # 20 seconds of a rise, at any rate.
    assert neutral.signals[0] == pytest.approx(0.15, abs=0.01)


def test_the_pose_is_relative_to_the_first_two_seconds_whatever_comes_later():
    neutral = RunningNeutral()
    watch(neutral, np.array([0.0, 0.1, 0.2, 5.0, 0.2] * 4), fps=9.5)
    reference = neutral.reference.copy()
    assert reference == pytest.approx([0.2, 1.0])
    watch(neutral, np.full(50, 9.0), start=4.0)
    assert np.array_equal(neutral.reference, reference)


def test_taken_is_the_mean_of_the_last_half_second_and_stays():
    neutral = RunningNeutral()
    neutral.take()
    assert not len(neutral.signals)
    watch(neutral, np.linspace(0, 1, 31))
    neutral.take()
    assert neutral.signals[0] == pytest.approx(np.linspace(0, 1, 31)[-6:].mean())
    taken = neutral.signals.copy(), neutral.reference.copy()
    watch(neutral, np.zeros(100), start=4.0)
    assert np.array_equal(neutral.signals, taken[0])
    assert np.array_equal(neutral.reference, taken[1])
