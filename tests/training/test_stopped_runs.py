"""Ctrl-C and SIGTERM: the step is finished and saved, and the run goes on as if nothing had been."""

import os
import signal
from pathlib import Path

import pytest
import torch

from partnerface.cli.main import main
from partnerface.training.module import AvatarModule
from partnerface.training.resume.run_checkpoint import last_checkpoint
from tests.training.run_comparison import assert_same_checkpoint, logged_rows, validations

FLAGS = [
    "--trainer.max_steps=6",
    "--trainer.val_check_interval=3",
    "--trainer.limit_val_batches=1",
    "--trainer.log_every_n_steps=1",
    "--data.batches_per_epoch=4",
]
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def _fit(arguments: list[str], run: Path, *flags: str) -> int:
    return main(["fit", *arguments, *FLAGS, *flags, f"--run_dir={run}"])


@pytest.fixture(scope="module")
def whole(smoke_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole")
    assert _fit(smoke_arguments, run) == 0
    assert {step for step, _, _ in validations(run)} == {"2", "5"}
    return run


def _signal_in(monkeypatch, method: str, call: int, number: signal.Signals) -> None:
    """Send ourselves a signal in the middle of the k-th call of a method of the module."""
    original, calls = getattr(AvatarModule, method), []

    def signalled(*args, **kwargs):
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    monkeypatch.setattr(AvatarModule, method, signalled)


@pytest.mark.parametrize(
    ("method", "call", "number", "step", "pending"),
    [
        ("_backward", 2, signal.SIGTERM, 2, False),
        # The third step has a validation behind it: the run stops before that.
        ("_backward", 3, signal.SIGINT, 3, True),
        ("_backward", 4, signal.SIGINT, 4, False),
        ("validation_step", 1, signal.SIGTERM, 3, True),
        ("validation_step", 2, signal.SIGINT, 6, True),
    ],
)
def test_a_stopped_run_goes_on_exactly(
    smoke_arguments: list[str],
    whole: Path,
    tmp_path: Path,
    monkeypatch,
    capsys,
    method: str,
    call: int,
    number: signal.Signals,
    step: int,
    pending: bool,
) -> None:
    before = {n: signal.getsignal(n) for n in EXIT_CODES}
    with monkeypatch.context() as patch:
        _signal_in(patch, method, call, number)
        assert _fit(smoke_arguments, tmp_path) == EXIT_CODES[number]
    assert {n: signal.getsignal(n) for n in EXIT_CODES} == before
    assert "what was done is kept" in capsys.readouterr().err
    checkpoint = torch.load(last_checkpoint(tmp_path), weights_only=True)
    assert checkpoint["global_step"] == step
    assert checkpoint["callbacks"]["RunCheckpoint"]["validation_pending"] == pending
    assert _fit(smoke_arguments, tmp_path, "--ckpt_path=last") == 0
    assert sorted(logged_rows(tmp_path)) == sorted(logged_rows(whole))
    if step < 6:
        assert_same_checkpoint(tmp_path, whole)
        return
    # All steps were made; the validation is done without training, and again without doubling its rows.
    assert _fit(smoke_arguments, tmp_path, "--ckpt_path=last") == 0
    assert sorted(logged_rows(tmp_path)) == sorted(logged_rows(whole))


def test_a_run_stopped_in_a_validation_and_at_the_end_of_its_repetition(
    smoke_arguments: list[str], whole: Path, tmp_path: Path, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        _signal_in(patch, "validation_step", 1, signal.SIGTERM)
        assert _fit(smoke_arguments, tmp_path) == EXIT_CODES[signal.SIGTERM]
    with monkeypatch.context() as patch:
        _signal_in(patch, "on_validation_epoch_end", 1, signal.SIGTERM)
        assert _fit(smoke_arguments, tmp_path, "--ckpt_path=last") == EXIT_CODES[signal.SIGTERM]
    checkpoint = torch.load(last_checkpoint(tmp_path), weights_only=True)
    assert checkpoint["global_step"] == 3
    assert not checkpoint["callbacks"]["RunCheckpoint"]["validation_pending"]
    assert _fit(smoke_arguments, tmp_path, "--ckpt_path=last") == 0
    assert sorted(logged_rows(tmp_path)) == sorted(logged_rows(whole))
    assert_same_checkpoint(tmp_path, whole)


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_anew(
    smoke_arguments: list[str], whole: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "metrics.csv").write_text("step,seconds,name,value\n0,0.1,train/psnr,3\n1,0.")
    assert _fit(smoke_arguments, tmp_path, "--ckpt_path=last") == 0
    assert "holds no checkpoint; training starts anew" in capsys.readouterr().err
    assert sorted(logged_rows(tmp_path)) == sorted(logged_rows(whole))
    assert_same_checkpoint(tmp_path, whole)


def test_a_finished_run_is_left_as_it_is(smoke_arguments: list[str], whole: Path) -> None:
    checkpoint, log = last_checkpoint(whole).read_bytes(), (whole / "metrics.csv").read_bytes()
    assert _fit(smoke_arguments, whole, "--ckpt_path=last") == 0
    assert last_checkpoint(whole).read_bytes() == checkpoint
    assert (whole / "metrics.csv").read_bytes() == log
