from collections import Counter

import pytest

from partnerface.data.batches.frame_samplers import ShardedFrames, ShuffledFrames

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
