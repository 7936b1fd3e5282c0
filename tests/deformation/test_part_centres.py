"""Where parts start: where motion is, spread, and never twice in one place."""

import pytest
import torch

from partnerface.deformation.part_placement import part_centres, placed_centres
from partnerface.errors import UserError
from partnerface.head_models.head_parts import HeadParts, head_parts, landmark_points
from tests.contracts.subjects import canonical_head


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
    centres = placed_centres("landmarks", canonical_head(anny), 24)
    embedded = torch.as_tensor(anny.asset.landmark_barycentric.sum(1) > 0.5)
    points = landmark_points(anny, anny.template_vertices)[embedded]
    assert torch.cdist(centres, points).amin(1).max() < 1e-3
    between = torch.cdist(centres, centres).fill_diagonal_(torch.inf).min()
    # Farthest points cover: every landmark is nearer to a centre than the centres are to each other.
    assert torch.cdist(points, centres).amin(1).max() <= between + 1e-3


def test_farthest_points_do_not_ask_what_moves(anny):
    generator = torch.Generator().manual_seed(0)
    heads = [canonical_head(anny, torch.rand(5, anny.num_expression, generator=generator)) for _ in range(2)]
    even = [placed_centres("farthest_points", head, 12) for head in heads]
    torch.testing.assert_close(even[0], even[1])
    moved = placed_centres("expression_motion", heads[0], 12)
    face = landmark_points(anny, anny.template_vertices).mean(0)
    assert (moved - face).norm(dim=1).mean() < 0.8 * (even[0] - face).norm(dim=1).mean()


def test_named_regions_lie_where_their_names_say(anny):
    head = canonical_head(anny)
    centres = placed_centres("head_regions", head, 13)
    mouth, eye, other_eye, scalp, brow, other_brow, jaw, nose, *rest = centres
    neck = rest[-1]
    assert jaw[1] < mouth[1] < nose[1] < eye[1] < brow[1] < scalp[1]
    assert neck[1] < jaw[1]
    assert scalp[2] < mouth[2]
    for left, right in ((eye, other_eye), (brow, other_brow), rest[:2], rest[2:4]):
        # The head is symmetric, the landmarks around which its brows are found are less so.
        torch.testing.assert_close(left * torch.tensor([-1.0, 1, 1]), right, atol=8e-3, rtol=0)
        assert left[0] > 0.02
    parts = HeadParts(head_parts(anny).weights)
    torch.testing.assert_close(mouth, parts.centre("mouth", anny.template_vertices), atol=1e-3, rtol=0)
    torch.testing.assert_close(placed_centres("head_regions", head, 4), centres[:4])


@pytest.mark.parametrize(
    ("placement", "kind"), [("landmarks", "landmarks"), ("head_regions", "named regions")]
)
def test_more_parts_than_places(anny, placement, kind):
    with pytest.raises(UserError, match=f"parts is 5000, but the head model has [0-9]+ {kind}"):
        placed_centres(placement, canonical_head(anny), 5000)


def test_the_cube_maps_to_zero_and_one(anny):
    corners = torch.tensor([[-0.25, -0.25, -0.25], [0.25, 0.25, 0.25]])
    torch.testing.assert_close(canonical_head(anny).in_cube(corners), torch.tensor([[0.0] * 3, [1.0] * 3]))
