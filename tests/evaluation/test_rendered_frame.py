"""A rendered frame is a picture over white, beside its target."""

import torch

from partnerface.avatar.picture import Picture
from partnerface.evaluation.rendered_frame import RenderedFrame
from partnerface.rendering.rendered_rays import RenderedRays

HEIGHT, WIDTH = 2, 3


def rendered(**changes: torch.Tensor) -> RenderedFrame:
    count = HEIGHT * WIDTH
    values = {
        "rgb": torch.arange(3 * count).view(1, count, 3) / 100,
        "opacity": torch.ones(1, count),
        "depth": torch.zeros(1, count),
        "head_opacity": torch.zeros(1, count),
    }
    rays = RenderedRays(**(values | changes))
    return RenderedFrame.of(None, Picture.from_rays(rays, HEIGHT, WIDTH))


def test_rays_lie_row_by_row_and_missing_parts_stay_missing():
    weights = torch.arange(12.0).view(1, 6, 2)
    frame = rendered(part_weights=weights)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            ray = y * WIDTH + x
            expected = torch.tensor([3.0 * ray, 3 * ray + 1, 3 * ray + 2]) / 100
            torch.testing.assert_close(frame.image[:, y, x], expected)
            assert torch.equal(frame.part_weights[y, x], weights[0, ray])
    assert rendered().part_weights is None


def test_what_is_not_covered_is_white():
    opacity = torch.tensor([[0.0, 0.25, 0.5, 0.75, 1.0, 1.0]])
    frame = rendered(rgb=torch.zeros(1, 6, 3), opacity=opacity)
    torch.testing.assert_close(frame.image[1].flatten(), 1 - opacity[0])
    assert torch.equal(frame.opacity.flatten(), opacity[0])


def test_depth_is_divided_by_the_heads_opacity_and_fades_nowhere():
    opacity = torch.tensor([[0.0, 0.1, 0.49, 0.51, 0.8, 1.0]])
    frame = rendered(depth=1.5 * opacity, head_opacity=opacity)
    torch.testing.assert_close(frame.depth.flatten(), torch.tensor([0, 0, 0, 1.5, 1.5, 1.5]))
