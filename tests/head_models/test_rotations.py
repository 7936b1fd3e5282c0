"""Quaternions and rotation vectors against pytorch3d."""

import pytest
import torch
from pytorch3d.transforms import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    quaternion_to_matrix,
    random_rotations,
)

from partnerface.head_models.rotations import matrix_quaternions, quaternion_matrices, rotation_vectors


def rotations() -> torch.Tensor:
    """Random ones, tiny ones, the identity, and half turns about axes and diagonals."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    tiny = axis_angle_to_matrix(1e-5 * torch.randn(20, 3, generator=generator))
    turns = torch.cat([torch.eye(3), torch.ones(1, 3) / 3**0.5, torch.tensor([[0.6, -0.8, 0.0]])])
    half = 2 * turns[:, :, None] * turns[:, None] - torch.eye(3)
    return torch.cat([random_rotations(200), tiny, torch.eye(3)[None], half])


def test_quaternions_turn_as_the_matrices_do():
    found = matrix_quaternions(rotations())
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(found)))
    assert (found[:, 0] >= 0).all()
    torch.testing.assert_close(quaternion_to_matrix(found), rotations(), atol=1e-5, rtol=0)


def test_matrices_of_quaternions_of_any_length_are_those_of_pytorch3d():
    quaternions = 3 * torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(quaternion_matrices(quaternions), quaternion_to_matrix(quaternions))


def test_vectors_are_those_of_pytorch3d():
    found, expected = rotation_vectors(rotations()), matrix_to_axis_angle(rotations())
    whole = expected.norm(dim=1) < 3.1
    torch.testing.assert_close(found[whole], expected[whole], atol=2e-4, rtol=1e-3)
    # By half a turn about an axis or about its opposite: the same rotation.
    torch.testing.assert_close(axis_angle_to_matrix(found), rotations(), atol=2e-3, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 1e-7, 0.3, 3.0])
def test_gradients_are_finite_and_those_of_a_finite_difference(angle):
    axis = torch.tensor([0.48, 0.6, 0.64], dtype=torch.float64)
    matrix = axis_angle_to_matrix(angle * axis).requires_grad_()
    assert torch.autograd.gradcheck(matrix_quaternions, matrix)
