"""Shares of the budget against a clock that the test moves."""

from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import Timer

from partnerface.training.callbacks.budgets import SETTLING_STEPS, TimeBudget, budget_timer


class _Clock(Timer):
    """A timer of 100 s whose time the test sets."""

    now = 0.0

    def time_elapsed(self, stage: str = "train") -> float:
        return self.now


def _trainer(timer: Timer | None) -> SimpleNamespace:
    callbacks = [] if timer is None else [timer]
    return SimpleNamespace(
        callbacks=callbacks, global_step=0, strategy=SimpleNamespace(broadcast=lambda value: value)
    )


def _share(budget: TimeBudget, trainer: SimpleNamespace, step: int) -> float:
    trainer.global_step = step
    module = SimpleNamespace(elapsed_share=0.0)
    budget.on_train_batch_start(trainer, module, None, 0)
    return module.elapsed_share


def test_share_counts_from_the_first_steps_to_the_end_of_the_budget() -> None:
    clock = _Clock({"seconds": 100})
    trainer, budget = _trainer(clock), TimeBudget()
    budget.on_train_start(trainer, None)
    clock.now = 15.0
    assert _share(budget, trainer, 1) == 0.0
    clock.now = 20.0
    assert _share(budget, trainer, SETTLING_STEPS) == 0.0
    clock.now = 60.0
    assert _share(budget, trainer, 50) == pytest.approx(0.5)
    clock.now = 130.0
    assert _share(budget, trainer, 90) == 1.0


def test_a_resumed_run_goes_on_at_its_share() -> None:
    clock = _Clock({"seconds": 100})
    clock.now = 40.0
    trainer, budget = _trainer(clock), TimeBudget()
    budget.on_train_start(trainer, None)
    assert _share(budget, trainer, 1) == pytest.approx(0.4)


def test_without_a_limit_nothing_happens() -> None:
    trainer, budget = _trainer(None), TimeBudget()
    budget.on_train_start(trainer, None)
    assert _share(budget, trainer, 100) == 0.0
    assert budget_timer(_trainer(Timer())) is None
