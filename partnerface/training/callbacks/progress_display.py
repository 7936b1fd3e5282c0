"""ProgressDisplay: progress and time left, as a bar on a terminal and as plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from partnerface.compute.ranges import Between
from partnerface.runs.engine import clock
from partnerface.training.callbacks.budgets import budget_timer

SECONDS_BETWEEN_UPDATES = 0.2
"""Least time between two updates of the bar on a terminal."""


class ProgressDisplay(Callback):
    """Shows the progress of training, testing and prediction on standard error.

    The time left in training is that of the remaining steps at the mean pace so far, validation included,
    or that of the time budget, whichever ends sooner.

    Args:
        seconds_between_lines: least time between two plain lines, if standard error is no terminal.
    """

    def __init__(self, seconds_between_lines: Between[float, 0, 1e9] = 30.0) -> None:
        self.seconds_between_lines = seconds_between_lines
        self._console = Console(stderr=True)
        self._progress: Progress | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first_step = trainer.global_step
        self._timer = budget_timer(trainer)
        self._open(trainer, "training")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        step, total = trainer.global_step, trainer.max_steps
        done, left = self._pace(step - self._first_step, total - self._first_step if total > 0 else None)

        def text() -> str:
            psnr = trainer.callback_metrics.get("train/psnr")
            return f"step {step}" + ("" if psnr is None else f" · train PSNR {float(psnr):.1f} dB")

        self._show(done, left, text)

    def _pace(self, steps: int, total: int | None) -> tuple[float, float | None]:
        """Share of the work that is done, and seconds left; None if neither steps nor time are limited.

        Both ``steps`` and ``total``, None if not limited, count from where training started or was resumed.
        """
        candidates: list[tuple[float, float]] = []
        elapsed = time.monotonic() - self._start
        if total:
            candidates.append((steps / total, elapsed / max(steps, 1) * (total - steps)))
        if self._timer is not None:
            spent, left = self._timer.time_elapsed(), max(self._timer.time_remaining(), 0.0)
            candidates.append((spent / (spent + left), left))
        return min(candidates, key=lambda c: c[1]) if candidates else (0.0, None)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    on_test_end = on_predict_end = on_train_end

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open(trainer, "rendering test frames")
        self._frames, self._total_frames = 0, sum(trainer.num_test_batches)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open(trainer, "rendering frames")
        self._frames, self._total_frames = 0, sum(trainer.num_predict_batches)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        self._frames += 1
        elapsed = time.monotonic() - self._start
        left = elapsed / self._frames * (self._total_frames - self._frames)
        self._show(self._frames / self._total_frames, left, lambda: f"{self._frames}/{self._total_frames}")

    on_predict_batch_end = on_test_batch_end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _open(self, trainer: Trainer, title: str) -> None:
        self._start = self._last_line = time.monotonic()
        self._title = title
        self._visible = trainer.is_global_zero
        if self._visible and self._console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
            self._progress = Progress(*columns, TextColumn("{task.fields[text]}"), console=self._console)
            self._progress.start()
            self._task = self._progress.add_task(title, total=1.0, text="")

    def _show(self, done: float, left: float | None, text: Callable[[], str]) -> None:
        """Show what ``text`` gives; it is not called while nothing is due, for it may wait for a GPU."""
        now, least = time.monotonic(), self.seconds_between_lines
        due = now - self._last_line >= (least if self._progress is None else SECONDS_BETWEEN_UPDATES)
        if not self._visible or not (due or (done >= 1 and self._progress is not None)):
            return
        self._last_line = now
        line = text() + ("" if left is None else f" · {clock(left)} left")
        if self._progress is not None:
            self._progress.update(self._task, completed=done, text=line)
        else:
            self._console.print(f"{self._title}: {done:.0%} · {line}", highlight=False)

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
