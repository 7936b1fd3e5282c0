"""A restored generator draws what the saved one would have drawn."""

import random
from pathlib import Path
from types import SimpleNamespace

import torch

from partnerface.training.callbacks.rng_state import RngState


def test_draws_go_on_after_a_round_trip_through_a_file(tmp_path: Path) -> None:
    saved = RngState()
    torch.manual_seed(3)
    random.seed(3)
    torch.save(saved.state_dict(), tmp_path / "state")
    expected = torch.rand(4), random.random()
    torch.manual_seed(99)
    random.seed(99)
    restored = RngState()
    restored.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    trainer = SimpleNamespace(global_rank=0)
    restored.on_train_batch_start(trainer, None, None, 0)
    assert torch.equal(torch.rand(4), expected[0])
    assert random.random() == expected[1]


def test_restores_once_only() -> None:
    callback = RngState()
    torch.manual_seed(1)
    callback.load_state_dict(callback.state_dict())
    trainer = SimpleNamespace(global_rank=0)
    callback.on_train_batch_start(trainer, None, None, 0)
    first = torch.rand(2)
    callback.on_train_batch_start(trainer, None, None, 1)
    assert not torch.equal(torch.rand(2), first)
