"""Compositing over a background, and joining renderings."""

from dataclasses import replace

import torch

from partnerface.rendering.rendered_rays import RenderedRays, join_rays, put_in_order, stack_frames


def rendered(rays: int, seed: int, parts: bool = True) -> RenderedRays:
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    return RenderedRays(
        rgb=rand(1, rays, 3),
        opacity=rand(1, rays),
        depth=rand(1, rays),
        head_opacity=rand(1, rays),
        offset_size=rand(),
        part_usage=rand(4),
        part_weights=rand(1, rays, 4) if parts else None,
        part_entropy=rand() if parts else None,
        offset_roughness=rand() if parts else None,
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


def test_chunks_are_joined_in_order():
    first, second = rendered(2, 0), rendered(5, 1)
    joined = join_rays([first, second])
    for name in ("rgb", "opacity", "depth", "head_opacity", "part_weights"):
        whole = getattr(joined, name)
        assert torch.equal(whole[:, :2], getattr(first, name))
        assert torch.equal(whole[:, 2:], getattr(second, name))


def test_rays_rendered_in_any_order_are_put_in_the_order_of_their_numbers():
    picture = rendered(6, 0)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    per_ray = ("rgb", "opacity", "depth", "head_opacity", "part_weights")
    mixed = replace(picture, **{name: getattr(picture, name)[:, order] for name in per_ray})
    restored = put_in_order(mixed, order)
    for name in per_ray:
        assert torch.equal(getattr(restored, name), getattr(picture, name))
    assert restored.part_usage is picture.part_usage
    assert put_in_order(rendered(6, 0, parts=False), order).part_weights is None


def test_frames_are_stacked_and_their_figures_averaged():
    frames = [rendered(3, seed) for seed in range(3)]
    stacked = stack_frames(frames)
    assert stacked.rgb.shape == (3, 3, 3)
    assert all(torch.equal(stacked.depth[f], frame.depth[0]) for f, frame in enumerate(frames))
    torch.testing.assert_close(stacked.offset_size, sum(frame.offset_size for frame in frames) / 3)
    for name in ("part_usage", "part_entropy", "offset_roughness"):
        expected = sum(getattr(frame, name) for frame in frames) / 3
        torch.testing.assert_close(getattr(stacked, name), expected)


def test_parts_stay_away_if_nobody_asked():
    joined = join_rays([rendered(1, 0, parts=False), rendered(1, 1, parts=False)])
    assert joined.part_weights is None
    assert joined.part_entropy is None
    assert joined.offset_roughness is None
