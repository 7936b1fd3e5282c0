import pytest

from partnerface.benchmarks.compute_budget import ComputeBudget
from partnerface.user_error import UserError


def test_cpu_seconds_alone_end_a_training() -> None:
    flags = ComputeBudget(cpu_seconds=60.0).fit_flags()
    assert "--trainer.max_steps=-1" in flags
    assert "--trainer.max_time=null" in flags
    assert flags[-2:] == [
        "--trainer.callbacks+=partnerface.training.callbacks.cpu_budget.CpuBudget",
        "--trainer.callbacks.seconds=60",
    ]


def test_steps_are_only_counted_in_cpu_seconds() -> None:
    budget = ComputeBudget(steps=20)
    assert "--trainer.max_steps=20" in budget.fit_flags()
    assert not any("seconds" in flag for flag in budget.fit_flags())
    assert budget.as_json() == {"steps": 20}
    assert str(budget) == "20 steps"


@pytest.mark.parametrize("given", [{}, {"steps": 3, "cpu_seconds": 4.0}])
def test_one_of_the_two(given: dict) -> None:
    with pytest.raises(ValueError, match="either"):
        ComputeBudget(**given)


@pytest.mark.parametrize("given", [{"steps": 0}, {"cpu_seconds": -1.0}])
def test_nothing_to_spend(given: dict) -> None:
    with pytest.raises(UserError, match="must be more than 0"):
        ComputeBudget(**given)
