"""What the display says of the time left, against arithmetic on a clock that the test moves."""

from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import Timer

from partnerface.training.callbacks import progress_display
from partnerface.training.callbacks.progress_display import ProgressDisplay


class _Timer(Timer):
    """A budget of which as many seconds are gone as the test says."""

    gone = 0.0

    def time_elapsed(self, stage: str = "train") -> float:
        return self.gone


class _Run:
    """A trainer without a terminal, whose clock stands still but for `later`."""

    def __init__(self, monkeypatch, max_steps: int, timer: Timer | None = None, **settings: float) -> None:
        self.now = 1000.0
        monkeypatch.setattr(progress_display, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.display = ProgressDisplay(**{"seconds_between_lines": 0.0, **settings})
        self.trainer = SimpleNamespace(
            global_step=0,
            max_steps=max_steps,
            callbacks=[timer] if timer else [],
            is_global_zero=True,
            callback_metrics={},
        )

    def train(self) -> None:
        self.display.on_train_start(self.trainer, None)

    def later(self, seconds: float, step: int) -> None:
        self.now += seconds
        self.trainer.global_step = step
        self.display.on_train_batch_end(self.trainer, None)


def test_the_steps_left_take_what_the_steps_so_far_took(monkeypatch, capsys) -> None:
    run = _Run(monkeypatch, max_steps=100)
    run.train()
    run.trainer.callback_metrics["train/psnr"] = 21.26
    run.later(30, step=25)
    assert capsys.readouterr().err == "training: 25% · step 25 · train PSNR 21.3 dB · 0:01:30 left\n"


def test_a_resumed_run_counts_its_own_steps(monkeypatch, capsys) -> None:
    run = _Run(monkeypatch, max_steps=100)
    run.trainer.global_step = 60
    run.train()
    run.later(30, step=70)
    assert capsys.readouterr().err == "training: 25% · step 70 · 0:01:30 left\n"


@pytest.mark.parametrize(
    ("budget", "step", "line"),
    [
        # 30 of 50 seconds are gone; 75 steps at this pace would take 90 more.
        (50, 25, "training: 60% · step 25 · 0:00:20 left\n"),
        (5000, 75, "training: 75% · step 75 · 0:00:10 left\n"),
    ],
)
def test_what_ends_sooner_steps_or_budget(monkeypatch, capsys, budget: int, step: int, line: str) -> None:
    timer = _Timer({"seconds": budget})
    run = _Run(monkeypatch, max_steps=100, timer=timer)
    run.train()
    timer.gone = 30.0
    run.later(30, step)
    assert capsys.readouterr().err == line


def test_without_steps_and_budget_there_is_no_time_left(monkeypatch, capsys) -> None:
    run = _Run(monkeypatch, max_steps=-1)
    run.train()
    run.later(5, step=10)
    assert capsys.readouterr().err == "training: 0% · step 10\n"


def test_lines_come_now_and_then_and_from_one_process(monkeypatch, capsys) -> None:
    run = _Run(monkeypatch, max_steps=100, seconds_between_lines=30.0)
    run.train()
    for step in range(1, 8):
        run.later(10, step)
    assert [line.split(" · ")[1] for line in capsys.readouterr().err.splitlines()] == ["step 3", "step 6"]
    run.trainer.is_global_zero = False
    run.train()
    run.later(100, 10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_frames_of_a_test_or_a_prediction(monkeypatch, capsys, stage: str) -> None:
    run = _Run(monkeypatch, max_steps=100)
    run.trainer.num_test_batches = run.trainer.num_predict_batches = [4]
    getattr(run.display, f"on_{stage}_start")(run.trainer, None)
    run.now += 7200
    getattr(run.display, f"on_{stage}_batch_end")(run.trainer, None)
    title = "rendering test frames" if stage == "test" else "rendering frames"
    assert capsys.readouterr().err == f"{title}: 25% · 1/4 · 6:00:00 left\n"
