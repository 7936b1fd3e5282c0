import pickle

import numpy as np
import pytest
from scipy.stats import chisquare

from partnerface.data.batches import pixel_samplers
from partnerface.data.batches.pixel_samplers import (
    PixelSample,
    RegionWeightedPixels,
    UniformPixels,
    patch_sample,
)
from partnerface.data.regions import Region
from partnerface.errors import UserError

WEIGHTS = {"background": 0.5, "face": 2, "eyes": 8, "mouth": 5, "hair": 1, "neck": 0, "torso": 0.25}


def portrait() -> np.ndarray:
    """16x20 labels with every region except hair."""
    labels = np.zeros((16, 20), np.uint8)
    labels[3:12, 5:15] = Region.FACE
    labels[5, 7:9] = Region.EYES
    labels[9, 8:12] = Region.MOUTH
    labels[12:14, 8:12] = Region.NECK
    labels[14:] = Region.TORSO
    return labels


def draws(sampler, labels, count=1000, visits=200, frame=0):
    generator = np.random.default_rng(0)
    return np.concatenate([sampler.sample(frame, labels, count, generator).indices for _ in range(visits)])


@pytest.mark.parametrize("uniform_share", [0.0, 0.1, 1.0])
def test_frequencies_follow_the_stated_weights(uniform_share):
    labels = portrait()
    indices = draws(RegionWeightedPixels(**WEIGHTS, uniform_share=uniform_share), labels)
    weight = np.array(list(WEIGHTS.values()))[labels.ravel()]
    density = (1 - uniform_share) * weight / weight.sum() + uniform_share / labels.size
    found = np.bincount(indices, minlength=labels.size)
    assert found[density == 0].sum() == 0
    possible = density > 0
    expected = density[possible] * len(indices)
    # Stratified draws vary less than independent ones, so the statistic can only be smaller.
    assert chisquare(found[possible], expected).pvalue > 0.01


def test_uniform_pixels_are_uniform():
    labels = portrait()
    assert chisquare(np.bincount(draws(UniformPixels(), labels), minlength=labels.size)).pvalue > 0.01


def test_no_pixel_is_never_seen():
    """Weight zero for all but one region: the uniform share still reaches the rest."""
    weights = dict.fromkeys(WEIGHTS, 0) | {"mouth": 1}
    labels = portrait()
    indices = draws(RegionWeightedPixels(**weights, uniform_share=0.1), labels)
    assert len(np.unique(indices)) == labels.size


@pytest.mark.parametrize("uniform_share", [0.0, 0.3])
@pytest.mark.parametrize("label", list(Region))
def test_a_frame_of_one_region(label, uniform_share):
    """An empty matte, or a region without weight: every pixel is equally likely."""
    labels = np.full((8, 8), label, np.uint8)
    indices = draws(RegionWeightedPixels(**WEIGHTS, uniform_share=uniform_share), labels, 64, 500)
    assert chisquare(np.bincount(indices, minlength=64)).pvalue > 0.01


def test_loss_weights():
    labels = portrait()
    sampler = RegionWeightedPixels(**WEIGHTS)
    sample = sampler.sample(0, labels, 500, np.random.default_rng(0))
    assert (sample.loss_weight == 1).all()
    corrected = RegionWeightedPixels(**WEIGHTS, importance_correction=1.0)
    sample = corrected.sample(0, labels, 200_000, np.random.default_rng(0))
    assert sample.loss_weight.mean() == pytest.approx(1, abs=1e-4)
    # The corrected mean of any image is the image's own mean.
    image = np.random.default_rng(1).random(labels.size)
    assert (sample.loss_weight * image[sample.indices]).mean() == pytest.approx(image.mean(), rel=0.01)


def test_cached_lists_change_nothing(monkeypatch):
    labels = portrait()
    kept = draws(RegionWeightedPixels(), labels, visits=3)
    monkeypatch.setattr(pixel_samplers, "CACHE_LIMIT", 0)
    sampler = RegionWeightedPixels()
    assert np.array_equal(draws(sampler, labels, visits=3), kept)
    assert sampler._sorted == {}


def test_frames_do_not_share_lists():
    sampler = RegionWeightedPixels(**(dict.fromkeys(WEIGHTS, 0) | {"eyes": 1}), uniform_share=0)
    first, second = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    first[0, 0] = second[3, 3] = Region.EYES
    generator = np.random.default_rng(0)
    assert set(sampler.sample(0, first, 10, generator).indices) == {0}
    assert set(sampler.sample(1, second, 10, generator).indices) == {15}
    assert pickle.loads(pickle.dumps(sampler))._sorted == {}


def test_images_beyond_sixteen_bits():
    labels = np.zeros((300, 300), np.uint8)
    labels[299, 290:] = Region.EYES
    sampler = RegionWeightedPixels(**(dict.fromkeys(WEIGHTS, 0) | {"eyes": 1}), uniform_share=0)
    assert set(draws(sampler, labels, 100, 5)) == set(range(299 * 300 + 290, 300 * 300))


@pytest.mark.parametrize(
    "wrong",
    [{"eyes": -1}, dict.fromkeys(WEIGHTS, 0), {"uniform_share": 1.5}, {"importance_correction": -0.1}],
)
def test_wrong_settings(wrong):
    with pytest.raises(UserError, match="pixel_sampler"):
        RegionWeightedPixels(**wrong)


class OnePixel(UniformPixels):
    """Always draws the same one, with a weight of its own."""

    def __init__(self, index):
        self.index = index

    def sample(self, frame, labels, count, generator):
        del frame, labels, generator
        return PixelSample(np.full(count, self.index), np.full(count, 0.5, np.float32))


@pytest.mark.parametrize("side", [1, 2, 5, 6])
def test_a_patch_is_around_its_centre_and_inside_the_picture(side):
    height, width = 6, 9
    labels = np.zeros((height, width), np.uint8)
    for centre in range(height * width):
        patch = patch_sample(OnePixel(centre), 0, labels, side, np.random.default_rng(0))
        y, x = np.divmod(patch.indices.reshape(side, side), width)
        assert (y == y[0, 0] + np.arange(side)[:, None]).all()
        assert (x == x[0, 0] + np.arange(side)).all()
        assert y.min() >= 0
        assert y.max() < height
        assert centre in patch.indices
        assert (patch.loss_weight == 0.5).all()
        inner = [
            side // 2 <= place < size - side // 2
            for place, size in ((centre // width, height), (centre % width, width))
        ]
        if all(inner):
            assert patch.indices.reshape(side, side)[side // 2, side // 2] == centre


def test_centres_of_patches_follow_the_stated_weights():
    labels, sampler = portrait(), RegionWeightedPixels(**WEIGHTS, uniform_share=0)
    generator = np.random.default_rng(0)
    centres = [patch_sample(sampler, 0, labels, 1, generator).indices[0] for _ in range(5000)]
    weight = np.array(list(WEIGHTS.values()))[labels.ravel()]
    density = weight / weight.sum()
    found = np.bincount(labels.ravel()[centres], minlength=7)
    expected = np.bincount(labels.ravel(), density, minlength=7) * len(centres)
    there = expected > 0
    assert not found[~there].any()
    assert chisquare(found[there], expected[there]).pvalue > 0.01


def test_a_patch_of_a_frame_without_the_weighted_regions():
    weights = dict.fromkeys(WEIGHTS, 0) | {"mouth": 1}
    patch = patch_sample(
        RegionWeightedPixels(**weights), 0, np.zeros((4, 5), np.uint8), 4, np.random.default_rng(0)
    )
    assert len(np.unique(patch.indices)) == 16
