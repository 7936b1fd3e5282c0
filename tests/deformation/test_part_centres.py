"""Where parts start: where motion is, spread, and never twice in one place."""

import pytest
import torch

from partnerface.deformation.part_centres import part_centres, placed_centres
from partnerface.head_models.head_parts import landmark_points
from partnerface.user_error import UserError


def plane(side: int = 30) -> torch.Tensor:
    axis = torch.linspace(0, 1, side)
    return torch.cat([torch.cartesian_prod(axis, axis), torch.zeros(side**2, 1)], 1)


def test_centres_gather_where_motion_is():
    vertices = plane()
    moving = (vertices[:, :2] - torch.tensor([0.8, 0.2])).norm(dim=1) < 0.2
    motion = moving.float() * 0.01
    centres = part_centres(vertices, motion, 8)
    near = (centres[:, :2] - torch.tensor([0.8, 0.2])).norm(dim=1) < 0.25
    uniform = part_centres(vertices, torch.ones(len(vertices)), 8)
    near_uniform = (uniform[:, :2] - torch.tensor([0.8, 0.2])).norm(dim=1) < 0.25
    # The moving disc is an eighth of the area: one centre of eight, were all places equal.
    assert near.sum() >= 4
    assert near_uniform.sum() <= 2


@pytest.mark.parametrize("parts", [1, 4, 64])
def test_equal_motion_spreads_them_evenly(parts):
    centres = part_centres(plane(), torch.ones(900), parts)
    assert centres.shape == (parts, 3)
    farthest = torch.cdist(plane(), centres).amin(1).max()
    # A square grid of P centres leaves no place farther than half a diagonal of its cell.
    assert farthest < 1.7 * 0.5**0.5 / parts**0.5
    if parts > 1:
        distance = torch.cdist(centres, centres).fill_diagonal_(torch.inf)
        assert distance.amin(1).min() > 0.3 / parts**0.5


def test_one_part_sits_at_the_weighted_mean():
    vertices = plane()
    motion = vertices[:, 0] + 1
    centre = part_centres(vertices, motion, 1)[0]
    expected = (vertices * motion[:, None]).sum(0) / motion.sum()
    torch.testing.assert_close(centre, expected, atol=1e-5, rtol=0)


def test_a_still_clip_has_centres_all_the_same():
    centres = part_centres(plane(), torch.zeros(900), 6)
    assert centres.isfinite().all()
    distance = torch.cdist(centres, centres).fill_diagonal_(torch.inf)
    assert distance.min() > 0.1


def test_as_many_parts_as_vertices():
    vertices = plane(4)
    centres = part_centres(vertices, torch.ones(16), 16)
    assert torch.cdist(vertices, centres).amin(1).max() < 1e-3


def test_parts_on_landmarks_are_far_from_one_another(anny):
    vertices = anny.template_vertices
    used = torch.arange(len(vertices))
    expression = torch.zeros(2, anny.num_expression)
    centres = placed_centres("landmarks", anny, vertices, used, expression, 24)
    embedded = torch.as_tensor(anny.asset.landmark_barycentric.sum(1) > 0.5)
    points = landmark_points(anny, vertices)[embedded]
    assert torch.cdist(centres, points).amin(1).max() < 1e-3
    between = torch.cdist(centres, centres).fill_diagonal_(torch.inf).min()
    # Farthest points cover: every landmark is nearer to a centre than the centres are to each other.
    assert torch.cdist(points, centres).amin(1).max() <= between + 1e-3


def test_farthest_points_do_not_ask_what_moves(anny):
    vertices, generator = anny.template_vertices, torch.Generator().manual_seed(0)
    used = torch.arange(len(vertices))
    expressions = torch.rand(2, 5, anny.num_expression, generator=generator)
    even = [placed_centres("farthest_points", anny, vertices, used, e, 12) for e in expressions]
    torch.testing.assert_close(even[0], even[1])
    moved = placed_centres("expression_motion", anny, vertices, used, expressions[0], 12)
    face = landmark_points(anny, vertices).mean(0)
    assert (moved - face).norm(dim=1).mean() < 0.8 * (even[0] - face).norm(dim=1).mean()


def test_more_parts_than_landmarks(anny):
    vertices = anny.template_vertices
    with pytest.raises(UserError, match="parts is 5000"):
        placed_centres(
            "landmarks", anny, vertices, torch.arange(9), torch.zeros(1, anny.num_expression), 5000
        )
