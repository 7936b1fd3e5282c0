"""Shares of the budget against a clock that the test moves."""

from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import Timer

from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.training.callbacks.budgets import SETTLING_STEPS, TimeBudget, budget_timer
from partnerface.training.module import AvatarModule


class _Clock(Timer):
    """A timer of 100 s whose time the test sets."""

    now = 0.0

    def time_elapsed(self, stage: str = "train") -> float:
        return self.now


def _trainer(timer: Timer | None) -> SimpleNamespace:
    callbacks = [] if timer is None else [timer]
    return SimpleNamespace(
        callbacks=callbacks,
        global_step=0,
        strategy=SimpleNamespace(broadcast=lambda value: value),
        datamodule=_Data(),
    )


class _Data(HeadVideoDataModule):
    """Notes from which steps on patches are asked for."""

    def __init__(self) -> None:
        self.patches_from, self.begun = 0.8, []

    def begin_patches(self, step: int) -> None:
        self.begun.append(step)


def _share(budget: TimeBudget, trainer: SimpleNamespace, step: int) -> float:
    trainer.global_step = step
    module = SimpleNamespace(elapsed_shares={"time": 0.0})
    budget.on_train_batch_start(trainer, module, None, 0)
    return module.elapsed_shares["time"]


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
    # By it a shorter time is told from the same, once it is spent.
    assert budget.state_dict() == {"seconds": 100}


def test_patches_begin_once_their_share_of_the_time_is_spent() -> None:
    clock = _Clock({"seconds": 100})
    trainer, budget = _trainer(clock), TimeBudget()
    budget.on_train_start(trainer, None)
    for step, clock.now in ((SETTLING_STEPS, 0.0), (7, 79.0), (8, 80.0), (9, 90.0)):
        _share(budget, trainer, step)
    assert trainer.datamodule.begun == [8, 9]


def test_two_budgets_do_not_overwrite_each_other() -> None:
    """The larger share leads the schedules."""
    trainer = SimpleNamespace(max_steps=100)
    module = SimpleNamespace(trainer=trainer, global_step=10, elapsed_shares={"time": 0.1, "cpu": 0.6})
    assert AvatarModule.progress.fget(module) == 0.6
    module.elapsed_shares = {}
    assert AvatarModule.progress.fget(module) == 0.1
    trainer.max_steps = -1
    assert AvatarModule.progress.fget(module) == 0.0


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
