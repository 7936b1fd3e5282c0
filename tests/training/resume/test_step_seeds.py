"""What a step draws depends on run, process and step, and on nothing that was drawn before."""

import random
from pathlib import Path
from types import SimpleNamespace

import torch

from partnerface.training.resume.step_seeds import StepSeeds, step_seed


def _draws(callback: StepSeeds, batch: int, rank: int = 0) -> tuple[torch.Tensor, float]:
    trainer = SimpleNamespace(global_rank=rank, fit_loop=SimpleNamespace(total_batch_idx=batch))
    callback.on_train_batch_start(trainer, None, None, 0)
    return torch.rand(4), random.random()


def _same(first: tuple, second: tuple) -> bool:
    return torch.equal(first[0], second[0]) and first[1] == second[1]


def test_a_resumed_run_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    torch.manual_seed(3)
    first = StepSeeds()
    first.on_train_start(None, None)
    expected = [_draws(first, batch) for batch in range(3)]
    torch.save(first.state_dict(), tmp_path / "state")
    torch.manual_seed(99)
    resumed = StepSeeds()
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    resumed.on_train_start(None, None)
    torch.rand(17)
    assert _same(_draws(resumed, 2), expected[2])
    assert not _same(_draws(resumed, 1), expected[2])


def test_runs_processes_and_steps_differ() -> None:
    seeds = {step_seed(run, rank, step) for run in range(5) for rank in range(5) for step in range(200)}
    assert len(seeds) == 5 * 5 * 200
    torch.manual_seed(0)
    callback = StepSeeds()
    callback.on_train_start(None, None)
    assert not _same(_draws(callback, 0, rank=0), _draws(callback, 0, rank=1))
