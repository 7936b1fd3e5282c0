"""The code follows the expression at the lips and nowhere else."""

import pytest
import torch

from partnerface.deformation.deformation import CanonicalHead
from partnerface.deformation.lip_expression import ANCHORS, LipExpression
from partnerface.head_models.head_parts import head_parts, surface_vertices
from tests.contracts.deformation_contract import DeformationContract
from tests.contracts.subjects import canonical_head, in_frame


class TestLipExpression(DeformationContract):
    # Distances to the anchors come from a product of matrices for 25 points and more, else one by one.
    rounding = 1e-3

    def make(self, driving_width: int) -> LipExpression:
        return LipExpression(driving_width, code_width=3)


@pytest.fixture(scope="module")
def head(anny) -> CanonicalHead:
    return canonical_head(anny)


@pytest.fixture
def lips(head) -> LipExpression:
    torch.manual_seed(0)
    made = LipExpression(driving_width=5, code_width=3)
    made.adapt_to(head)
    return made


def test_the_code_is_whole_at_the_mouth_and_zero_at_eyes_and_scalp(head, lips):
    weights = {name: weight[head.used] for name, weight in head_parts(head.head_model).weights.items()}
    positions = head.in_cube(head.vertices[head.used])
    driving = torch.randn(5)
    code = lips(positions, driving[None], in_frame(positions)).appearance
    full = driving[:-3] @ lips.code
    share = (code / full)[
        (weights["mouth"] > 0.9) & ~surface_vertices(head.head_model, "mouth_cavity")[head.used]
    ]
    assert share.mean() > 0.95
    assert share.min() > 0.5
    for part in ("eyes", "scalp", "ears", "brows"):
        assert not code[(weights[part] > 0.9) & (weights["mouth"] == 0)].any(), part


def test_nearness_fades_from_one_to_two_spacings(lips):
    with torch.no_grad():
        lips.anchors.zero_()
        lips.spacing.fill_(0.1)
    along = torch.tensor([0.0, 0.05, 0.1, 0.125, 0.15, 0.19, 0.2, 0.3])
    positions = torch.stack([along, torch.zeros(8), torch.zeros(8)], 1)
    expected = torch.tensor([1, 1, 1, 0.75, 0.5, 0.1, 0, 0])
    torch.testing.assert_close(lips.nearness(positions), expected, atol=1e-5, rtol=0)


def test_nothing_moves_and_the_code_is_linear_in_the_driving_signal(lips):
    positions, driving = lips.anchors + 0.001, torch.randn(5)
    frames = torch.stack([driving, 2 * driving, torch.zeros(5)])
    once, twice, never = (lips(positions, frames, in_frame(positions, f)) for f in range(3))
    assert once.appearance.any()
    assert not once.offsets.any()
    assert torch.equal(once.part_weights, torch.ones(ANCHORS, 1))
    torch.testing.assert_close(twice.appearance, 2 * once.appearance)
    assert not never.appearance.any()


def test_gradient_reaches_every_number_of_the_code(lips):
    lips(lips.anchors, torch.ones(1, 5), in_frame(lips.anchors)).appearance.sum().backward()
    assert lips.code.grad.abs().min() > 0
