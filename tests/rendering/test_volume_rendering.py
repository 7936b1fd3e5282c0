"""Volume rendering against closed forms, hand-written sums and loops."""

import math

import pytest
import torch

from partnerface.rendering.volume_rendering import (
    CompositedHead,
    accumulate,
    composite_over_torso,
    opacities,
    render_head,
    rendering_weights,
    scatter_samples,
    transmittance,
)
from partnerface.sampling.ray_sampler import RaySamples


def ray_samples(rays: int, count: int, length: float = 0.01, opaque: list[bool] | None = None) -> RaySamples:
    depths = 1 + length * torch.arange(count).expand(rays, count)
    stops = torch.tensor(opaque or [False] * rays, dtype=torch.bool)
    return RaySamples(depths, torch.full((rays, count), length), stops, torch.ones(rays, dtype=torch.bool))


@pytest.mark.parametrize("density", [0.0, 3.0, 200.0, 1e6])
def test_constant_density_has_a_closed_form(density):
    """Any number of samples gives the opacity 1 - exp(-density * length) of the whole segment."""
    for count in (1, 7, 64):
        samples = ray_samples(1, count, length=0.05 / count)
        weights = rendering_weights(torch.full((1, count), density), samples)
        assert float(weights.sum()) == pytest.approx(-math.expm1(-density * 0.05), abs=1e-5)


def test_weights_by_hand():
    samples = ray_samples(1, 3, length=0.5)
    a, b, c = 1 - math.exp(-0.5), 1 - math.exp(-1.0), 1 - math.exp(-0.1)
    weights = rendering_weights(torch.tensor([[1.0, 2.0, 0.2]]), samples)
    expected = torch.tensor([[a, (1 - a) * b, (1 - a) * (1 - b) * c]])
    torch.testing.assert_close(weights, expected)


def test_transmittance_by_hand():
    alpha = torch.tensor([[0.5, 0.25, 1.0, 0.3], [0.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[1.0, 0.5, 0.375, 0.0], [1.0, 1.0, 1.0, 1.0]])
    torch.testing.assert_close(transmittance(alpha), expected)


def test_opaque_backstop_takes_what_is_left():
    samples = ray_samples(3, 4, opaque=[True, True, False])
    density = torch.tensor([[0.0] * 4, [1e4, 0, 50.0, 0], [0.0] * 4])
    weights = rendering_weights(density, samples)
    torch.testing.assert_close(weights.sum(1), torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(weights[0], torch.tensor([0.0, 0, 0, 1]))
    assert not weights[2].any()
    assert opacities(density, samples)[1, -1] == 1


def test_gradient_is_finite_at_extreme_densities():
    samples = ray_samples(2, 5, opaque=[True, False])
    density = torch.tensor([[0.0, 1e8, 0.0, 1e-8, 5.0]]).repeat(2, 1).requires_grad_()
    weights = rendering_weights(density, samples)
    (weights * torch.arange(5.0)).sum().backward()
    assert density.grad.isfinite().all()
    assert density.grad[0, -1] == 0


def test_gradient_equals_finite_differences():
    samples = ray_samples(2, 4, length=0.1, opaque=[True, False])
    density = torch.rand(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 5
    assert torch.autograd.gradcheck(
        lambda d: rendering_weights(d, samples), (density.requires_grad_(),), atol=1e-6
    )


def test_scatter_and_accumulate_equal_loops():
    generator = torch.Generator().manual_seed(0)
    samples = ray_samples(6, 5)
    kept = torch.randperm(30, generator=generator)[:17].sort().values
    values = torch.rand(17, generator=generator)
    dense = scatter_samples(values, kept, samples)
    colours = torch.rand(17, 3, generator=generator)
    summed = accumulate(colours, torch.div(kept, 5, rounding_mode="floor"), 6)
    expected_dense, expected_sum = torch.zeros(6, 5), torch.zeros(6, 3)
    for n, place in enumerate(kept.tolist()):
        expected_dense[place // 5, place % 5] = values[n]
        expected_sum[place // 5] += colours[n]
    assert torch.equal(dense, expected_dense)
    torch.testing.assert_close(summed, expected_sum)


def test_nothing_evaluated_is_nothing_seen():
    samples = ray_samples(2, 3)
    none = torch.zeros(0, dtype=torch.long)
    assert not scatter_samples(torch.zeros(0), none, samples).any()
    assert not accumulate(torch.zeros(0, 3), none, 2).any()
    empty = ray_samples(0, 3)
    assert rendering_weights(torch.zeros(0, 3), empty).shape == (0, 3)


def test_a_head_over_its_torso_equals_a_loop_over_rays_and_samples():
    """Front to back: every sample that was evaluated, then the torso layer in what light is left.

    Seven rays in each of two frames.
    """
    generator = torch.Generator().manual_seed(3)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    rays, count, parts = 7, 4, 3
    hit = torch.tensor([1, 2, 9, 13])
    samples = ray_samples(4, count, length=0.02, opaque=[True, False, True, True])
    # Nothing of the third ray was evaluated: it ends at a black backstop.
    kept = torch.tensor([0, 2, 3, 4, 6, 7, 13, 15])
    density, rgb, weights = 60 * rand(8), rand(8, 3), rand(8, parts)
    torso = rand(2, rays, 3), rand(2, rays)
    head = render_head(density, rgb, kept, samples, weights)
    found = composite_over_torso(head, samples, hit, torso)
    for number in range(2 * rays):
        ray = divmod(number, rays)
        light, colour, depth, share = 1.0, torch.zeros(3), 0.0, torch.zeros(parts)
        place = hit.tolist().index(number) if number in hit else None
        for s in range(count if place is not None else 0):
            sample = place * count + s
            at = kept.tolist().index(sample) if sample in kept else None
            alpha = 0.0 if at is None else 1 - math.exp(-float(density[at]) * 0.02)
            if s == count - 1 and samples.opaque[place]:
                alpha = 1.0
            if at is not None:
                colour += light * alpha * rgb[at]
                share += light * alpha * weights[at]
            depth += light * alpha * (1 + 0.02 * s)
            light *= 1 - alpha
        assert float(found.head_opacity[ray]) == pytest.approx(1 - light, abs=1e-6)
        colour += light * torso[1][ray] * torso[0][ray]
        torch.testing.assert_close(found.rgb[ray], colour)
        opacity = 1 - light * (1 - float(torso[1][ray]))
        assert float(found.opacity[ray]) == pytest.approx(opacity, abs=1e-6)
        assert float(found.depth[ray]) == pytest.approx(depth, abs=1e-6)
        torch.testing.assert_close(found.part_weights[ray], share)
    without = composite_over_torso(render_head(density, rgb, kept, samples), samples, hit, torso)
    assert without.part_weights is None
    assert torch.equal(without.rgb, found.rgb)


def test_without_a_head_the_torso_shows_as_it_is():
    none = torch.zeros(0, dtype=torch.long)
    head = CompositedHead(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0, 2))
    colour, opacity = torch.rand(2, 5, 3), torch.rand(2, 5)
    found = composite_over_torso(head, ray_samples(0, 3), none, (colour, opacity))
    torch.testing.assert_close(found.rgb, opacity[..., None] * colour)
    assert torch.equal(found.opacity, opacity)
    assert not found.head_opacity.any()
    assert not found.depth.any()
    assert not found.part_weights.any()
