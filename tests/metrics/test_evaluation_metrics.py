import pytest
import torch

from partnerface.data.region_labels import EVALUATION_REGIONS, HEAD, Region
from partnerface.metrics.evaluation_metrics import EvaluationMetrics
from partnerface.metrics.region_metrics import METRICS, image_metrics, masked_metrics, ssim_map
from partnerface.user_error import UserError

SPLITS = ("temporal", "unseen_expression")


def distance(first, second):
    return (first - second).pow(2).mean((1, 2, 3))


def images(count=5, seed=0):
    """Random frames whose matte covers half; each has another amount of noise."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(count, 3, 24, 24, generator=generator)
    noise = torch.linspace(0.01, 0.5, count)[:, None, None, None]
    render = (target + noise * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    matte = torch.zeros(count, 24, 24)
    matte[:, :, 6:18] = 1
    labels = torch.randint(0, len(Region), (count, 24, 24), generator=generator, dtype=torch.uint8)
    labels[labels == Region.MOUTH] = Region.FACE
    names = [["temporal", "unseen_expression"] if i % 2 else ["temporal"] for i in range(count)]
    return names, render, target, matte, labels


def test_averages_are_per_image_and_by_split():
    names, render, target, matte, labels = images()
    metrics = EvaluationMetrics(SPLITS, EVALUATION_REGIONS, distance)
    metrics.update(names[:3], render[:3], target[:3], matte[:3], labels[:3])
    metrics.update(names[3:], render[3:], target[3:], matte[3:], labels[3:])
    found = metrics.compute()
    assert list(found["temporal"]) == ["full_frame", "head_mask", "matte", "eyes", "mouth"]
    head = torch.isin(labels, torch.tensor([int(label) for label in HEAD])) & (matte > 0.5)
    for split, members in (("temporal", [0, 1, 2, 3, 4]), ("unseen_expression", [1, 3])):
        similarity = [ssim_map(r, t) for r, t in zip(render, target, strict=True)]
        full = torch.stack([image_metrics(render[i], target[i], similarity[i], distance) for i in members])
        masked = torch.stack(
            [masked_metrics(render[i], target[i], head[i], similarity[i], distance) for i in members]
        )
        assert list(found[split]["full_frame"].values()) == pytest.approx(full.mean(0).tolist(), rel=1e-5)
        assert list(found[split]["head_mask"].values()) == pytest.approx(masked.mean(0).tolist(), rel=1e-5)


def test_psnr_is_not_pooled():
    """One perfect and one black image: 100 dB and 0 dB average to 50; pooled errors would give 3 dB."""
    target = torch.ones(2, 3, 24, 24)
    render = target.clone()
    render[1] = 0
    metrics = EvaluationMetrics(["temporal"], {})
    metrics.update([["temporal"]] * 2, render, target, target[:, 0], target[:, 0].byte())
    assert metrics.compute()["temporal"]["full_frame"]["psnr"] == pytest.approx(50)


def test_empty_regions_and_missing_lpips_are_none():
    metrics = EvaluationMetrics((*SPLITS, "blocks"), EVALUATION_REGIONS)
    metrics.update(*images())
    found = metrics.compute()
    assert found["temporal"]["mouth"] == dict.fromkeys(METRICS)
    assert found["temporal"]["full_frame"]["lpips"] is None
    assert found["temporal"]["full_frame"]["psnr"] > 0
    assert found["blocks"]["full_frame"] == dict.fromkeys(METRICS)


def test_a_region_counts_in_the_images_that_have_it():
    names, render, target, matte, labels = images()
    labels[2, 10:14, 8:16] = Region.MOUTH
    metrics = EvaluationMetrics(["temporal"], EVALUATION_REGIONS)
    metrics.update(names, render, target, matte, labels)
    alone = EvaluationMetrics(["temporal"], EVALUATION_REGIONS)
    alone.update(names[2:3], render[2:3], target[2:3], matte[2:3], labels[2:3])
    assert metrics.compute()["temporal"]["mouth"] == alone.compute()["temporal"]["mouth"]


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("world", [2, 3])
def test_shards_of_several_processes_give_the_same_figures(world):
    names, *tensors = images(count=7)
    whole = EvaluationMetrics(SPLITS, EVALUATION_REGIONS)
    whole.update(names, *tensors)
    shards = []
    for rank in range(world):
        shards.append(EvaluationMetrics(SPLITS, EVALUATION_REGIONS))
        shards[-1].update(names[rank::world], *(t[rank::world] for t in tensors))
    merged = EvaluationMetrics(SPLITS, EVALUATION_REGIONS)
    for state, reduction in merged._reductions.items():
        values = torch.stack([getattr(shard, state) for shard in shards])
        setattr(merged, state, reduction(values))
    for split, regions in whole.compute().items():
        for region, values in regions.items():
            assert merged.compute()[split][region] == pytest.approx(values), region


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_reset_and_checkpoints():
    metrics = EvaluationMetrics(SPLITS, EVALUATION_REGIONS)
    metrics.update(*images())
    assert metrics.state_dict() == {}
    metrics.reset()
    assert metrics.compute()["temporal"]["full_frame"]["psnr"] is None


def test_renderings_are_clamped_and_frames_of_other_splits_passed_over():
    names, render, target, matte, labels = images()
    clean, wild = EvaluationMetrics(SPLITS, EVALUATION_REGIONS), EvaluationMetrics(SPLITS, EVALUATION_REGIONS)
    clean.update(names, render, target, matte, labels)
    bright = torch.where(render == 1, 7.0, render)
    wild.update([*names, ["train"], []], *(torch.cat([t, t[:2]]) for t in (bright, target, matte, labels)))
    assert wild.compute() == clean.compute()


def test_a_rendering_that_is_not_finite_is_one_line():
    names, render, target, matte, labels = images()
    render[1, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        EvaluationMetrics(SPLITS, EVALUATION_REGIONS).update(names, render, target, matte, labels)
