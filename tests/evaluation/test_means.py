"""Means of single pictures and of consecutive pairs, against loops, and over several processes."""

import pytest
import torch

from partnerface.errors import UserError
from partnerface.evaluation.image_metric import ImageMetric
from partnerface.evaluation.means import ImageMeans, TemporalStability, merged
from partnerface.evaluation.metrics import L1, PSNR

REGIONS = ("head", "mouth")


class Unavailable(L1):
    def missing(self) -> str:
        return "no weights"


METRICS = {"psnr": PSNR(), "none": Unavailable(), "l1": L1()}


def frames(count=5, seed=0):
    """Random frames of two regions, of which the second is empty; each has another amount of noise."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for i in range(count):
        target = torch.rand(3, 24, 24, generator=generator)
        noise = 0.01 + 0.5 * i / count
        render = (target + noise * torch.randn(target.shape, generator=generator)).clamp(0, 1)
        names = ["temporal", "unseen_expression"] if i % 2 else ["temporal"]
        head = torch.rand(24, 24, generator=generator) < 0.4
        found.append((names, render, target, {"head": head, "mouth": torch.zeros_like(head)}))
    return found


def means(clip, splits=("temporal", "unseen_expression")):
    found = ImageMeans(splits, REGIONS, METRICS)
    for frame in clip:
        found.update(*frame)
    return found


def test_averages_are_per_image_and_by_split():
    clip = frames()
    found = means(clip).compute()
    assert list(found["temporal"]) == ["full_frame", "head", "mouth"]
    for split, members in (("temporal", [0, 1, 2, 3, 4]), ("unseen_expression", [1, 3])):
        for region in ("full_frame", "head"):
            errors = []
            for _, render, target, masks in (clip[i] for i in members):
                mask = torch.ones(24, 24, dtype=torch.bool) if region == "full_frame" else masks[region]
                errors.append((render - target).double()[:, mask])
            psnr = [-10 * float(error.pow(2).mean().log10()) for error in errors]
            l1 = [float(error.abs().mean()) for error in errors]
            assert found[split][region]["psnr"] == pytest.approx(sum(psnr) / len(psnr), rel=1e-5)
            assert found[split][region]["l1"] == pytest.approx(sum(l1) / len(l1), rel=1e-5)


def test_psnr_is_not_pooled():
    """One perfect and one black image: 100 dB and 0 dB average to 50; pooled errors would give 3 dB."""
    white = torch.ones(3, 24, 24)
    found = ImageMeans(["temporal"], [], {"psnr": PSNR()})
    for render in (white, 0 * white):
        found.update(["temporal"], render, white, {})
    assert found.compute()["temporal"]["full_frame"]["psnr"] == pytest.approx(50)


def test_empty_regions_missing_metrics_and_splits_without_frames_are_none():
    found = means(frames(), ("temporal", "blocks")).compute()
    assert found["temporal"]["mouth"] == dict.fromkeys(METRICS)
    assert found["temporal"]["full_frame"]["none"] is None
    assert found["temporal"]["full_frame"]["psnr"] > 0
    assert found["blocks"]["full_frame"] == dict.fromkeys(METRICS)


def test_a_region_counts_in_the_images_that_have_it():
    clip = frames()
    clip[2][3]["mouth"][10:14, 8:16] = True
    whole, alone = means(clip).compute(), means(clip[2:3]).compute()
    assert whole["temporal"]["mouth"] == alone["temporal"]["mouth"]


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("world", [2, 3])
def test_shards_of_several_processes_give_the_same_figures(world):
    clip = frames(count=7)
    whole = means(clip).compute()
    shards = [means(clip[rank::world]) for rank in range(world)]
    together = means([])
    for state, reduction in together._reductions.items():
        setattr(together, state, reduction(torch.stack([getattr(shard, state) for shard in shards])))
    for split, regions in together.compute().items():
        for region, values in regions.items():
            for name, value in values.items():
                expected = whole[split][region][name]
                assert value == (None if expected is None else pytest.approx(expected))


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_reset_and_checkpoints():
    found = means(frames())
    assert found.state_dict() == {}
    found.reset()
    assert found.compute()["temporal"]["full_frame"]["psnr"] is None


def test_renderings_are_clamped_and_frames_of_other_splits_passed_over():
    clip = frames()
    wild = [(names, torch.where(render == 1, 7.0, render), *rest) for names, render, *rest in clip]
    others = [(names, *clip[0][1:]) for names in (["train"], [])]
    assert means([*wild, *others]).compute() == means(clip).compute()


def test_a_rendering_that_is_not_finite_is_one_line():
    names, render, target, masks = frames()[1]
    render[0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        means([(names, render, target, masks)])


@pytest.mark.parametrize("value", [torch.tensor(float("inf")), torch.zeros(3), torch.zeros(1, 1)])
def test_a_metric_of_somebody_else_that_gives_no_number_is_one_line(value):
    class Wrong(ImageMetric):
        def per_image(self, rendered, target, mask):
            return value

    with pytest.raises(UserError, match=r"^--model\.metrics\.wrong: .*finite number[^\n]*$"):
        ImageMeans(["temporal"], [], {"wrong": Wrong()}).update(*frames()[0])


def test_a_metric_may_give_a_plain_float():
    class Plain(ImageMetric):
        def per_image(self, rendered, target, mask):
            return 0.25

    found = ImageMeans(["temporal"], [], {"plain": Plain()})
    found.update(*frames()[0])
    assert found.compute()["temporal"]["full_frame"] == {"plain": 0.25}


def clip(count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    frames = []
    for number in range(count):
        render, target = torch.rand(2, 3, 8, 10, generator=generator)
        head = torch.rand(8, 10, generator=generator) < 0.6
        frames.append([number, ["temporal"], render, target, {"head": head}])
    return frames


def scored(frames):
    metric = TemporalStability(["temporal", "blocks"], ["head"])
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
        metric = TemporalStability(["temporal", "blocks"], ["head"])
        assert not metric.has_previous(low)
        if low:
            metric.set_previous(*frames[low - 1])
            assert metric.has_previous(low)
        for frame in frames[low:high]:
            metric.update(*frame)
        shards.append(metric)
    merged = TemporalStability(["temporal", "blocks"], ["head"])
    for state in ("total", "count"):
        setattr(merged, state, sum(getattr(shard, state) for shard in shards))
    for region, values in merged.compute()["temporal"].items():
        assert values == pytest.approx(whole[region])


def test_reset_forgets_the_frame_before():
    frames = clip(2)
    metric = TemporalStability(["temporal", "blocks"], ["head"])
    metric.update(*frames[0])
    metric.reset()
    metric.update(*frames[1])
    assert metric.compute()["temporal"]["full_frame"]["temporal"] is None


def test_tables_lie_side_by_side_and_regions_may_be_missing():
    images = {"temporal": {"full_frame": {"psnr": 30.0}, "mouth": {"psnr": 25.0}}}
    surface = {"temporal": {"mouth": {"depth_mm": 2.0}}}
    assert merged(images, surface) == {
        "temporal": {"full_frame": {"psnr": 30.0}, "mouth": {"psnr": 25.0, "depth_mm": 2.0}}
    }
    assert images["temporal"]["mouth"] == {"psnr": 25.0}
