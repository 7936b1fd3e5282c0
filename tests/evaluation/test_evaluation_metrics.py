import pytest
import torch

from partnerface.errors import UserError
from partnerface.evaluation.evaluation_metrics import EvaluationMetrics
from partnerface.evaluation.region_metrics import METRICS, image_metrics, masked_metrics, ssim_map

SPLITS = ("temporal", "unseen_expression")
REGIONS = ("head", "mouth")


def distance(first, second):
    return (first - second).pow(2).mean((1, 2, 3))


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


def scored(clip, splits=SPLITS, **networks):
    metrics = EvaluationMetrics(splits, REGIONS, **networks)
    for frame in clip:
        metrics.update(*frame)
    return metrics


def test_averages_are_per_image_and_by_split():
    clip = frames()
    found = scored(clip, lpips=distance, ms_ssim=distance).compute()
    assert list(found["temporal"]) == ["full_frame", "head", "mouth"]
    for split, members in (("temporal", [0, 1, 2, 3, 4]), ("unseen_expression", [1, 3])):
        full, masked = [], []
        for _, render, target, masks in (clip[i] for i in members):
            similarity = ssim_map(render, target)
            full.append(image_metrics(render, target, similarity, distance, distance))
            masked.append(masked_metrics(render, target, masks["head"], similarity, distance, distance))
        for region, values in (("full_frame", full), ("head", masked)):
            expected = torch.stack(values).mean(0).tolist()
            assert list(found[split][region].values()) == pytest.approx(expected, rel=1e-5)


def test_psnr_is_not_pooled():
    """One perfect and one black image: 100 dB and 0 dB average to 50; pooled errors would give 3 dB."""
    white = torch.ones(3, 24, 24)
    metrics = EvaluationMetrics(["temporal"], [])
    for render in (white, 0 * white):
        metrics.update(["temporal"], render, white, {})
    assert metrics.compute()["temporal"]["full_frame"]["psnr"] == pytest.approx(50)


def test_empty_regions_and_missing_networks_are_none():
    found = scored(frames(), (*SPLITS, "blocks")).compute()
    assert found["temporal"]["mouth"] == dict.fromkeys(METRICS)
    assert found["temporal"]["full_frame"]["lpips"] is None
    assert found["temporal"]["full_frame"]["ms_ssim"] is None
    assert found["temporal"]["full_frame"]["psnr"] > 0
    assert found["blocks"]["full_frame"] == dict.fromkeys(METRICS)


def test_a_region_counts_in_the_images_that_have_it():
    clip = frames()
    clip[2][3]["mouth"][10:14, 8:16] = True
    whole, alone = scored(clip).compute(), scored(clip[2:3]).compute()
    assert whole["temporal"]["mouth"] == alone["temporal"]["mouth"]


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("world", [2, 3])
def test_shards_of_several_processes_give_the_same_figures(world):
    clip = frames(count=7)
    whole = scored(clip).compute()
    shards = [scored(clip[rank::world]) for rank in range(world)]
    merged = EvaluationMetrics(SPLITS, REGIONS)
    for state, reduction in merged._reductions.items():
        setattr(merged, state, reduction(torch.stack([getattr(shard, state) for shard in shards])))
    for split, regions in whole.items():
        for region, values in regions.items():
            assert merged.compute()[split][region] == pytest.approx(values), region


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_reset_and_checkpoints():
    metrics = scored(frames())
    assert metrics.state_dict() == {}
    metrics.reset()
    assert metrics.compute()["temporal"]["full_frame"]["psnr"] is None


def test_renderings_are_clamped_and_frames_of_other_splits_passed_over():
    clip = frames()
    wild = [(names, torch.where(render == 1, 7.0, render), *rest) for names, render, *rest in clip]
    others = [(names, *clip[0][1:]) for names in (["train"], [])]
    assert scored([*wild, *others]).compute() == scored(clip).compute()


def test_a_rendering_that_is_not_finite_is_one_line():
    names, render, target, masks = frames()[1]
    render[0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        EvaluationMetrics(SPLITS, REGIONS).update(names, render, target, masks)
