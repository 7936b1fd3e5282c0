"""Rendered frames and strips against pixels computed by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from partnerface.avatar.picture import Picture
from partnerface.data.batches.datasets import EvaluationFrame
from partnerface.evaluation.pictures import (
    Prediction,
    comparison_strip,
    depth_map,
    full_strip,
    part_colours,
    part_map,
)
from partnerface.rendering.rendered_rays import RenderedRays
from tests.views import random_view


def _rendered(parts: bool) -> Prediction:
    image = torch.zeros(3, 2, 2)
    image[0] = 1.0
    matte = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    frame = EvaluationFrame(
        random_view(1), 3, image, matte, torch.zeros(2, 2, dtype=torch.uint8), ["temporal"]
    )
    weights = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 0.0], [0.0, 1.0]]]) if parts else None
    return Prediction(frame, torch.ones(3, 2, 2), matte, torch.tensor([[1.0, 2.0], [0.0, 1.5]]), weights)


def test_comparison_holds_target_render_and_error() -> None:
    strip = comparison_strip(_rendered(parts=False))
    assert strip.shape == (2, 6, 3)
    assert strip.dtype == np.uint8
    assert strip[0, 0].tolist() == [255, 0, 0]
    assert strip[0, 1].tolist() == [255, 128, 128]
    assert strip[1, 0].tolist() == [255, 255, 255]
    assert (strip[:, 2:4] == 255).all()
    assert strip[0, 4].tolist() == [0, 255, 255]
    assert strip[1, 4].tolist() == [0, 0, 0]


def test_full_strip_has_a_panel_less_without_parts() -> None:
    assert full_strip(_rendered(parts=True)).shape == (2, 10, 3)
    assert full_strip(_rendered(parts=False)).shape == (2, 8, 3)


def test_full_strip_does_not_map_a_single_part() -> None:
    whole = replace(_rendered(parts=False), part_weights=torch.ones(2, 2, 1))
    assert np.array_equal(full_strip(whole), full_strip(_rendered(parts=False)))


def test_part_map_mixes_the_colours_over_white() -> None:
    rendered, colours = _rendered(parts=True), part_colours(2)
    shown = part_map(rendered.part_weights)
    torch.testing.assert_close(shown[:, 0, 0], colours[0])
    torch.testing.assert_close(shown[:, 0, 1], colours.mean(0))
    torch.testing.assert_close(shown[:, 1, 0], torch.ones(3))


@pytest.mark.parametrize(("parts", "least"), [(8, 30), (16, 9), (64, 9)])
def test_part_colours_differ(parts: int, least: float) -> None:
    """In CIELAB, of which about 2 can be seen beside each other, by littleCMS."""
    pixels = (255 * part_colours(parts)).round().byte().numpy()
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    found = np.asarray(ImageCms.applyTransform(Image.fromarray(pixels[None]), to_lab))[0]
    lab = torch.from_numpy(np.concatenate([found[:, :1] / 2.55, found[:, 1:].astype(np.int8)], 1))
    assert (torch.cdist(lab, lab) + 1000 * torch.eye(parts)).min() > least


def test_depth_map_is_brighter_near_and_black_where_nothing_is() -> None:
    shown = depth_map(torch.tensor([[1.0, 2.0], [0.0, 1.5]]))[0]
    assert shown[0, 0] > shown[1, 1] > shown[0, 1] > 0
    assert shown[1, 0] == 0


def test_depth_map_of_nothing_and_of_a_plane_is_finite() -> None:
    assert (depth_map(torch.zeros(2, 2)) == 0).all()
    assert torch.isfinite(depth_map(torch.ones(2, 2))).all()


HEIGHT, WIDTH = 2, 3


def rendered(**changes: torch.Tensor) -> Prediction:
    count = HEIGHT * WIDTH
    values = {
        "rgb": torch.arange(3 * count).view(1, count, 3) / 100,
        "opacity": torch.ones(1, count),
        "depth": torch.zeros(1, count),
        "head_opacity": torch.zeros(1, count),
    }
    rays = RenderedRays(**(values | changes))
    return Prediction.of(None, Picture.from_rays(rays, HEIGHT, WIDTH))


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
