"""The shipped Anny head: the contract, and what its bake promises."""

from __future__ import annotations

import math

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.head_models.anny import AnnyHead
from tests.contracts.head_model_contract import HeadModelContract


@pytest.fixture(scope="module")
def anny_head():
    return AnnyHead().double()


class TestAnny(HeadModelContract):
    @pytest.fixture
    def head_model(self, anny_head):
        return anny_head


def posed_vertices(model, **actions):
    head = model.neutral_parameters(1).to(torch.float64)
    for name, value in actions.items():
        head.expression[0, model.expression_index(name)] = value
    return model(head).vertices[0]


def part_vertices(model, *names):
    return model.faces[model.part_faces(*names)].unique()


def first_hits(origins, directions, triangles):
    """Moeller-Trumbore: face index and side (+1 front, -1 back, 0 no hit) of the nearest hit of each ray."""
    a, edge1, edge2 = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    p = torch.linalg.cross(directions[:, None], edge2[None])
    determinant = (p * edge1).sum(-1)
    offset = origins[:, None] - a
    u = (offset * p).sum(-1) / determinant
    q = torch.linalg.cross(offset, edge1.expand_as(offset))
    v = (q * directions[:, None]).sum(-1) / determinant
    t = (q * edge2).sum(-1) / determinant
    hit = (determinant.abs() > 1e-16) & (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    t = torch.where(hit, t, torch.inf)
    nearest, face = t.min(1)
    side = determinant.gather(1, face[:, None])[:, 0].sign() * nearest.isfinite()
    return face, side


def view_direction(yaw, pitch):
    angles = torch.tensor([pitch, yaw, 0.0], dtype=torch.float64) * math.pi / 180
    turn = axis_angle_to_matrix(angles * torch.tensor([0.0, 1, 0])) @ axis_angle_to_matrix(
        angles * torch.tensor([1.0, 0, 0])
    )
    return turn @ torch.tensor([0, 0, -1.0], dtype=torch.float64)


VIEWS = [(yaw, pitch) for yaw in (-35, -17, 0, 17, 35) for pitch in (-15, 0, 15)]


def inner_lip_ring(model, vertices):
    """``[20, 3]`` landmarks along the inner edge of both lips."""
    inner = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]
    faces = model.faces[torch.tensor(model.asset.landmark_faces[inner]).long()]
    barycentric = torch.tensor(model.asset.landmark_barycentric[inner]).double()
    return (vertices[faces] * barycentric[..., None]).sum(1)


@pytest.mark.parametrize("jaw_open", [0.3, 0.8])
def test_every_ray_between_the_lips_hits_a_front_face(anny_head, jaw_open):
    vertices = posed_vertices(anny_head, jawOpen=jaw_open)
    ring = inner_lip_ring(anny_head, vertices)
    generator = torch.Generator().manual_seed(0)
    mix = torch.rand(40, len(ring), generator=generator, dtype=torch.float64) ** 4
    targets = (mix / mix.sum(1, keepdim=True)) @ ring
    near = ((vertices - ring.mean(0)).norm(dim=1) < 0.12)[anny_head.faces].any(1)
    triangles = vertices[anny_head.faces[near]]
    parts = anny_head.face_parts[near]
    names = anny_head.asset.part_names
    seen = set()
    for yaw, pitch in VIEWS:
        direction = view_direction(yaw, pitch).expand_as(targets)
        face, side = first_hits(targets - 0.1 * direction, direction, triangles)
        assert (side == 1).all(), (yaw, pitch)
        seen |= {names[i] for i in parts[face].tolist()}
    assert {"mouth_cavity", "tongue", "teeth_lower"} <= seen


@pytest.mark.parametrize("actions", [{}, {"jawOpen": 0.8}, {"eyeBlinkLeft": 1.0}, {"eyeWideRight": 1.0}])
def test_no_hole_is_visible_on_the_face(anny_head, actions):
    """Rays to points inside the head never meet the inside of a surface (lashes are open cards)."""
    vertices = posed_vertices(anny_head, **actions)
    faces = anny_head.faces[~anny_head.part_faces("lashes")]
    near = (vertices[faces, 1].amax(1) > -0.1) & (vertices[faces, 2].amax(1) > 0.0)
    triangles = vertices[faces[near]]
    x, y = torch.meshgrid(torch.linspace(-0.05, 0.05, 11), torch.linspace(-0.045, 0.1, 14), indexing="ij")
    targets = torch.stack([x, y, torch.full_like(x, 0.05)], -1).reshape(-1, 3).double()
    for yaw, pitch in VIEWS[::4]:
        direction = view_direction(yaw, pitch).expand_as(targets)
        _, side = first_hits(targets - 0.2 * direction, direction, triangles)
        assert (side == 1).all(), (yaw, pitch)


def boundary_edges(faces):
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    directed = {tuple(edge) for edge in edges}
    assert len(directed) == len(edges), "two faces run the same way along an edge"
    return [edge for edge in directed if edge[::-1] not in directed]


