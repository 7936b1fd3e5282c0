"""The landmarks as a small linear model, against the head model's own forward pass."""

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.head_models.flame import FlameHead
from partnerface.head_models.landmark_geometry import FACE_OVAL, LIPS, NOSE, landmark_geometry, vertex_points
from tests.head_models.flame_files import flame_head_arrays


@pytest.fixture(scope="module")
def geometry(anny):
    return landmark_geometry(anny)


@pytest.fixture(scope="module")
def heads(anny):
    """Three heads of a strong identity and expressions, their joints at rest, at the origin."""
    generator = torch.Generator().manual_seed(0)
    head = anny.neutral_parameters(3)
    head.identity = torch.randn(anny.num_identity, generator=generator)
    head.expression = 0.5 * torch.rand(3, anny.num_expression, generator=generator)
    return head


def test_positions_are_points_of_the_posed_surface(anny, geometry, heads):
    asset = anny.asset
    vertices = anny(heads).vertices.numpy()
    share = asset.landmark_barycentric[geometry.numbers].astype(np.float64)
    corners = vertices[:, asset.faces[asset.landmark_faces[geometry.numbers]]]
    expected = (corners * share[..., None]).sum(2)
    found = geometry.points.positions(heads.identity, heads.expression)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)


def test_a_short_identity_is_one_that_ends_in_zeros(anny, geometry, heads):
    padded = torch.zeros(anny.num_identity)
    padded[:4] = heads.identity[:4]
    short, long = (geometry.points.positions(i, heads.expression) for i in (padded[:4], padded))
    torch.testing.assert_close(short, long, atol=1e-6, rtol=0)


def test_vertices_and_selections_are_the_same_linear_model(anny, heads):
    chosen = torch.tensor([5, 900, 17, 4000])
    expected = anny(heads).vertices[:, chosen]
    points = vertex_points(anny, chosen)
    torch.testing.assert_close(
        points.positions(heads.identity, heads.expression), expected, atol=2e-5, rtol=0
    )
    some = points.select(torch.tensor([2, 0])).positions(heads.identity, heads.expression)
    torch.testing.assert_close(some, expected[:, [2, 0]], atol=2e-5, rtol=0)


def test_only_landmarks_of_a_small_spread_are_used(anny, geometry):
    assert (anny.asset.landmark_spread[geometry.numbers] <= 3.0).all()
    left_out = np.setdiff1d(np.arange(len(anny.asset.landmark_spread)), geometry.numbers)
    assert (anny.asset.landmark_spread[left_out] > 3.0).all()


def test_weights_by_hand(anny, geometry):
    assert float(geometry.weights.sum()) == pytest.approx(1, abs=1e-5)
    unscaled = 1 / (1 + anny.asset.landmark_spread[geometry.numbers] ** 2 / 2)
    ratio = geometry.weights.numpy() / unscaled
    ratio /= ratio[geometry.rows((4,))[0]]
    for numbers, expected in ((NOSE, 1.0), (LIPS, 3.0), (FACE_OVAL, 0.6)):
        np.testing.assert_allclose(ratio[geometry.rows(numbers)], expected, rtol=1e-4)


def test_rows_keep_the_order_and_leave_out_what_is_missing(geometry):
    low, high = int(geometry.numbers[3]), int(geometry.numbers[8])
    missing = int(np.setdiff1d(np.arange(500), geometry.numbers)[0])
    assert geometry.rows((high, missing, low)) == [8, 3]


def test_points_turn_with_a_jaw_joint_as_the_mesh_does(anny, tmp_path):
    """Linear blend skinning, pose correctives and joints that follow the expression are all in it."""
    np.savez(tmp_path / "flame.npz", **flame_head_arrays(anny))
    flame = FlameHead(tmp_path / "flame.npz", 20, 10)
    generator = torch.Generator().manual_seed(0)
    head = flame.neutral_parameters(3)
    head.identity = torch.randn(20, generator=generator)
    head.expression = torch.randn(3, 10, generator=generator)
    jaw = axis_angle_to_matrix(0.3 * torch.randn(3, 3, generator=generator))
    head.joint_rotations[:, flame.joint("jaw")] = jaw
    # A vertex that the neck's base holds too is posed by more than the jaw.
    chosen = torch.arange(0, len(flame.template_vertices), 37)
    expected = flame(head).vertices[:, chosen]
    points = vertex_points(flame, chosen)
    found = points.positions(head.identity, head.expression, jaw)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)
    assert (found - points.positions(head.identity, head.expression)).norm(dim=-1).max() > 0.01
    some = points.select(torch.tensor([30, 3])).positions(head.identity, head.expression, jaw)
    torch.testing.assert_close(some, expected[:, [30, 3]], atol=2e-6, rtol=0)
