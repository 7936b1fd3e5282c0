"""When the run's checkpoint is written."""

from types import SimpleNamespace

import pytest

from partnerface.training.callbacks.run_checkpoint import RunCheckpoint


class _Trainer(SimpleNamespace):
    def __init__(self) -> None:
        super().__init__(global_step=0, max_steps=100, should_stop=False, fast_dev_run=False)
        self.default_root_dir, self.saved = "run", []
        self.strategy = SimpleNamespace(broadcast=lambda value: value)
        self.state = SimpleNamespace(fn="fit")

    def save_checkpoint(self, path) -> None:
        assert str(path) == "run/checkpoints/last.ckpt"
        self.saved.append(self.global_step)

    def step(self, callback: RunCheckpoint, step: int) -> None:
        self.global_step = step
        callback.on_train_batch_end(self, None)


@pytest.fixture
def started() -> tuple[_Trainer, RunCheckpoint]:
    trainer, callback = _Trainer(), RunCheckpoint(every_seconds=1000)
    callback.on_train_start(trainer, None)
    return trainer, callback


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


def test_saves_before_a_stop_and_at_an_interrupt_but_not_after_an_error(started) -> None:
    trainer, callback = started
    trainer.global_step = 4
    callback.on_exception(trainer, None, ValueError("broken"))
    assert trainer.saved == []
    callback.on_exception(trainer, None, KeyboardInterrupt())
    assert trainer.saved == [4]
    trainer.should_stop = True
    trainer.step(callback, 7)
    assert trainer.saved == [4, 7]


def test_a_run_without_a_step_saves_nothing(started) -> None:
    trainer, callback = started
    callback.on_train_end(trainer, None)
    assert trainer.saved == []
