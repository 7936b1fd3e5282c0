from collections import Counter

import pytest
import torch
from torch.utils.data import Dataset

from partnerface.data.batches.loader import FrameVisit, ResumableLoader, ShardedFrames, ShuffledFrames


class Echo(Dataset):
    """Serves the visit itself, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __getitem__(self, visit: FrameVisit) -> torch.Tensor:
        self.asked.append(visit.number)
        return torch.tensor([visit.frame, visit.number])


def loader(workers: int) -> ResumableLoader:
    sampler = ShuffledFrames(list(range(5)), visits=14, batch_size=2, seed=3)
    return ResumableLoader(Echo(), sampler, 2, num_workers=workers, persistent_workers=workers > 0)


def epoch_of(source: ResumableLoader, epoch: int) -> list:
    source.batch_sampler.sampler.set_epoch(epoch)
    return [batch.tolist() for batch in source]


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_equals_the_uninterrupted_order(workers):
    whole = loader(workers)
    expected = [epoch_of(whole, epoch) for epoch in range(3)]
    stopped = loader(workers)
    assert epoch_of(stopped, 0) == expected[0]
    stopped.batch_sampler.sampler.set_epoch(1)
    batches = iter(stopped)
    head = [next(batches).tolist() for _ in range(3)]
    state = stopped.state_dict()
    resumed = loader(workers)
    resumed.load_state_dict(state)
    assert head + epoch_of(resumed, 1) == expected[1]
    assert epoch_of(resumed, 2) == expected[2]


def test_what_is_skipped_is_not_loaded():
    resumed = loader(0)
    resumed.load_state_dict({"position": 5})
    epoch_of(resumed, 0)
    assert resumed.dataset.asked == [10, 11, 12, 13]


def test_a_state_from_the_end_of_an_epoch_starts_the_next():
    first = loader(0)
    epoch_of(first, 0)
    resumed = loader(0)
    resumed.load_state_dict(first.state_dict())
    assert epoch_of(resumed, 1) == epoch_of(loader(0), 1)


FRAMES = [3, 5, 6, 10, 11, 12, 20]


def epochs(sampler, count):
    visits = []
    for epoch in range(count):
        sampler.set_epoch(epoch)
        visits += list(sampler)
    return visits


def test_every_pass_sees_each_frame_once_in_another_order():
    # An epoch of 10 visits is no multiple of the 7 frames: passes run on across epochs.
    visits = epochs(ShuffledFrames(FRAMES, 10, 2, seed=0), 7)
    assert [v.number for v in visits] == list(range(70))
    passes = [[v.frame for v in visits[i : i + 7]] for i in range(0, 70, 7)]
    assert all(sorted(p) == FRAMES for p in passes)
    assert len({tuple(p) for p in passes}) > 5


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_divide_the_run_between_them(world):
    single = epochs(ShuffledFrames(FRAMES, 2 * 21, 2, seed=1), world)
    per_rank = [epochs(ShuffledFrames(FRAMES, 2 * 21, 2, 1, rank, world), 1) for rank in range(world)]
    assert Counter(single) == Counter(v for visits in per_rank for v in visits)
    # Step by step, all processes together hold what one process would see in as many batches.
    for step in range(0, 42, 2):
        together = {v for visits in per_rank for v in visits[step : step + 2]}
        assert together == set(single[step * world : (step + 2) * world])


def test_the_order_depends_on_the_seed_only():
    def order(seed):
        return epochs(ShuffledFrames(FRAMES, 14, 2, seed), 2)

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_one_frame():
    assert [v.frame for v in epochs(ShuffledFrames([4], 6, 2, 0), 1)] == [4] * 6


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 5, 9])
def test_sharded_frames_cover_each_once_and_never_pad(world, count):
    shards = [ShardedFrames(count, rank, world) for rank in range(world)]
    assert sorted(i for shard in shards for i in shard) == list(range(count))
    assert [len(shard) for shard in shards] == [len(list(shard)) for shard in shards]
