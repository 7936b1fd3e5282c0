"""Interpolation between voxel corners: exact where it must be, distrusted where values jump."""

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.avatar.sparse_voxels import SparseVoxels, known_at_corners

POSE = axis_angle_to_matrix(torch.tensor([0.4, -0.8, 0.3])), torch.tensor([0.3, -0.1, -1.0])
CUBE = torch.tensor([-0.2, -0.15, -0.1]), torch.tensor(0.4)
SIDE = 16


def rigid(points: torch.Tensor) -> torch.Tensor:
    return (points - POSE[1]) @ POSE[0]


def points_in_the_cube(count: int, seed: int = 0) -> torch.Tensor:
    inside = CUBE[0] + CUBE[1] * torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    return inside @ POSE[0].T + POSE[1]


def affine(points: torch.Tensor) -> torch.Tensor:
    """Places that turn a little with the head, all of interest, and one more channel."""
    turn = axis_angle_to_matrix(torch.tensor([0.05, 0.02, -0.03]))
    place = rigid(points) @ turn.T + 0.01
    return torch.cat([place, place @ torch.tensor([[1.0, 2], [3, 4], [5, 6]]) + torch.tensor([9.0, 0])], 1)


def build(points: torch.Tensor, value) -> SparseVoxels:
    return known_at_corners([points[::2], points[1::2]], value, POSE, CUBE, SIDE)


def test_affine_values_are_exact():
    points = points_in_the_cube(500)
    found, trusted = build(points, affine)(points)
    assert trusted.all()
    torch.testing.assert_close(found[:, :5], affine(points), atol=2e-6, rtol=1e-5)


def test_smooth_values_err_by_the_second_derivative():
    def bent(points: torch.Tensor) -> torch.Tensor:
        place = rigid(points)
        return torch.cat([place, (20 * place).sin() + 2], 1)

    points = points_in_the_cube(2000)
    found, trusted = build(points, bent)(points)
    assert trusted.all()
    bound = 3 * (20 * 0.4 / SIDE) ** 2 / 8
    assert (found[:, :6] - bent(points)).abs().max() < bound


def test_only_corners_of_visited_voxels_are_evaluated():
    asked = []

    def value(points: torch.Tensor) -> torch.Tensor:
        asked.append(rigid(points))
        return affine(points)

    points = points_in_the_cube(7)
    build(points, value)
    places = ((rigid(points) - CUBE[0]) / (CUBE[1] / SIDE)).floor().long()
    offsets = torch.cartesian_prod(*[torch.arange(2)] * 3)
    expected = {tuple(corner.tolist()) for place in places for corner in place + offsets}
    found = ((torch.cat(asked) - CUBE[0]) / (CUBE[1] / SIDE)).round().long()
    assert {tuple(corner.tolist()) for corner in found} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("jump", [0.02, -1.0])
def test_voxels_across_a_jump_are_not_trusted(jump):
    """Closed lids: two sides of a plane go to places apart."""

    def value(points: torch.Tensor) -> torch.Tensor:
        values = affine(points)
        values[rigid(points)[:, 1] > 0.03, 1] += jump
        return values

    points = points_in_the_cube(4000)
    found, trusted = build(points, value)(points)
    beyond = (rigid(points)[:, 1] - 0.03) / (0.4 / SIDE)
    straddles = torch.floor((rigid(points)[:, 1] + 0.15) / (0.4 / SIDE)) == 7
    assert straddles.any()
    assert not trusted[straddles].any()
    assert trusted[beyond < -1].all()
    torch.testing.assert_close(found[trusted, :5], value(points)[trusted], atol=3e-6, rtol=1e-5)
    assert trusted[~straddles].all()


def test_a_crease_that_no_corner_sees_is_found_beside_a_jump():
    """The crease of a lid: a dent of 0.3 voxels within one voxel, next to those across the closed lids."""
    spacing, jump = 0.4 / SIDE, 0.03
    dented = torch.tensor([5, 8, 6])
    middle = CUBE[0] + (dented + 0.5) * spacing

    def value(points: torch.Tensor) -> torch.Tensor:
        values, place = affine(points), rigid(points)
        values[place[:, 1] > jump, 1] -= 1.0
        away = ((place - middle) / (0.2 * spacing)).square().sum(1)
        values[:, 2] += 0.3 * spacing * (-away).exp()
        return values

    points = points_in_the_cube(4000)
    _, trusted = build(points, value)(points)
    voxel = ((rigid(points) - CUBE[0]) / spacing).floor().long()
    within = (voxel == dented).all(1)
    assert within.any()
    assert not trusted[within].any()
    assert trusted[(voxel[:, 1] == 8) & ~within].all()


def test_jumps_do_not_matter_outside_the_region_of_interest():
    """A sheet 4 voxels thick around one plane is of interest; values jump everywhere."""
    spacing = 0.4 / SIDE

    def value(points: torch.Tensor) -> torch.Tensor:
        height = rigid(points)[:, 2:]
        return torch.cat([torch.rand(len(points), 3), 2 * spacing - height.abs()], 1)

    points = points_in_the_cube(4000)
    found, trusted = build(points, value)(points)
    inside = value(points)[:, 3]
    assert not trusted[inside > 0].any()
    assert trusted[inside < -2 * spacing].all()
    assert (found[trusted, 3] < 0).all()


def test_points_outside_the_cube_belong_to_its_nearest_voxel():
    points = 3 * points_in_the_cube(50)
    found, trusted = build(points, affine)(points)
    assert trusted.all()
    assert found.isfinite().all()


def test_no_points():
    voxels = build(torch.zeros(0, 3), affine)
    found, trusted = voxels(torch.zeros(0, 3))
    assert found.shape == (0, 8)
    assert trusted.shape == (0,)
