import pytest
import torch

from partnerface.data.batches.datasets import EvaluationFrame
from partnerface.data.regions import EVALUATION_REGIONS, GEOMETRY_REGIONS, NEAREST_FRAME_REGIONS
from partnerface.data.sequence import TrueSurface
from partnerface.evaluation.rendered_frame import RenderedFrame
from partnerface.evaluation.scores import EvaluationScores
from partnerface.evaluation.surface_error import GEOMETRY
from tests.views import random_view

SIZE = 16


def rendered(number: int, error: float) -> tuple[RenderedFrame, torch.Tensor, dict]:
    """A grey frame whose render is off by ``error`` and whose nearest training frame by 0.2."""
    grey, ones = torch.full((3, SIZE, SIZE), 0.5), torch.ones(SIZE, SIZE)
    frame = EvaluationFrame(random_view(1), number, grey, ones, ones.byte(), ["temporal"])
    masks = {name: torch.ones(SIZE, SIZE, dtype=torch.bool) for name in EVALUATION_REGIONS}
    return RenderedFrame(frame, grey + error, ones, ones), grey + 0.2, masks


def scores(with_surface: bool = False) -> EvaluationScores:
    return EvaluationScores(["temporal"], None, with_surface, torch.device("cpu"))


def test_avatar_and_baseline_are_scored_beside_each_other():
    measured = scores()
    for number, error in enumerate((0.1, -0.1)):
        measured.update(*rendered(number, error))
    avatar, nearest = measured.averages()
    assert tuple(avatar["temporal"]) == ("full_frame", *EVALUATION_REGIONS)
    assert tuple(nearest["temporal"]) == ("full_frame", *NEAREST_FRAME_REGIONS)
    for values in avatar["temporal"].values():
        assert tuple(values) == ("psnr", "ssim", "ms_ssim", "lpips", "l1", "temporal")
        assert values["psnr"] == pytest.approx(20, abs=1e-3)
        assert values["temporal"] == pytest.approx(0.2, abs=1e-4)
    for values in nearest["temporal"].values():
        assert values["l1"] == pytest.approx(0.2, abs=1e-4)
        assert values["temporal"] == pytest.approx(0, abs=1e-6)


def test_a_frame_that_is_only_followed_makes_a_pair_but_no_score():
    measured = scores()
    measured.update(*rendered(3, 0.0))
    assert measured.lacks_frame_before(6)
    measured.follow(*rendered(5, 0.3))
    assert not measured.lacks_frame_before(6)
    measured.update(*rendered(6, 0.1))
    avatar, _ = measured.averages()
    values = avatar["temporal"]["full_frame"]
    assert values["temporal"] == pytest.approx(0.2, abs=1e-4)
    assert values["l1"] == pytest.approx(0.05, abs=1e-4)


def test_the_surface_has_its_keys_in_regions_of_the_head_only():
    measured = scores(with_surface=True)
    frame, nearest, masks = rendered(0, 0.0)
    measured.update(frame, nearest, masks)
    places = torch.zeros(SIZE, SIZE, 3)
    truth = TrueSurface(torch.full((SIZE, SIZE), 1.004), places)
    measured.update_surface(frame, places + 0.003, places + 0.001, truth, masks)
    avatar, _ = measured.averages()
    for region, values in avatar["temporal"].items():
        assert (set(GEOMETRY) <= values.keys()) == (region in GEOMETRY_REGIONS)
    found = avatar["temporal"]["mouth"]
    assert found["depth_mm"] == pytest.approx(4, rel=1e-3)
    assert found["correspondence_mm"] == pytest.approx(3 * 3**0.5, rel=1e-3)
    assert found["correspondence_true_depth_mm"] == pytest.approx(3**0.5, rel=1e-3)
