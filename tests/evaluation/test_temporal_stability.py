import pytest
import torch

from partnerface.evaluation.temporal_stability import TemporalStability

SPLITS = ("temporal", "blocks")


def clip(count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    frames = []
    for number in range(count):
        render, target = torch.rand(2, 3, 8, 10, generator=generator)
        head = torch.rand(8, 10, generator=generator) < 0.6
        frames.append([number, ["temporal"], render, target, {"head": head}])
    return frames


def scored(frames):
    metric = TemporalStability(SPLITS, ["head"])
    for frame in frames:
        metric.update(*frame)
    return metric.compute()


def pair(before, after, region=None):
    """The formula, pixel by pixel."""
    squares = []
    for y in range(8):
        for x in range(10):
            if region and not (before[4][region][y, x] and after[4][region][y, x]):
                continue
            moved = after[2][:, y, x] - before[2][:, y, x]
            filmed = after[3][:, y, x] - before[3][:, y, x]
            squares += [(float(moved[c]) - float(filmed[c])) ** 2 for c in range(3)]
    return (sum(squares) / len(squares)) ** 0.5


def test_pairs_against_loops():
    frames = clip(3)
    found = scored(frames)["temporal"]
    for key, region in (("full_frame", None), ("head", "head")):
        expected = (pair(frames[0], frames[1], region) + pair(frames[1], frames[2], region)) / 2
        assert found[key]["temporal"] == pytest.approx(expected, rel=1e-5)


def test_a_constant_error_costs_nothing_and_flicker_does():
    still = torch.full((3, 8, 10), 0.5)
    masks = {"head": torch.ones(8, 10, dtype=torch.bool)}
    constant = [[n, ["temporal"], still + 0.1, still, masks] for n in range(4)]
    flicker = [[n, ["temporal"], still + 0.1 * (-1) ** n, still, masks] for n in range(4)]
    assert scored(constant)["temporal"]["head"]["temporal"] == pytest.approx(0, abs=1e-6)
    assert scored(flicker)["temporal"]["head"]["temporal"] == pytest.approx(0.2, rel=1e-5)


def test_only_neighbours_in_time_and_in_a_split_make_a_pair():
    frames = clip(6)
    frames[3][1] = ["blocks"]
    apart = [frames[0], frames[1], frames[3], frames[5]]
    found = scored(apart)
    assert found["temporal"]["full_frame"]["temporal"] == pytest.approx(pair(frames[0], frames[1]), rel=1e-5)
    assert found["blocks"]["full_frame"]["temporal"] is None
    assert scored([frames[0], frames[2], frames[4]])["temporal"]["head"]["temporal"] is None


def test_a_region_that_is_never_shared_has_no_value():
    frames = clip(2)
    frames[1][4]["head"] = ~frames[0][4]["head"]
    found = scored(frames)["temporal"]
    assert found["head"]["temporal"] is None
    assert found["full_frame"]["temporal"] > 0


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_processes_with_runs_of_their_own_miss_no_pair():
    """Each process is given the frame before its first one, which another process has scored."""
    frames = clip(7)
    whole = scored(frames)["temporal"]
    shards = []
    for low, high in ((0, 3), (3, 5), (5, 7)):
        metric = TemporalStability(SPLITS, ["head"])
        assert metric.lacks(low)
        if low:
            metric.follow(*frames[low - 1])
        for frame in frames[low:high]:
            metric.update(*frame)
        shards.append(metric)
    merged = TemporalStability(SPLITS, ["head"])
    for state in ("total", "count"):
        setattr(merged, state, sum(getattr(shard, state) for shard in shards))
    for region, values in merged.compute()["temporal"].items():
        assert values == pytest.approx(whole[region])


def test_reset_forgets_the_frame_before():
    frames = clip(2)
    metric = TemporalStability(SPLITS, ["head"])
    metric.update(*frames[0])
    metric.reset()
    metric.update(*frames[1])
    assert metric.compute()["temporal"]["full_frame"]["temporal"] is None
