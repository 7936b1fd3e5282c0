"""Box, first pass and inverse CDF against brute force, at grazing, missing and empty rays too."""

import pytest
import torch
from torch.nn.functional import normalize

from partnerface.errors import UserError
from partnerface.sampling.uniform import RigidFrame, UniformSampler, box_interval, inverse_cdf
from tests.contracts.ray_sampler_contract import RaySamplerContract
from tests.contracts.subjects import in_frame


class TestUniformSampler(RaySamplerContract):
    def make(self) -> UniformSampler:
        return UniformSampler(samples=16)


AT_REST = RigidFrame(torch.eye(3)[None], torch.zeros(1, 3))
"""Rays in the rigid head frame are rays in the world. The box of a new sampler goes from 0 to 1."""


def _rays(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    origins = torch.tensor([0.5, 0.5, 3.0]) + 0.2 * torch.randn(count, 3, generator=generator)
    targets = 1.6 * torch.rand(count, 3, generator=generator) - 0.3
    return origins, normalize(targets - origins, dim=1)


def test_near_and_far_enclose_exactly_the_part_inside_the_box():
    origins, directions = _rays(200)
    low, high = torch.tensor([0.0, 0.1, -0.2]), torch.tensor([1.0, 0.8, 0.9])
    near, far = box_interval(origins, directions, low, high)
    depths = torch.linspace(0, 6, 6001)
    points = origins[:, None] + directions[:, None] * depths[:, None]
    inside = ((points > low) & (points < high)).all(-1)
    assert torch.equal(inside.any(1), (near + 1e-3 < far) & inside.any(1))
    for r in range(200):
        if inside[r].any():
            found = depths[inside[r]]
            assert near[r] == pytest.approx(float(found[0]), abs=2e-3)
            assert far[r] == pytest.approx(float(found[-1]), abs=2e-3)
        else:
            assert far[r] - near[r] < 2e-3
    assert 20 < int(inside.any(1).sum()) < 180


def test_a_ray_along_a_side_and_one_that_starts_inside_and_one_that_looks_away():
    origins = torch.tensor([[0.5, 0.5, 2.0], [2.0, 0.5, 2.0], [0.5, 0.5, 0.5], [0.5, 0.5, 2.0]])
    directions = torch.tensor([[0, 0, -1.0], [0, 0, -1.0], [0, 0, -1.0], [0, 0, 1.0]])
    near, far = box_interval(origins, directions, torch.zeros(3), torch.ones(3))
    assert near.isfinite().all()
    assert (near < far).tolist() == [True, False, True, False]
    torch.testing.assert_close(near[[0, 2]], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(far[[0, 2]], torch.tensor([2.0, 0.5]))


def test_inverse_cdf_draws_as_often_as_the_weights_say():
    """Against the histogram: the share of draws in an interval is its share of the weights."""
    edges = torch.tensor([[0.0, 1.0, 1.5, 4.0, 4.25], [2.0, 2.1, 2.2, 2.3, 9.0]])
    weights = torch.tensor([[1.0, 0.0, 3.0, 6.0], [5.0, 5.0, 0.0, 0.0]])
    places = torch.rand(2, 200_000, generator=torch.Generator().manual_seed(1))
    drawn = inverse_cdf(edges, weights, places)
    for r in range(2):
        counts = torch.histogram(drawn[r], edges[r]).hist / 200_000
        torch.testing.assert_close(counts, weights[r] / weights[r].sum(), atol=5e-3, rtol=0)
    # Even within an interval.
    within = drawn[0][(drawn[0] > 1.5) & (drawn[0] < 4.0)]
    quarters = torch.histc(within, 4, 1.5, 4.0) / len(within)
    torch.testing.assert_close(quarters, torch.full((4,), 0.25), atol=1e-2, rtol=0)


@pytest.mark.parametrize("weights", [[0.0, 0.0, 0.0], [0.0, 1e6, 0.0], [1e-20, 0.0, 1e-20]])
def test_inverse_cdf_at_its_worst(weights):
    edges = torch.tensor([[1.0, 2.0, 2.0, 5.0]])
    places = torch.tensor([[0.0, 0.3, 0.5, 0.999999, 1.0]])
    drawn = inverse_cdf(edges, torch.tensor([weights]), places)
    assert drawn.isfinite().all()
    assert (drawn.diff(dim=1) >= 0).all()
    assert drawn.min() >= 1
    assert drawn.max() <= 5
    if not any(weights):
        torch.testing.assert_close(drawn[0, [0, 1, 4]], torch.tensor([1.0, 1.9, 5.0]))


@pytest.mark.parametrize("training", [True, False])
def test_both_passes_rise_between_near_and_far_and_fill_the_ray(training):
    sampler = UniformSampler(samples=16).train(training)
    rays = _rays(100)
    near, far = box_interval(*rays, sampler.low, sampler.high)
    samples = sampler(*rays, in_frame(rays[0]), AT_REST)
    assert torch.equal(samples.hit, near < far)
    hit = samples.hit.nonzero()[:, 0]
    rays = tuple(value[hit] for value in rays)
    samples, near, far = samples.select(hit), near[hit], far[hit]
    weights = torch.rand(len(hit), 16, generator=torch.Generator().manual_seed(2))
    refined = sampler.importance_samples(samples, weights, 24, rays)
    assert refined.depths.shape == (len(hit), 40)
    for passed in (samples, refined):
        assert (passed.depths.diff(dim=1) >= 0).all()
        assert (passed.depths >= near[:, None] - 1e-6).all()
        assert (passed.depths <= far[:, None] + 1e-6).all()
        assert not passed.opaque.any()
        torch.testing.assert_close(passed.lengths.sum(1), far - passed.depths[:, 0])
    stratum = ((samples.depths - near[:, None]) / (far - near)[:, None] * 16).floor()
    clear = (far - near) > 1e-3
    assert (stratum[clear] == torch.arange(16.0)).float().mean() > 0.99


def test_the_second_pass_gathers_where_the_weights_are():
    sampler = UniformSampler(samples=32).eval()
    rays = torch.tensor([[0.5, 0.5, 2.0]]), torch.tensor([[0.0, 0.0, -1.0]])
    samples = sampler(*rays, in_frame(rays[0]), AT_REST)
    weights = torch.exp(-((samples.depths - 1.4) ** 2) / 2e-3)
    refined = sampler.importance_samples(samples, weights, 64, rays)
    close = (refined.depths - 1.4).abs() < 0.1
    assert int(close.sum()) > 64


def test_the_second_pass_is_random_in_training_only():
    sampler, rays = UniformSampler(samples=8), _rays(40)
    samples = sampler.eval()(*rays, in_frame(rays[0]), AT_REST)
    weights = torch.rand(samples.depths.shape, generator=torch.Generator().manual_seed(2))
    once, again = (sampler.importance_samples(samples, weights, 8, rays).depths for _ in range(2))
    assert torch.equal(once, again)
    sampler.train()
    torch.manual_seed(0)
    assert not torch.equal(sampler.importance_samples(samples, weights, 8, rays).depths, once)


def test_too_few_samples_give_one_line():
    with pytest.raises(UserError, match="samples is 2"):
        UniformSampler(samples=2)
