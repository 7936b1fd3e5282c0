"""A frame is its rays row by row, and its depth is that of the head alone."""

import torch

from partnerface.evaluation.rendered_frame import RenderedFrame
from partnerface.rendering.rendered_rays import RenderedRays

HEIGHT, WIDTH = 2, 3


def rays(**changes: torch.Tensor) -> RenderedRays:
    count = HEIGHT * WIDTH
    values = {
        "rgb": torch.arange(3 * count).view(1, count, 3) / 100,
        "opacity": torch.ones(1, count),
        "depth": torch.zeros(1, count),
        "head_opacity": torch.zeros(1, count),
        "offset_size": torch.zeros(()),
        "part_usage": torch.zeros(1),
    }
    return RenderedRays(**(values | changes))


def test_rays_lie_row_by_row_and_missing_parts_stay_missing():
    rendered = rays(part_weights=torch.arange(12.0).view(1, 6, 2))
    frame = RenderedFrame.from_rays(None, rendered, HEIGHT, WIDTH)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            assert torch.equal(frame.image[:, y, x], rendered.rgb[0, y * WIDTH + x])
            assert torch.equal(frame.part_weights[y, x], rendered.part_weights[0, y * WIDTH + x])
    assert RenderedFrame.from_rays(None, rays(), HEIGHT, WIDTH).part_weights is None


def test_what_is_not_covered_is_white():
    opacity = torch.tensor([[0.0, 0.25, 0.5, 0.75, 1.0, 1.0]])
    frame = RenderedFrame.from_rays(None, rays(rgb=torch.zeros(1, 6, 3), opacity=opacity), HEIGHT, WIDTH)
    torch.testing.assert_close(frame.image[1].flatten(), 1 - opacity[0])


def test_depth_is_divided_by_the_heads_opacity_and_fades_nowhere():
    opacity = torch.tensor([[0.0, 0.1, 0.49, 0.51, 0.8, 1.0]])
    frame = RenderedFrame.from_rays(None, rays(depth=1.5 * opacity, head_opacity=opacity), HEIGHT, WIDTH)
    torch.testing.assert_close(frame.depth.flatten(), torch.tensor([0, 0, 0, 1.5, 1.5, 1.5]))