def test_skin_is_open_at_the_bust_only(anny_head):
    """Skin and mouth cavity make one consistently oriented surface with one rim, below the shoulders."""
    rim = boundary_edges(anny_head.faces[anny_head.part_faces("skin", "mouth_cavity")])
    vertices = anny_head.template_vertices[torch.tensor(rim).unique()]
    assert vertices[:, 1].max() < -0.25


@pytest.mark.parametrize("side", ["left", "right"])
def test_eyeballs_are_closed_spheres(anny_head, side):
    faces = anny_head.faces[anny_head.part_faces(f"eye_{side}")]
    assert boundary_edges(faces) == []
    a, b, c = anny_head.template_vertices[faces].unbind(1)
    volume = (a * torch.linalg.cross(b, c)).sum() / 6
    vertices = anny_head.template_vertices[faces.unique()]
    radius = (vertices - anny_head.template_joints[anny_head.joint(f"eye_{side}")]).norm(dim=1)
    assert volume.item() == pytest.approx(4 / 3 * math.pi * radius.mean().item() ** 3, rel=0.15)
    assert radius.max() / radius.min() < 1.35


def test_eyes_mirror_each_other(anny_head):
    left = anny_head.template_vertices[part_vertices(anny_head, "eye_left")]
    right = anny_head.template_vertices[part_vertices(anny_head, "eye_right")]
    mirrored = right * torch.tensor([-1.0, 1, 1])
    assert len(left) == len(right)
    assert torch.cdist(left, mirrored).amin(1).max() < 2e-4


def test_gaze_actions_leave_the_eyeballs(anny_head):
    eyes = part_vertices(anny_head, "eye_left", "eye_right")
    looks = [i for i, n in enumerate(anny_head.asset.expression_names) if n.startswith("eyeLook")]
    assert len(looks) == 8
    assert (anny_head.expression_basis[looks][:, eyes] == 0).all()
    lids = anny_head.expression_basis[looks].norm(dim=-1).amax(1)
    assert (lids > 5e-4).all()


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_eye_joints_turn_the_eyes_alone(anny_head, side):
    head = anny_head.neutral_parameters(1).to(torch.float64)
    joint = anny_head.joint(f"eye_{side.lower()}")
    head.joint_rotations[0, joint] = axis_angle_to_matrix(torch.tensor([0.0, 0.4, 0.0]).double())
    moved = (anny_head(head).vertices[0] - anny_head.template_vertices).norm(dim=1)
    eye = part_vertices(anny_head, f"eye_{side.lower()}")
    others = torch.ones_like(moved, dtype=torch.bool)
    others[eye] = False
    assert moved[eye].max() > 4e-3
    assert moved[others].max() < 1e-3


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_lashes_follow_a_blink(anny_head, side):
    """The lash roots stay at the lid: within 3 mm of skin that moved as they did."""
    sign = 1 if side == "Left" else -1
    lashes, skin = part_vertices(anny_head, "lashes"), part_vertices(anny_head, "skin")
    rest = anny_head.template_vertices
    closed = posed_vertices(anny_head, **{f"eyeBlink{side}": 1.0})
    lashes = lashes[rest[lashes, 0] * sign > 0]
    distance = torch.cdist(rest[lashes], rest[skin])
    roots = lashes[distance.amin(1) < 2.5e-3]
    lid = skin[torch.cdist(rest[roots], rest[skin]).argmin(1)]
    assert (closed[roots] - rest[roots]).norm(dim=1).max() > 8e-3
    assert (closed[lid] - rest[lid]).norm(dim=1).max() > 8e-3
    assert torch.cdist(closed[roots], closed[skin]).amin(1).max() < 4e-3


def test_jaw_opens_by_action_and_by_joint(anny_head):
    """Doubled by design: the action is the one in use, the joint rests at identity; both open the mouth."""
    chin = int(anny_head.asset.faces[anny_head.asset.landmark_faces[152]][0])
    teeth = part_vertices(anny_head, "teeth_lower")
    rest = anny_head.template_vertices
    by_action = posed_vertices(anny_head, jawOpen=1.0) - rest
    head = anny_head.neutral_parameters(1).to(torch.float64)
    head.joint_rotations[0, anny_head.joint("jaw")] = axis_angle_to_matrix(
        torch.tensor([0.35, 0, 0]).double()
    )
    by_joint = anny_head(head).vertices[0] - rest
    for moved in (by_action, by_joint):
        assert moved[chin, 1] < -0.01
        assert moved[teeth, 1].mean() < -0.01
    upper = part_vertices(anny_head, "teeth_upper")
    assert by_action[upper].abs().max() < 1e-4
    expected = torch.zeros(anny_head.num_expression, dtype=torch.float64)
    expected[anny_head.expression_index("jawOpen")] = 0.3
    torch.testing.assert_close(anny_head.canonical_expression, expected, atol=1e-6, rtol=0)


def test_actions_move_no_torso(anny_head):
    torso = anny_head.skinning_weights[:, anny_head.joint("root")] > 0.9
    assert anny_head.expression_basis[:, torso].abs().max() < 1e-3
