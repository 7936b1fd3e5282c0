"""When the occupancy grid is refreshed, and by how many cells."""

from types import SimpleNamespace

import torch

from partnerface.training.callbacks.refresh_occupancy import FIRST_FRAMES, RefreshOccupancy


class _Head:
    def select(self, frames: list[int]) -> "_Head":
        assert frames[0] in (3, 4)
        return self

    def to(self, device: object) -> "_Head":
        return self


def _visits(callback: RefreshOccupancy, step: int, candidates: int = 1000) -> list[int]:
    visits: list[int] = []
    occupancy = SimpleNamespace(candidates=torch.ones(candidates, dtype=torch.bool))
    avatar = SimpleNamespace(
        sampler=SimpleNamespace(occupancy=occupancy),
        refresh_occupancy=lambda head, count: visits.append(count),
    )
    module = SimpleNamespace(avatar=avatar, sequence=SimpleNamespace(head=_Head()), device="cpu")
    trainer = SimpleNamespace(global_step=step, datamodule=SimpleNamespace(train_frames=[3, 4]))
    callback.on_train_batch_start(trainer, module, None, 0)
    return visits


def test_first_all_cells_then_some_now_and_then() -> None:
    callback = RefreshOccupancy(start_step=10, every_steps=5, visits=64)
    assert _visits(callback, 5) == []
    assert _visits(callback, 10) == [2 * 1000 // FIRST_FRAMES] * FIRST_FRAMES
    assert _visits(callback, 12) == []
    assert _visits(callback, 15) == [64]


def test_few_or_no_candidates() -> None:
    callback = RefreshOccupancy(start_step=10, every_steps=5, visits=64)
    assert _visits(callback, 15, candidates=7) == [7]
    assert _visits(callback, 10, candidates=0) == []
