"""Fine motion: nothing at neutral, and nothing that the expression basis could express."""

import pytest
import torch

from partnerface.data.synthetic.dressed_head import DressedHead
from partnerface.data.synthetic.face_coordinates import face_coordinates
from partnerface.data.synthetic.fine_motion import ExpressionDrive, bulge_heights, hair_sway, wrinkle_slopes
from partnerface.data.synthetic.subject import SUBJECTS
from partnerface.head_models.anny import AnnyHead


@pytest.fixture(scope="module")
def model():
    return AnnyHead()


@pytest.fixture(scope="module")
def dressed(model):
    return DressedHead(model, SUBJECTS["a"])


def expression(model, **coefficients):
    values = torch.zeros(model.num_expression)
    for name, value in coefficients.items():
        values[model.expression_index(name)] = value
    return values


def test_vanishes_at_neutral(model, dressed):
    neutral = expression(model)
    assert dressed.fine_offsets(neutral, torch.zeros(3)).abs().max() == 0
    drive = ExpressionDrive.from_expression(neutral, model)
    points = face_coordinates(model)
    assert bulge_heights(points, drive).abs().max() == 0
    assert wrinkle_slopes(points, drive, torch.zeros(len(points))).abs().max() == 0


@pytest.mark.parametrize(
    ("coefficients", "millimetres"),
    [
        ({"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "jawOpen": 0.6}, 1.5),
        ({"mouthPucker": 1.0}, 0.8),
        ({"browDownLeft": 1.0, "browDownRight": 1.0}, 0.8),
    ],
)
def test_is_not_in_the_span_of_the_basis(model, dressed, coefficients, millimetres):
    offsets = dressed.fine_offsets(expression(model, **coefficients), torch.zeros(3)).double()
    basis = model.expression_basis.double().reshape(model.num_expression, -1).T
    best = torch.linalg.lstsq(basis, offsets.reshape(-1, 1), driver="gelsd").solution
    residual = (offsets.reshape(-1, 1) - basis @ best).reshape(-1, 3).norm(dim=1)
    assert 1e3 * residual.max() > millimetres


def test_is_not_linear_in_the_coefficients(model, dressed):
    def offsets(smile, jaw):
        driven = expression(model, mouthSmileLeft=smile, mouthSmileRight=smile, jawOpen=jaw)
        return dressed.fine_offsets(driven, torch.zeros(3))

    together = offsets(0.8, 0.8) - offsets(0.8, 0.0) - offsets(0.0, 0.8)
    assert together.norm(dim=1).max() > 1e-3


def test_one_sided_smile_moves_one_cheek(model, dressed):
    offsets = dressed.fine_offsets(expression(model, mouthSmileLeft=1.0), torch.zeros(3)).norm(dim=1)
    x = face_coordinates(model)[:, 0]
    assert offsets[x > 0.02].max() > 2e-3
    assert offsets[x < -0.02].max() < 1e-4


def test_hair_lags_behind_a_turn_and_rests_with_the_head():
    still = torch.zeros(10, 3)
    assert hair_sway(still, 25.0).abs().max() == 0
    assert hair_sway(still[:1], 25.0).abs().max() == 0
    turning = still.clone()
    turning[:, 1] = torch.arange(10) / 25.0
    assert (hair_sway(turning, 25.0)[:, 0] < -1e-3).all()


def test_sway_moves_hair_only(dressed, model):
    moved = dressed.fine_offsets(expression(model), torch.tensor([0.002, 0.0, 0.0])).norm(dim=1)
    points = face_coordinates(model)
    assert moved[points[:, 1] < -0.001].max() == 0
    assert moved.max() == pytest.approx(0.002, rel=1e-3)
