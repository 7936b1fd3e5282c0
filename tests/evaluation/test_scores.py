from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix, so3_relative_angle

from partnerface.data.batches.datasets import EvaluationFrame
from partnerface.data.regions import EVALUATION_REGIONS, GEOMETRY_REGIONS, NEAREST_FRAME_REGIONS
from partnerface.data.sequence import TrueSurface
from partnerface.evaluation.metrics import L1, PSNR
from partnerface.evaluation.pictures import Prediction
from partnerface.evaluation.scores import (
    GEOMETRY,
    EvaluationScores,
    expression_displacement,
    nearest_training_frames,
)
from partnerface.head_models.head_parameters import HeadParameters
from tests.views import random_view

SIZE = 16


def rendered(number: int, error: float) -> tuple[Prediction, torch.Tensor, dict]:
    """A grey frame whose render is off by ``error`` and whose nearest training frame by 0.2."""
    grey, ones = torch.full((3, SIZE, SIZE), 0.5), torch.ones(SIZE, SIZE)
    frame = EvaluationFrame(random_view(1), number, grey, ones, ones.byte(), ["temporal"])
    masks = {name: torch.ones(SIZE, SIZE, dtype=torch.bool) for name in EVALUATION_REGIONS}
    return Prediction(frame, grey + error, ones, ones), grey + 0.2, masks


def scores(with_surface: bool = False) -> EvaluationScores:
    metrics = {"psnr": PSNR(), "l1": L1()}
    return EvaluationScores(["temporal"], metrics, with_surface, torch.device("cpu"))


def test_avatar_and_baseline_are_scored_beside_each_other():
    measured = scores()
    for number, error in enumerate((0.1, -0.1)):
        measured.update(*rendered(number, error))
    avatar, nearest = measured.averages()
    assert tuple(avatar["temporal"]) == ("full_frame", *EVALUATION_REGIONS)
    assert tuple(nearest["temporal"]) == ("full_frame", *NEAREST_FRAME_REGIONS)
    for values in avatar["temporal"].values():
        assert tuple(values) == ("psnr", "l1", "temporal")
        assert values["psnr"] == pytest.approx(20, abs=1e-3)
        assert values["temporal"] == pytest.approx(0.2, abs=1e-4)
    for values in nearest["temporal"].values():
        assert values["l1"] == pytest.approx(0.2, abs=1e-4)
        assert values["temporal"] == pytest.approx(0, abs=1e-6)


def test_a_previous_frame_makes_a_pair_but_no_score():
    measured = scores()
    measured.update(*rendered(3, 0.0))
    assert not measured.has_previous(6)
    measured.set_previous(*rendered(5, 0.3))
    assert measured.has_previous(6)
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
    measured.surface.update(["temporal"], frame.depth, places + 0.003, places + 0.001, truth, masks)
    avatar, _ = measured.averages()
    for region, values in avatar["temporal"].items():
        assert (set(GEOMETRY) <= values.keys()) == (region in GEOMETRY_REGIONS)
    found = avatar["temporal"]["mouth"]
    assert found["depth_mm"] == pytest.approx(4, rel=1e-3)
    assert found["correspondence_mm"] == pytest.approx(3 * 3**0.5, rel=1e-3)
    assert found["correspondence_true_depth_mm"] == pytest.approx(3**0.5, rel=1e-3)


def head_of(rotation, translation, expression) -> HeadParameters:
    neutral = HeadParameters.neutral(len(rotation), 1, expression.shape[1], 1)
    return replace(neutral, rotation=rotation, translation=translation, expression=expression)


def test_nearest_training_frames_against_a_loop_over_pairs():
    generator = torch.Generator().manual_seed(0)
    count = 30
    rotation = axis_angle_to_matrix(0.2 * torch.randn(count, 3, generator=generator))
    translation = 0.02 * torch.randn(count, 3, generator=generator)
    expression = torch.rand(count, 4, generator=generator)
    reach = torch.tensor([0.03, 0.01, 0.002, 0.0])
    train, queries = list(range(0, 20)), list(range(20, 30))

    def squared_distance(i, j):
        angle = float(so3_relative_angle(rotation[i : i + 1], rotation[j : j + 1], eps=1e-2))
        shift = translation[i] - translation[j]
        change = (expression[i] - expression[j]) * reach
        return (0.1 * angle) ** 2 + float(shift @ shift) + float(change @ change)

    expected = [min(train, key=lambda j: squared_distance(i, j)) for i in queries]
    assert (
        nearest_training_frames(queries, train, head_of(rotation, translation, expression), reach) == expected
    )


def test_each_part_decides_when_the_others_are_equal():
    rotation = torch.eye(3).repeat(3, 1, 1)
    still, neutral, reach = torch.zeros(3, 3), torch.zeros(3, 2), torch.tensor([0.02, 0.0])

    def nearest(rotation=rotation, translation=still, expression=neutral):
        return nearest_training_frames([2], [0, 1], head_of(rotation, translation, expression), reach)

    turned = axis_angle_to_matrix(torch.tensor([[0.0, 0, 0], [0, 0.4, 0], [0, 0.5, 0]]))
    assert nearest(rotation=turned) == [1]
    assert nearest(translation=torch.tensor([[0.0, 0, 0], [0, 0.2, 0], [0, 0.3, 0]])) == [1]
    assert nearest(expression=torch.tensor([[0.0, 0], [0.7, 0], [1, 0]])) == [1]
    # A coefficient that moves nothing decides nothing: the first frame wins the tie.
    assert nearest(expression=torch.tensor([[0.0, 0], [0, 0.7], [0, 1]])) == [0]


def test_a_training_frame_is_its_own_nearest():
    places = torch.arange(5.0)[:, None].expand(5, 3)
    train = [4, 1, 3]
    rotation = torch.eye(3).repeat(5, 1, 1)
    assert nearest_training_frames(train, train, head_of(rotation, places, places), torch.ones(3)) == train


def test_reach_is_the_longest_displacement():
    basis = torch.tensor([[[3.0, 4, 0], [1, 0, 0]], [[0.0, 0, 0], [0, 0, -2]]])
    assert expression_displacement(basis).tolist() == [5, 2]


def test_without_torso_is_the_whole_picture_with_the_torso_white_in_both():
    generator = torch.Generator().manual_seed(0)
    image, target = torch.rand(2, 3, SIZE, SIZE, generator=generator)
    labels = torch.randint(0, 7, (SIZE, SIZE), generator=generator).byte()
    measured = EvaluationScores(
        ["test"], {"psnr": PSNR(), "l1": L1()}, False, torch.device("cpu"), without_torso=True
    )
    ones = torch.ones(SIZE, SIZE)
    frame = EvaluationFrame(random_view(1), 0, target, ones, labels, ["test"])
    masks = {name: ones.bool() for name in EVALUATION_REGIONS}
    measured.update(Prediction(frame, image, ones, ones), target, masks)
    avatar, _ = measured.averages()
    kept = (labels != 6).numpy()
    error = (image - target).numpy()
    # Pixels of the torso count as right: 256 pixels divide, whatever is left out.
    expected = -10 * np.log10((error[:, kept] ** 2).sum() / (3 * SIZE * SIZE))
    assert avatar["test"]["without_torso"]["psnr"] == pytest.approx(expected, abs=1e-3)
    assert avatar["test"]["without_torso"]["l1"] == pytest.approx(
        np.abs(error[:, kept]).sum() / (3 * SIZE * SIZE), rel=1e-5
    )
    assert avatar["test"]["full_frame"]["psnr"] < expected
