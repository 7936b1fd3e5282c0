"""Skinning free functions; chains and blending are held by the head model contract."""

from __future__ import annotations

import math

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.head_models.linear_blend_skinning import halfway_transform, transform_points


def rigid(axis_angle, translation):
    rotation = axis_angle_to_matrix(torch.tensor([axis_angle]).double())
    return torch.cat([rotation, torch.tensor([translation]).double()[..., None]], -1)


@pytest.mark.parametrize("angle", [0.0, 1e-7, 1e-3, 0.5, 2.0, 3.1])
def test_half_the_rotation_twice_is_the_rotation(angle):
    axis = torch.tensor([0.6, -0.48, 0.64])
    first = rigid([0.3, -0.2, 0.9], [0.1, 0.2, 0.3])
    turn = axis_angle_to_matrix((angle * axis)[None].double())
    second = torch.cat([first[..., :3] @ turn, torch.tensor([[[0.5], [-0.1], [0.0]]]).double()], -1)
    pivot = torch.tensor([[0.02, -0.1, 0.03]]).double()
    half = halfway_transform(first, second, pivot)
    step = first[0, :, :3].T @ half[0, :, :3]
    torch.testing.assert_close(step @ step, turn[0], atol=1e-9, rtol=0)
    assert torch.acos(((step.trace() - 1) / 2).clamp(-1, 1)).item() == pytest.approx(angle / 2, abs=1e-6)
    middle = 0.5 * (transform_points(first, pivot) + transform_points(second, pivot))
    torch.testing.assert_close(transform_points(half, pivot), middle)


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-4, 1.0, math.pi - 0.1])
def test_gradient_of_the_halfway_transform(angle):
    """Finite at the identity, and equal to finite differences everywhere."""
    start = torch.tensor([[0.0, angle, 0.0]]).double().requires_grad_()
    other = torch.tensor([[0.0, 0.0, 0.0]]).double().requires_grad_()
    generators = torch.zeros(3, 3, 3).double()
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        generators[k, j, i], generators[k, i, j] = 1.0, -1.0

    def half(first, second):
        def pose(v):
            rotation = torch.linalg.matrix_exp(torch.einsum("bk,kij->bij", v, generators))
            return torch.cat([rotation, v[..., None]], -1)

        return halfway_transform(pose(first), pose(second), torch.full((1, 3), 0.1).double())

    assert torch.autograd.gradcheck(half, (start, other), atol=1e-6)
