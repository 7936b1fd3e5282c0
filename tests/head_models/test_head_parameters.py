"""Learned corrections: nothing at the start, each frame for itself, gradients that are right at zero."""

import pytest
import torch
from scipy.spatial.transform import Rotation

from partnerface.head_models.head_parameters import ParameterRefinement


def test_starts_as_the_identity(random_head_parameters):
    head = random_head_parameters(frames=3)
    refined = ParameterRefinement(7, head.expression.shape[1])(head, torch.tensor([6, 0, 2]))
    for name in ("rotation", "translation", "expression"):
        torch.testing.assert_close(getattr(refined, name), getattr(head, name), atol=1e-6, rtol=0)
    for name in ("identity", "joint_rotations", "torso_rotation", "torso_translation"):
        assert getattr(refined, name) is getattr(head, name)


def test_corrects_each_frame_by_its_own_row(random_head_parameters):
    head = random_head_parameters(frames=2)
    refinement = ParameterRefinement(5, head.expression.shape[1])
    for parameter in refinement.parameters():
        torch.nn.init.normal_(parameter)
    frames = torch.tensor([4, 1])
    refined = refinement(head, frames)
    turn = Rotation.from_rotvec(refinement.rotation.detach()[frames].numpy()).as_matrix()
    torch.testing.assert_close(
        refined.rotation, torch.tensor(turn).float() @ head.rotation, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(refined.translation, head.translation + refinement.translation[frames])
    torch.testing.assert_close(refined.expression, head.expression + refinement.expression[frames])


def test_gradient_at_zero_is_the_generator_of_rotations(random_head_parameters):
    """d(exp(w) R) = [w]x R at w = 0, and untouched frames get none."""
    head = random_head_parameters(frames=1)
    refinement = ParameterRefinement(2, head.expression.shape[1])
    weights = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    (refinement(head, torch.tensor([1])).rotation[0] * weights).sum().backward()
    expected = []
    for axis in torch.eye(3):
        cross = torch.linalg.cross(axis.expand(3, 3), torch.eye(3)).T
        expected.append((cross @ head.rotation[0] * weights).sum())
    torch.testing.assert_close(refinement.rotation.grad[1], torch.stack(expected), atol=1e-5, rtol=0)
    assert not refinement.rotation.grad[0].any()


def test_size_counts_in_its_units():
    refinement = ParameterRefinement(3, 4)
    assert refinement.size(torch.tensor([0, 2])) == 0
    with torch.no_grad():
        refinement.rotation[1] = torch.deg2rad(torch.tensor(0.5))
        refinement.translation[1] = 0.002
        refinement.expression[1] = 0.3
    assert float(refinement.size(torch.tensor([1])).detach()) == pytest.approx(1 + 4 + 9, rel=1e-2)
    assert float(refinement.size(torch.tensor([0, 1])).detach()) == pytest.approx(7, rel=1e-2)
