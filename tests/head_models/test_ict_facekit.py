"""ICT-FaceKit: the contract, its surfaces and joints, and files of its layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from partnerface.errors import UserError
from partnerface.head_models.ict_facekit import IctFaceKitHead, read_ict_facekit
from tests.contracts.head_model_contract import HeadModelContract

SHARED_FILE = Path(__file__).parents[3] / "shared/data/head-models/ict_facekit_small.npz"


@pytest.fixture(scope="module")
def ict():
    return IctFaceKitHead()


def part_vertices(head_model, name):
    return head_model.faces[head_model.part_faces(name)].unique()


class TestIctFaceKit(HeadModelContract):
    @pytest.fixture
    def head_model(self):
        return IctFaceKitHead().double()

    def test_an_eye_turns_about_the_middle_of_its_ball(self, head_model):
        """Every vertex of the white stays as far from the joint as it was, and other parts do not move."""
        head = head_model.neutral_parameters(1).to(torch.float64)
        joint = head_model.joint("eye_left")
        turn = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]).double()
        head.joint_rotations[:, joint] = turn
        posed, still = head_model(head).vertices[0], head_model.template_vertices
        eye = part_vertices(head_model, "eye_left")
        moved = (posed - still).norm(dim=1) > 1e-6
        assert set(moved.nonzero()[:, 0].tolist()) <= set(eye.tolist())
        radius = (still[eye] - head_model.template_joints[joint]).norm(dim=1)
        assert radius.min() > 0.013
        assert radius.max() < 0.018

    def test_joints_of_the_eyes_follow_the_identity(self, head_model):
        generator = torch.Generator().manual_seed(0)
        identity = torch.randn(50, generator=generator).double()
        joints = head_model.identity_joints(identity)
        vertices = head_model.identity_vertices(identity)
        for name in ("eye_left", "eye_right"):
            eye = part_vertices(head_model, name)
            shift = (vertices - head_model.template_vertices)[eye].mean(0)
            expected = head_model.template_joints[head_model.joint(name)] + shift
            torch.testing.assert_close(joints[head_model.joint(name)], expected, atol=1e-5, rtol=0)


def test_it_is_a_human_head_in_metres(ict):
    """Figures of anatomy: interpupillary distance 62 +- 4 mm, teeth below the eyes, before the neck."""
    eyes = ict.template_joints[[ict.joint("eye_left"), ict.joint("eye_right")]]
    assert 0.058 < (eyes[0] - eyes[1])[0] < 0.066
    upper, lower = (
        ict.template_vertices[part_vertices(ict, f"teeth_{row}")].mean(0) for row in ("upper", "lower")
    )
    assert lower[1] < upper[1] < eyes[0, 1]
    neck = ict.skinning_weights[:, ict.joint("neck")] > 0.5
    assert ict.template_vertices[neck, 2].mean() < upper[2]
    # A nod about the neck turns the chin down and keeps the collar.
    face = (ict.template_vertices[:, 1] > -0.05) & (ict.template_vertices[:, 2] > 0.03)
    assert ict.head_weights()[face].min() > 0.8


def test_the_jaw_opens_by_an_expression_and_the_skull_stays(ict):
    assert ict.jaw_joint is None
    motion = ict.expression_basis[ict.expression_index("jawOpen")]
    assert (motion[part_vertices(ict, "teeth_lower"), 1] < -0.01).all()
    assert motion[part_vertices(ict, "teeth_upper")].norm(dim=1).max() < 1e-3


def small_file(path, **changes):
    """A file of the layout: a cube for every part, 3 identities, 2 expressions."""
    rng = np.random.default_rng(0)
    names = ["face", "head_neck", "mouth_socket", "eye_socket_left", "eye_socket_right", "gums_tongue"]
    names += ["teeth_upper", "teeth_lower", "eyeball_left", "eyeball_right", "iris_left"]
    places = {"eyeball_left": (3, 4, 8), "eyeball_right": (-3, 4, 8), "teeth_upper": (0, -2, 9)}
    places |= {"teeth_lower": (0, -4, 8), "head_neck": (0, -10, 0)}
    cube = rng.standard_normal((10, 3))
    template = np.concatenate([cube + places.get(name, (0, 0, 5)) for name in names]).astype(np.float32)
    faces = np.concatenate([[[0, 1, 2], [2, 3, 4], [5, 6, 7]] + 10 * np.array(i) for i in range(len(names))])
    arrays = {
        "template": template,
        "identity": rng.standard_normal((3, *template.shape)).astype(np.float16),
        "expression": rng.standard_normal((2, *template.shape)).astype(np.float16),
        "faces": faces.astype(np.int32),
        "faces_uv": np.zeros_like(faces, np.int32),
        "uv": np.zeros((1, 2), np.float32),
        "part_names": np.array(names),
        "part_ranges": np.array([[10 * i, 10 * i + 10] for i in range(len(names))], np.int32),
        "expression_names": np.array(["jawOpen", "mouthSmile_L"]),
    }
    np.savez(path, **{key: value for key, value in (arrays | changes).items() if value is not None})
    return arrays


def test_a_file_is_in_centimetres_and_loses_its_inner_irises(tmp_path):
    path = tmp_path / "head.npz"
    arrays = small_file(path)
    asset = read_ict_facekit(path)
    assert len(asset.template_vertices) == 100
    assert len(asset.faces) == 30
    shift = asset.template_vertices - 0.01 * arrays["template"][:100]
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-6)
    np.testing.assert_allclose(asset.identity_basis, 0.01 * arrays["identity"][:, :100], atol=3e-5)
    assert asset.expression_names == ["jawOpen", "mouthSmileLeft"]
    assert asset.canonical_expression.tolist() == [pytest.approx(0.3), 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uv": None}, "has no uv"),
        ({"template": np.zeros((7, 3), np.float32)}, "identity has shape"),
        ({"identity": np.full((3, 110, 3), np.nan, np.float16)}, "identity holds values that are not finite"),
        ({"faces": np.full((33, 3), 110, np.int32)}, "faces is empty or points outside"),
        ({"part_names": np.array(["face"] * 11)}, "part_names lacks head_neck"),
        ({"part_ranges": np.array([[0, 900]] * 11, np.int32)}, "part_ranges points outside"),
        ({"part_ranges": np.array([[5, 5]] * 11, np.int32)}, "empty parts"),
    ],
)
def test_what_may_be_wrong_with_a_file(tmp_path, changes, message):
    path = tmp_path / "head.npz"
    small_file(path, **changes)
    with pytest.raises(UserError, match=message) as caught:
        IctFaceKitHead(path)
    assert "head.npz" in str(caught.value)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(UserError, match=r"no such \.npz file"):
        IctFaceKitHead(tmp_path / "nowhere.npz")
    path = tmp_path / "head.npz"
    path.write_bytes(b"PK nonsense")
    with pytest.raises(UserError, match="cannot be read"):
        IctFaceKitHead(path)


@pytest.mark.skipif(not SHARED_FILE.is_file(), reason="the original geometry is not beside this checkout")
def test_the_packaged_head_is_that_of_the_original(ict):
    read = IctFaceKitHead(SHARED_FILE)
    assert read.asset.checksum() == ict.asset.checksum()
    np.testing.assert_array_equal(read.asset.landmark_faces, ict.asset.landmark_faces)
