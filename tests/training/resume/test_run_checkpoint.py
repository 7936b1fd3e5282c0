"""When the run's checkpoint is written, and what happens when it cannot be, in trainings of a few numbers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import nn
from torch.utils.data import DataLoader

from partnerface.errors import UserError
from partnerface.training.finite_steps import Diverged
from partnerface.training.resume.csv_appender import CsvAppender
from partnerface.training.resume.run_checkpoint import RunCheckpoint

STEPS = 6


class RecordingIO(TorchCheckpointIO):
    """Notes the step and the state of every checkpoint; the first ``failures`` writes fail."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.steps, self.pending, self.logged = failures, [], [], []

    def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
        if self.failures:
            self.failures -= 1
            raise UserError("disk full")
        super().save_checkpoint(checkpoint, path, storage_options)
        self.steps.append(checkpoint["global_step"])
        (state,) = (state for name, state in checkpoint["callbacks"].items() if "RunCheckpoint" in name)
        self.pending.append(state["validation_pending"])
        self.logged.append((Path(path).parents[1] / "metrics.csv").read_text().splitlines()[-1])


class Tiny(LightningModule):
    """Four numbers; ``in_step`` and ``after_step`` are called with the number of the step, from 1."""

    def __init__(self, in_step: Callable = lambda n: None, after_step: Callable = lambda n: None) -> None:
        super().__init__()
        self.layer, self.in_step, self.after_step = nn.Linear(4, 1), in_step, after_step

    def training_step(self, batch, batch_idx):
        self.in_step(self.global_step + 1)
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss)
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx) -> None:
        self.after_step(self.global_step)

    def validation_step(self, batch, batch_idx) -> None:
        self.log("val/loss", self.layer(batch).mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


class Run:
    """A training of six steps in a folder."""

    def __init__(self, folder: Path, every_seconds: float = 1000.0, failures: int = 0) -> None:
        self.folder, self.io = folder, RecordingIO(failures)
        self.callback = RunCheckpoint(every_seconds)

    def fit(self, module: Tiny, validate: bool = False, max_steps: int = STEPS) -> None:
        data = DataLoader(torch.ones(2 * STEPS, 4), batch_size=2)
        self.trainer = Trainer(
            accelerator="cpu",
            max_steps=max_steps,
            max_epochs=-1,
            val_check_interval=STEPS if validate else None,
            limit_val_batches=1.0 if validate else 0,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            default_root_dir=self.folder,
            logger=CsvAppender(self.folder),
            callbacks=[self.callback],
            plugins=[self.io],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        self.trainer.fit(module, data, data if validate else None)


def test_it_is_written_when_the_time_has_come(tmp_path: Path) -> None:
    run = Run(tmp_path)

    def from_the_third_step(number: int) -> None:
        run.callback.every_seconds = 0 if number >= 3 else 1000

    run.fit(Tiny(in_step=from_the_third_step))
    assert run.io.steps == [3, 4, 5, 6]
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == STEPS


def test_the_last_step_is_written_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.fit(Tiny())
    assert run.io.steps == [STEPS]


def test_a_step_is_in_the_log_before_its_checkpoint_is_written(tmp_path: Path) -> None:
    """A run that is killed right after would not come to Lightning's own logging of the step."""
    run = Run(tmp_path, every_seconds=0)
    run.fit(Tiny())
    assert [line.split(",")[0] for line in run.io.logged] == [str(n) for n in range(STEPS)]


def test_it_is_written_when_training_is_stopped(tmp_path: Path) -> None:
    run = Run(tmp_path)

    def stop(number: int) -> None:
        run.trainer.should_stop = number == 4

    run.fit(Tiny(in_step=stop))
    assert run.io.steps == [4]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_it_is_not_written_in_the_middle_of_a_step(tmp_path: Path, error: BaseException) -> None:
    """An error, or a second Ctrl-C: the weights may be half of a step's."""
    run = Run(tmp_path)

    def fail(number: int) -> None:
        if number == 4:
            raise error

    with pytest.raises((ValueError, KeyboardInterrupt, SystemExit)):
        run.fit(Tiny(in_step=fail))
    assert run.io.steps == []


def test_it_is_written_when_training_diverged(tmp_path: Path) -> None:
    run = Run(tmp_path)

    def diverge(number: int) -> None:
        if number == 4:
            raise Diverged("too often")

    with pytest.raises(Diverged):
        run.fit(Tiny(after_step=diverge))
    assert run.io.steps == [4]


def test_a_validation_after_the_last_step_is_noted_until_it_is_done(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.fit(Tiny(), validate=True)
    assert run.io.steps == [STEPS, STEPS]
    assert run.io.pending == [True, False]


def test_a_failed_write_is_one_line_and_is_tried_again(tmp_path: Path, capsys) -> None:
    run = Run(tmp_path, every_seconds=0, failures=2)
    run.fit(Tiny())
    assert run.io.steps == [3, 4, 5, 6]
    assert capsys.readouterr().err.count("partnerface: disk full; training continues\n") == 2


def test_a_failed_write_at_the_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="disk full"):
        Run(tmp_path, failures=1).fit(Tiny())


def test_a_run_without_a_step_writes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.fit(Tiny(), max_steps=0)
    assert run.io.steps == []
