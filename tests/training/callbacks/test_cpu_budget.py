"""CPU seconds against a clock that the test moves, and in a real training that is resumed."""

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest

from partnerface.cli.main import main
from partnerface.errors import UserError
from partnerface.runs.run import CPU_SECONDS
from partnerface.training.callbacks import budgets as cpu_budget
from partnerface.training.callbacks.budgets import SETTLING_STEPS, CpuBudget


class _Run:
    """Steps that take as many CPU seconds as the test says."""

    def __init__(self, budget: CpuBudget, monkeypatch: pytest.MonkeyPatch) -> None:
        self.budget, self.now, self.logged = budget, 1000.0, []
        monkeypatch.setattr(cpu_budget, "time", SimpleNamespace(process_time=lambda: self.now))
        logger = SimpleNamespace(log_metrics=lambda values, step: self.logged.append((values, step)))
        strategy = SimpleNamespace(broadcast=lambda value: value)
        self.trainer = SimpleNamespace(should_stop=False, strategy=strategy, loggers=[logger], global_step=0)
        self.module = SimpleNamespace(elapsed_shares={"cpu": 0.0})
        budget.on_fit_start(self.trainer, self.module)

    def step(self, seconds: float) -> None:
        self.now += seconds
        self.trainer.global_step += 1
        self.budget.on_train_batch_end(self.trainer, self.module)


def test_the_schedules_follow_and_training_ends_with_the_budget(monkeypatch) -> None:
    run = _Run(CpuBudget(10.0), monkeypatch)
    for _ in range(SETTLING_STEPS):
        run.step(50.0)
    assert run.module.elapsed_shares["cpu"] == 0.0
    run.step(4.0)
    assert run.module.elapsed_shares["cpu"] == pytest.approx(0.4)
    assert not run.trainer.should_stop
    run.step(7.0)
    assert run.module.elapsed_shares["cpu"] == 1.0
    assert run.trainer.should_stop
    run.budget.on_fit_end(run.trainer, run.module)
    assert run.logged == [({"train/cpu_seconds": pytest.approx(11.0)}, SETTLING_STEPS + 2)]


def test_a_resumed_run_goes_on_at_its_share(monkeypatch) -> None:
    budget = CpuBudget(10.0)
    budget.load_state_dict({"spent": 4.0})
    run = _Run(budget, monkeypatch)
    assert run.module.elapsed_shares["cpu"] == pytest.approx(0.4)
    for seconds in (1.0,) * SETTLING_STEPS + (6.5,):
        assert not run.trainer.should_stop
        run.step(seconds)
    assert run.trainer.should_stop
    assert budget.state_dict() == {"spent": pytest.approx(10.5)}


def test_a_run_that_has_spent_its_budget_ends_before_its_first_step(monkeypatch) -> None:
    budget = CpuBudget(10.0)
    budget.load_state_dict({"spent": 10.2})
    assert _Run(budget, monkeypatch).trainer.should_stop


def test_without_a_budget_it_only_counts(monkeypatch) -> None:
    run = _Run(CpuBudget(), monkeypatch)
    for _ in range(SETTLING_STEPS + 3):
        run.step(2.0)
    assert run.budget.spent == pytest.approx(6.0)
    assert run.module.elapsed_shares["cpu"] == 0.0
    assert not run.trainer.should_stop


def test_a_budget_of_nothing() -> None:
    with pytest.raises(UserError, match="0 seconds"):
        CpuBudget(0.0)


def _logged(run_dir: Path) -> list[tuple[int, float]]:
    with (run_dir / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == CPU_SECONDS]
    return [(int(row["step"]), float(row["value"])) for row in rows]


def test_a_real_training_ends_in_time_and_is_not_repeated(smoke_arguments: list[str], tmp_path: Path) -> None:
    arguments = [
        "fit",
        *smoke_arguments,
        f"--run_dir={tmp_path}",
        "--trainer.max_steps=-1",
        "--trainer.limit_val_batches=0",
        "--trainer.callbacks+=partnerface.training.callbacks.budgets.CpuBudget",
        "--trainer.callbacks.seconds=0.3",
    ]
    assert main(arguments) == 0
    assert main([*arguments, "--ckpt_path", "last"]) == 0
    # The second call trained no step, and says the same again.
    first, again = _logged(tmp_path)
    assert first == again
    steps, seconds = first
    assert steps > SETTLING_STEPS
    assert seconds >= 0.3
    assert not (tmp_path / "renderings").exists()
