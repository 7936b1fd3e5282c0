"""Compositing over a background, surface depth, and joining renderings."""

import torch

from partnerface.rendering.rendered_rays import RenderedRays

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
    joined = RenderedRays.join([first, second])
    for name in PER_RAY:
        whole = getattr(joined, name)
        assert torch.equal(whole[:, :2], getattr(first, name))
        assert torch.equal(whole[:, 2:], getattr(second, name))
    without = RenderedRays.join([rendered(2, 0, parts=False), rendered(5, 1, parts=False)])
    assert without.part_weights is None
    assert without.rgb.shape == (1, 7, 3)


def test_rays_rendered_in_any_order_are_put_in_the_order_of_their_numbers():
    picture = rendered(6, 0)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    mixed = RenderedRays(**{name: getattr(picture, name)[:, order] for name in PER_RAY})
    restored = mixed.in_order(order.split(4))
    for name in PER_RAY:
        assert torch.equal(getattr(restored, name), getattr(picture, name))
    assert rendered(6, 0, parts=False).in_order([order]).part_weights is None
    assert picture.in_order([slice(0, 4), slice(4, 6)]) is picture
