"""Compositing over a background, surface depth, and joining renderings."""

import pytest
import torch

from partnerface.rendering.rendered_rays import DeformationStatistics, MethodOutput, RenderedRays

PER_RAY = ("rgb", "opacity", "depth", "head_opacity", "part_weights")


def rendered(rays: int, seed: int, parts: bool = True) -> RenderedRays:
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    return RenderedRays(
        rgb=rand(1, rays, 3),
        opacity=rand(1, rays),
        depth=rand(1, rays),
        head_opacity=rand(1, rays),
        part_weights=rand(1, rays, 4) if parts else None,
    )


def statistics(seed: int) -> DeformationStatistics:
    generator = torch.Generator().manual_seed(seed)
    size, roughness, entropy = torch.rand(3, 1, generator=generator)
    return DeformationStatistics(size, roughness, torch.rand(1, 4, generator=generator), entropy)


def test_over_by_hand():
    rays = rendered(2, 0)
    rays.rgb = torch.tensor([[[0.2, 0.1, 0.0], [0.5, 0.5, 0.5]]])
    rays.opacity = torch.tensor([[0.25, 1.0]])
    white = torch.ones(3)
    expected = torch.tensor([[[0.95, 0.85, 0.75], [0.5, 0.5, 0.5]]])
    torch.testing.assert_close(rays.over(white), expected)
    torch.testing.assert_close(rays.over(white.expand(1, 2, 3)), expected)
    torch.testing.assert_close(rays.over(torch.zeros(3)), rays.rgb)


def test_surface_depth_by_hand():
    """The depth of the head where it covers more than half of a ray, 0 elsewhere."""
    rays = rendered(4, 0)
    rays.head_opacity = torch.tensor([[0.8, 0.5, 1.0, 0.0]])
    rays.depth = torch.tensor([[0.8 * 1.2, 0.5 * 1.2, 0.9, 0.0]])
    torch.testing.assert_close(rays.surface_depth(), torch.tensor([[1.2, 0.0, 0.9, 0.0]]))


def test_chunks_are_joined_in_order():
    first, second = rendered(2, 0), rendered(5, 1)
    joined = RenderedRays.join([first, second], 1)
    for name in PER_RAY:
        whole = getattr(joined, name)
        assert torch.equal(whole[:, :2], getattr(first, name))
        assert torch.equal(whole[:, 2:], getattr(second, name))


def test_rays_rendered_in_any_order_are_put_in_the_order_of_their_numbers():
    picture = rendered(6, 0)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    mixed = RenderedRays(**{name: getattr(picture, name)[:, order] for name in PER_RAY})
    restored = mixed.in_order(order)
    for name in PER_RAY:
        assert torch.equal(getattr(restored, name), getattr(picture, name))
    assert rendered(6, 0, parts=False).in_order(order).part_weights is None


def test_frames_are_stacked_and_each_keeps_its_figures():
    frames = [MethodOutput(rendered(3, k), statistics(k), coarse=rendered(3, 10 + k)) for k in range(3)]
    stacked = MethodOutput.stack(frames)
    assert stacked.rays.rgb.shape == (3, 3, 3)
    for f, frame in enumerate(frames):
        for name in PER_RAY:
            assert torch.equal(getattr(stacked.rays, name)[f], getattr(frame.rays, name)[0])
            assert torch.equal(getattr(stacked.coarse, name)[f], getattr(frame.coarse, name)[0])
        for name, value in vars(frame.deformation).items():
            assert torch.equal(getattr(stacked.deformation, name)[f], value[0])


@pytest.mark.parametrize("with_deformation", [True, False])
def test_what_the_frames_lack_the_stack_lacks(with_deformation):
    frames = [
        MethodOutput(rendered(2, k, parts=False), statistics(k) if with_deformation else None)
        for k in range(2)
    ]
    stacked = MethodOutput.stack(frames)
    assert stacked.coarse is None
    assert stacked.rays.part_weights is None
    assert (stacked.deformation is not None) == with_deformation
