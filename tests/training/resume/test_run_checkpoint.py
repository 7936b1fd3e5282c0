"""When the run's checkpoint is written, and what happens when it cannot be."""

from types import SimpleNamespace

import pytest

from partnerface.errors import UserError
from partnerface.training.finite_steps import Diverged
from partnerface.training.resume import run_checkpoint
from partnerface.training.resume.run_checkpoint import RunCheckpoint


class _Trainer(SimpleNamespace):
    def __init__(self) -> None:
        super().__init__(global_step=0, max_steps=100, should_stop=False, fast_dev_run=False)
        self.default_root_dir, self.saved, self.failure = "run", [], None
        self.strategy = SimpleNamespace(
            broadcast=lambda value: value,
            reduce_boolean_decision=lambda value, all: value,
            barrier=lambda name: None,
        )
        self.state, self.sanity_checking = SimpleNamespace(fn="fit"), False
        self.ckpt_path, self.loggers, self.is_global_zero = None, [], True
        self.fit_loop = SimpleNamespace(total_batch_idx=-1)
        self._logger_connector = SimpleNamespace(update_train_step_metrics=lambda: None)
        self.validates = False

    def save_checkpoint(self, path) -> None:
        assert str(path) == "run/checkpoints/last.ckpt"
        if self.failure:
            raise UserError(self.failure)
        self.saved.append(self.global_step)

    def step(self, callback: RunCheckpoint, step: int) -> None:
        self.global_step, self.fit_loop.total_batch_idx = step, step - 1
        callback.on_train_batch_end(self, None)


@pytest.fixture
def started(monkeypatch) -> tuple[_Trainer, RunCheckpoint]:
    monkeypatch.setattr(run_checkpoint, "validation_follows", lambda trainer: trainer.validates)
    trainer, callback = _Trainer(), RunCheckpoint(every_seconds=1000)
    callback.on_train_start(trainer, None)
    yield trainer, callback
    callback._signals.restore()


def test_saves_when_the_time_has_come(started) -> None:
    trainer, callback = started
    trainer.step(callback, 1)
    assert trainer.saved == []
    callback.every_seconds = 0
    trainer.step(callback, 2)
    trainer.step(callback, 3)
    assert trainer.saved == [2, 3]


def test_saves_the_last_step_once(started) -> None:
    trainer, callback = started
    trainer.step(callback, 100)
    callback.on_train_end(trainer, None)
    assert trainer.saved == [100]


def test_saves_before_a_stop_and_when_training_diverged_but_not_after_an_error(started) -> None:
    trainer, callback = started
    trainer.global_step, trainer.fit_loop.total_batch_idx = 4, 3
    callback.on_exception(trainer, None, ValueError("broken"))
    # A second Ctrl-C comes in the middle of a step.
    callback.on_exception(trainer, None, KeyboardInterrupt())
    assert trainer.saved == []
    callback.on_exception(trainer, None, Diverged("too often"))
    assert trainer.saved == [4]
    trainer.should_stop = True
    trainer.step(callback, 7)
    assert trainer.saved == [4, 7]


def test_a_validation_after_the_last_step_is_noted_until_it_is_done(started) -> None:
    trainer, callback = started
    trainer.validates = True
    trainer.step(callback, 100)
    assert trainer.saved == []
    callback.on_validation_start(trainer, None)
    assert (trainer.saved, callback.state_dict()) == ([100], {"validation_pending": True})
    callback.on_validation_end(trainer, None)
    assert (trainer.saved, callback.state_dict()) == ([100, 100], {"validation_pending": False})
    callback.on_train_end(trainer, None)
    assert trainer.saved == [100, 100]


def test_a_failed_save_is_told_and_tried_again(started, capsys) -> None:
    trainer, callback = started
    callback.every_seconds, trainer.failure = 0, "disk full"
    trainer.step(callback, 1)
    assert capsys.readouterr().err == "partnerface: disk full; training goes on\n"
    trainer.failure = None
    trainer.step(callback, 2)
    assert trainer.saved == [2]


def test_a_failed_save_at_the_end_is_an_error(started) -> None:
    trainer, callback = started
    trainer.failure = "disk full"
    with pytest.raises(UserError, match="disk full"):
        trainer.step(callback, 100)


def test_a_run_without_a_step_saves_nothing(started) -> None:
    trainer, callback = started
    callback.on_train_end(trainer, None)
    assert trainer.saved == []
