"""The time left against arithmetic."""

from dataclasses import replace
from pathlib import Path

import pytest

from partnerface.benchmarks.methods.progress import expected_seconds, seconds_left
from partnerface.benchmarks.methods.run import BenchmarkRun, ComputeBudget
from partnerface.benchmarks.methods.subject import BenchmarkSubject
from partnerface.benchmarks.methods.variant import MethodVariant
from partnerface.configuration.config_files import CONFIGS


def _run(method: str = "skinning_only", size: int = 128, seconds: float = 60.0) -> BenchmarkRun:
    subject = BenchmarkSubject("synthetic_a", "synthetic_a", Path("sets/a"), size, frames=240)
    budget = ComputeBudget(cpu_seconds=seconds)
    return BenchmarkRun(MethodVariant(method), subject, 0, budget, Path("out"), CONFIGS)


def test_budget_and_pixels_cost() -> None:
    assert expected_seconds(_run(seconds=160.0)) == expected_seconds(_run()) + 100
    assert expected_seconds(_run(size=256)) > expected_seconds(_run())
    assert expected_seconds(_run("nerface", 256)) > expected_seconds(_run(size=256))


def test_fitting_parameters_to_test_frames_costs_more_than_another_test() -> None:
    run = _run()
    testing = expected_seconds(run) - expected_seconds(replace(run, subject=replace(run.subject, size=1)))
    assert expected_seconds(replace(run, refined=True)) > expected_seconds(run) + 2 * testing
    slow = _run("nerface")
    assert expected_seconds(replace(slow, refined=True)) == expected_seconds(slow)


def test_time_left() -> None:
    run = _run()
    usual = expected_seconds(run)
    assert seconds_left([], [], [(run, usual)], 2) == 0
    assert seconds_left([run] * 4, [], [], 2) == pytest.approx(2 * usual)
    # Runs take half as long as expected here; two are at work.
    finished = [(run, 0.5 * usual)] * 3
    assert seconds_left([run] * 4, [10.0, 20.0], finished, 2) == pytest.approx((2 * usual - 30) / 2)
    assert seconds_left([run], [], finished, 8) == pytest.approx(0.5 * usual)
    assert seconds_left([run], [1e6], finished, 1) == 0
