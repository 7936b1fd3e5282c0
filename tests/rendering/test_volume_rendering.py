"""Volume rendering against closed forms, hand-written sums, loops and automatic differentiation."""

import math

import pytest
import torch
from torch import Tensor

from partnerface.cameras.pinhole import RayBundle
from partnerface.rendering.volume_rendering import CompositedHead, composite_over_torso, render_head
from partnerface.sampling.ray_sampler import MarchedRays, RaySamples


def ray_samples(rays: int, count: int, length: float = 0.01, opaque: list[bool] | None = None) -> RaySamples:
    depths = 1 + length * torch.arange(count).expand(rays, count)
    stops = torch.tensor(opaque or [False] * rays, dtype=torch.bool)
    return RaySamples(depths, torch.full((rays, count), length), stops, torch.ones(rays, dtype=torch.bool))


def marched(samples: RaySamples, hit: Tensor | None = None, frames: int = 1, rays: int = 0) -> MarchedRays:
    """Rays that meet the samples: all of one frame, or those numbered ``hit``."""
    rays = rays or len(samples.depths)
    nowhere = torch.zeros(frames, rays, 3)
    hit = torch.arange(rays) if hit is None else hit
    return MarchedRays(RayBundle(nowhere, nowhere, nowhere[..., :2]), hit, samples)


def rendered(density: Tensor, samples: RaySamples, rgb: Tensor | None = None) -> CompositedHead:
    """Every sample evaluated, density ``[R, S]``, colour ``[R, S, 3]``."""
    rgb = torch.zeros(*density.shape, 3) if rgb is None else rgb
    return render_head(density.flatten(), rgb.flatten(0, 1), torch.arange(density.numel()), marched(samples))


def differentiable(
    density: Tensor, rgb: Tensor, samples: RaySamples
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights, colour, opacity and depth of the rays, in operations of torch, of every type of number."""
    last = torch.zeros_like(density, dtype=torch.bool)
    last[:, -1] = samples.opaque
    passed = torch.where(last, 0.0, torch.exp(-density * samples.lengths))
    light = torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1].cumprod(1)], 1)
    weights = light * (1 - passed)
    colour = (weights[..., None] * rgb).sum(1)
    return weights, colour, weights.sum(1), (weights * samples.depths).sum(1)


@pytest.mark.parametrize("density", [0.0, 3.0, 200.0, 1e6])
def test_constant_density_has_a_closed_form(density):
    """Any number of samples gives the opacity 1 - exp(-density * length) of the whole segment."""
    for count in (1, 7, 64):
        samples = ray_samples(1, count, length=0.05 / count)
        head = rendered(torch.full((1, count), density), samples)
        expected = pytest.approx(-math.expm1(-density * 0.05), abs=1e-5)
        assert float(head.opacity) == expected
        assert float(head.weights.sum()) == expected


def test_weights_by_hand():
    samples = ray_samples(1, 3, length=0.5)
    a, b, c = 1 - math.exp(-0.5), 1 - math.exp(-1.0), 1 - math.exp(-0.1)
    weights = rendered(torch.tensor([[1.0, 2.0, 0.2]]), samples).weights
    expected = torch.tensor([[a, (1 - a) * b, (1 - a) * (1 - b) * c]])
    torch.testing.assert_close(weights, expected)


def test_light_by_hand():
    """What passes half, three quarters, nothing: behind that nothing is seen."""
    samples = ray_samples(2, 4, length=1.0)
    density = torch.tensor([[math.log(2), math.log(4 / 3), math.inf, 0.3], [0.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.5, 0.125, 0.375, 0.0], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(rendered(density, samples).weights, expected)


def test_opaque_backstop_takes_what_is_left():
    samples = ray_samples(3, 4, opaque=[True, True, False])
    density = torch.tensor([[0.0] * 4, [1e4, 0, 50.0, 0], [0.0] * 4])
    head = rendered(density, samples)
    torch.testing.assert_close(head.weights.sum(1), torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(head.opacity[0], torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(head.weights[0], torch.tensor([0.0, 0, 0, 1]))
    assert not head.weights[2].any()


def test_gradient_is_finite_at_extreme_densities():
    samples = ray_samples(2, 5, opaque=[True, False])
    density = torch.tensor([[0.0, 1e8, 0.0, 1e-8, 5.0]]).repeat(2, 1).requires_grad_()
    head = rendered(density, samples)
    (head.depth.sum() + head.opacity.sum()).backward()
    assert density.grad.isfinite().all()
    assert density.grad[0, -1] == 0


@pytest.mark.parametrize("used", ["rgb", "opacity", "depth", "all"])
def test_gradient_equals_that_of_the_formula(used):
    """Of density, colour, depths and lengths; light runs out on some rays, and none is left on others."""
    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    density, rgb = 5 * rand(6, 4), rand(6, 4, 3)
    density[2], density[3, 1], density[4] = 0, 1e3, 40
    depths, lengths = 1 + rand(6, 4).cumsum(1), 0.1 + rand(6, 4)
    opaque = torch.tensor([True, False, True, False, True, False])
    factors = rand(6, 3), rand(6), rand(6)

    def gradients(kind: torch.dtype) -> list[Tensor]:
        values = [value.to(kind).requires_grad_() for value in (density, rgb, depths, lengths)]
        samples = RaySamples(values[2], values[3], opaque, torch.ones(6, dtype=torch.bool))
        if kind == torch.float64:
            _, *found = differentiable(values[0], values[1], samples)
        else:
            head = rendered(values[0], samples, values[1])
            found = [head.rgb[0], head.opacity[0], head.depth[0]]
        chosen = {"rgb": [0], "opacity": [1], "depth": [2], "all": [0, 1, 2]}[used]
        total = sum((factors[k].to(kind) * found[k]).sum() for k in chosen)
        return torch.autograd.grad(total, values, materialize_grads=True)

    for found, expected in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=2e-5)


def test_nothing_evaluated_is_nothing_seen():
    none = torch.zeros(0, dtype=torch.long)
    head = render_head(torch.zeros(0), torch.zeros(0, 3), none, marched(ray_samples(2, 3)), torch.zeros(0, 4))
    for values in (head.weights, head.rgb, head.opacity, head.depth, head.part_weights):
        assert not values.any()
    assert rendered(torch.zeros(0, 3), ray_samples(0, 3)).weights.shape == (0, 3)


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
    sampled = marched(samples, hit, 2, rays)
    found = composite_over_torso(render_head(density, rgb, kept, sampled, weights), torso)
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
    without = composite_over_torso(render_head(density, rgb, kept, sampled), torso)
    assert without.part_weights is None
    assert torch.equal(without.rgb, found.rgb)


def test_without_a_head_the_torso_shows_as_it_is():
    none = torch.zeros(0, dtype=torch.long)
    sampled = marched(ray_samples(0, 3), none, 2, 5)
    head = render_head(torch.zeros(0), torch.zeros(0, 3), none, sampled, torch.zeros(0, 2))
    colour, opacity = torch.rand(2, 5, 3), torch.rand(2, 5)
    found = composite_over_torso(head, (colour, opacity))
    torch.testing.assert_close(found.rgb, opacity[..., None] * colour)
    assert torch.equal(found.opacity, opacity)
    assert not found.head_opacity.any()
    assert not found.depth.any()
    assert not found.part_weights.any()
