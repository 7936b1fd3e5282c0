"""When the occupancy grid is refreshed, and by how many cells."""

from types import SimpleNamespace

import torch

from partnerface.data.view import View
from partnerface.training.callbacks.refresh_occupancy import FIRST_FRAMES, RefreshOccupancy
from tests.views import random_view

VIEWS = random_view(6)


def _visits(callback: RefreshOccupancy, step: int, candidates: int = 1000) -> list[int]:
    visits: list[int] = []

    def refresh(view: View, count: int) -> None:
        assert len(view) == 1
        assert any(torch.equal(view.torso_motion[0], VIEWS.torso_motion[frame]) for frame in (3, 4))
        visits.append(count)

    occupancy = SimpleNamespace(candidates=torch.ones(candidates, dtype=torch.bool))
    avatar = SimpleNamespace(
        sampler=SimpleNamespace(occupancy=occupancy),
        refresh_occupancy=refresh,
    )
    module = SimpleNamespace(avatar=avatar, device="cpu")
    data = SimpleNamespace(train_frames=[3, 4], views=VIEWS)
    trainer = SimpleNamespace(global_step=step, datamodule=data)
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


def test_a_sampler_without_a_grid_has_nothing_to_refresh() -> None:
    module = SimpleNamespace(avatar=SimpleNamespace(sampler=SimpleNamespace(occupancy=None)), device="cpu")
    callback = RefreshOccupancy(start_step=10, every_steps=5, visits=64)
    callback.on_train_batch_start(SimpleNamespace(global_step=10), module, None, 0)
