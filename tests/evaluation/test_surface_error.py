import pytest
import torch

from partnerface.data.sequence import TrueSurface
from partnerface.evaluation.scores import GEOMETRY, SurfaceError


def surface():
    """Two rows of three pixels: the truth meets the head in the first five, the avatar shows four of them."""
    true_depth = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    depth = torch.tensor([[1.002, 0.997, 1.0], [1.001, 0.0, 0.9]])
    true_canonical = torch.zeros(2, 3, 3)
    canonical = torch.zeros(2, 3, 3)
    canonical[0, 0] = torch.tensor([0.003, 0.004, 0.0])
    canonical[0, 1] = torch.nan
    canonical[1, 1] = 9.0
    at_truth = torch.full((2, 3, 3), 0.001)
    return depth, canonical, at_truth, TrueSurface(true_depth, true_canonical)


EVERYWHERE = {"head_mask": torch.ones(2, 3, dtype=torch.bool)}


def test_by_hand():
    metric = SurfaceError(["temporal"], ["head_mask"])
    metric.update(["temporal", "other"], *surface(), EVERYWHERE)
    found = metric.compute()["temporal"]["head_mask"]
    assert found["depth_mm"] == pytest.approx((2 + 3 + 0 + 1) / 4, rel=1e-3)
    assert found["depth_coverage"] == pytest.approx(4 / 5)
    # Of the four pixels that both show, one has no canonical place.
    assert found["correspondence_mm"] == pytest.approx(5 / 3, rel=1e-5)
    assert found["correspondence_true_depth_mm"] == pytest.approx(3**0.5, rel=1e-5)


def test_images_count_once_and_regions_only_where_they_are():
    depth, *rest = surface()
    metric = SurfaceError(["temporal"], ["head_mask"])
    metric.update(["temporal"], rest[2].depth, *rest, {"head_mask": EVERYWHERE["head_mask"].clone()})
    one = torch.zeros(2, 3, dtype=torch.bool)
    one[0, 1] = True
    metric.update(["temporal"], depth, *rest, {"head_mask": one})
    metric.update(["temporal"], depth, *rest, {"head_mask": torch.zeros_like(one)})
    assert metric.compute()["temporal"]["head_mask"]["depth_mm"] == pytest.approx(1.5, rel=1e-3)


def test_a_method_without_canonical_head_has_depth_only():
    depth, _, _, truth = surface()
    metric = SurfaceError(["temporal"], ["head_mask"])
    metric.update(["temporal"], depth, None, None, truth, EVERYWHERE)
    found = metric.compute()["temporal"]["head_mask"]
    assert found["depth_mm"] > 0
    assert found["correspondence_mm"] is found["correspondence_true_depth_mm"] is None


def test_an_avatar_that_shows_nothing_has_no_error_and_no_coverage():
    depth, *rest = surface()
    metric = SurfaceError(["temporal"], ["head_mask"])
    metric.update(["temporal"], torch.zeros_like(depth), *rest, EVERYWHERE)
    found = metric.compute()["temporal"]["head_mask"]
    assert found["depth_mm"] is None
    assert found["depth_coverage"] == 0
    assert list(found) == list(GEOMETRY)
