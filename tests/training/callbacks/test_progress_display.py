"""The time left, against arithmetic."""

import time
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import Timer

from partnerface.training.callbacks.progress_display import ProgressDisplay


def _display(seconds_gone: float, timer: Timer | None = None) -> ProgressDisplay:
    display = ProgressDisplay()
    trainer = SimpleNamespace(global_step=0, callbacks=[timer] if timer else [], is_global_zero=False)
    display.on_train_start(trainer, None)
    display._start = time.monotonic() - seconds_gone
    return display


def test_pace_of_steps() -> None:
    done, left = _display(30.0)._pace(25, 100)
    assert done == 0.25
    assert left == pytest.approx(90, rel=1e-3)


def test_a_budget_that_ends_sooner_goes_first() -> None:
    timer = Timer({"seconds": 50})
    timer.time_elapsed = lambda stage="train": 30.0
    done, left = _display(30.0, timer)._pace(25, 100)
    assert done == pytest.approx(0.6)
    assert left == pytest.approx(20)


def test_steps_that_end_sooner_than_the_budget_go_first() -> None:
    timer = Timer({"seconds": 5000})
    timer.time_elapsed = lambda stage="train": 30.0
    assert _display(30.0, timer)._pace(75, 100)[1] == pytest.approx(10, rel=1e-3)


def test_nothing_to_go_by() -> None:
    assert _display(5.0)._pace(10, None) == (0.0, None)


def test_lines_where_there_is_no_terminal(capsys) -> None:
    display = ProgressDisplay(seconds_between_lines=0)
    trainer = SimpleNamespace(
        global_step=0, max_steps=10, callbacks=[], is_global_zero=True, callback_metrics={"train/psnr": 21.26}
    )
    display.on_train_start(trainer, None)
    display._start = time.monotonic() - 50
    trainer.global_step = 5
    display.on_train_batch_end(trainer, None)
    assert "training: 50% · step 5 · train PSNR 21.3 dB · 0:50 left" in capsys.readouterr().err
