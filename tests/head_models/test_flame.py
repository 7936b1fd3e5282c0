"""FLAME files: the contract on random bases, and everything that may be wrong with a file."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.errors import UserError
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.flame_mouth import open_rims
from partnerface.head_models.head_parts import head_parts, landmark_points
from tests.contracts.head_model_contract import HeadModelContract
from tests.head_models.flame_files import embedded, flame_arrays, flame_head_arrays


@pytest.fixture
def flame_file(tmp_path):
    path = tmp_path / "flame.npz"
    np.savez(path, **flame_arrays())
    return path


class TestFlame(HeadModelContract):
    @pytest.fixture
    def head_model(self, flame_file):
        return FlameHead(flame_file, num_identity=7, num_expression=5).double()

    def test_joints_follow_identity_and_expression(self, head_model):
        """FLAME regresses its joints from the shaped and expressive vertices."""
        arrays = flame_arrays()
        identity, expression = torch.randn(7).double(), torch.randn(5).double()
        coefficients = np.zeros(400)
        coefficients[:7], coefficients[300:305] = identity, expression
        shaped = arrays["v_template"] + arrays["shapedirs"] @ coefficients
        expected = arrays["J_regressor"] @ shaped - arrays["J_regressor"][1] @ arrays["v_template"]
        head = head_model.neutral_parameters(1).to(torch.float64)
        head.identity, head.expression = identity, expression[None]
        torch.testing.assert_close(head_model(head).joints[0], torch.tensor(expected), atol=1e-6, rtol=0)

    def test_eyeballs_are_parts(self, head_model):
        assert head_model.part_faces("eye_left").nonzero().flatten().tolist() == [52]
        assert head_model.part_faces("eye_right").nonzero().flatten().tolist() == [53]

    def test_head_joint_is_the_neck(self, head_model):
        assert head_model.joint("head") == head_model.joint("neck")

    def test_parts_need_landmarks(self, head_model):
        with pytest.raises(UserError, match="landmark embedding"):
            head_parts(head_model)


@pytest.fixture(scope="module")
def mouth_file(tmp_path_factory, anny):
    """A file whose mean head is Anny's, with an open mouth; FLAME's rest is written by the tests."""
    path = tmp_path_factory.mktemp("flame") / "flame_head.npz"
    np.savez(path, **flame_head_arrays(anny))
    return path


class TestFlameWithTeeth(HeadModelContract):
    @pytest.fixture
    def head_model(self, mouth_file):
        return FlameHead(mouth_file, num_identity=7, num_expression=5, teeth=True).double()

    def test_upper_teeth_follow_the_head_and_lower_ones_the_jaw(self, head_model):
        head = head_model.neutral_parameters(2).to(torch.float64)
        turn = axis_angle_to_matrix(torch.tensor([0.2, 0.0, 0.0]).double())
        head.joint_rotations[0, head_model.joint("jaw")] = turn
        head.joint_rotations[1, head_model.joint("neck")] = turn
        still, posed = head_model.template_vertices, head_model(head).vertices
        for row, joint in (("upper", "neck"), ("lower", "jaw")):
            teeth = head_model.faces[head_model.part_faces(f"teeth_{row}")].unique()
            assert len(teeth) == 60
            pivot = head_model.template_joints[head_model.joint(joint)]
            turned = (still[teeth] - pivot) @ turn.T + pivot
            torch.testing.assert_close(posed[0 if row == "lower" else 1, teeth], turned, atol=1e-9, rtol=0)
        upper = head_model.faces[head_model.part_faces("teeth_upper")].unique()
        torch.testing.assert_close(posed[0, upper], still[upper], atol=1e-12, rtol=0)


def lips(head_model):
    """Landmarks 13 and 14: the middle of the inner edges of the upper and the lower lip."""
    return landmark_points(head_model, head_model.template_vertices)[[13, 14]]


def face_normals(head_model, faces):
    a, b, c = (head_model.template_vertices[faces[:, k]] for k in range(3))
    return torch.linalg.cross(b - a, c - a)


def test_teeth_stand_behind_the_lips_and_face_the_front(mouth_file, anny):
    head = embedded(FlameHead(mouth_file, 7, 5, teeth=True), anny)
    teeth, middle = head.template_vertices[-120:], lips(head).mean(0)
    columns = teeth.view(8, 15, 3)
    upper_root, lower_root, upper_edge, lower_edge = columns[:4, 7]
    # Edges meet between the lips, roots lie 5 to 12 mm above and below, half a centimetre behind.
    assert (upper_edge - middle)[1].abs() < 0.004
    assert 0.005 < (upper_root - upper_edge)[1] < 0.012
    assert 0.005 < (lower_edge - lower_root)[1] < 0.012
    assert 0.002 < (middle - upper_edge)[2] < 0.012
    assert (columns[:, 0, 0] < -0.015).all()
    assert (columns[:, 14, 0] > 0.015).all()
    for name in ("teeth_upper", "teeth_lower"):
        front = head.faces[head.part_faces(name)][:28]
        normals = face_normals(head, front)
        assert (normals[:, 2] > 0).sum() >= 20


def test_a_surface_closes_the_mouth_from_lip_to_lip(mouth_file, anny):
    """No rim of the mesh lies at the mouth any more; the surface is seen from the front."""
    head = FlameHead(mouth_file, 7, 5)
    closing = head.faces[head.part_faces("mouth_cavity")]
    front = face_normals(head, closing)
    assert front[:, 2].sum() > 0
    rim = set(closing.unique().tolist())
    skin = head.faces[head.part_faces("skin")].numpy()
    assert any(rim <= set(found.tolist()) for found in open_rims(skin))
    both = np.concatenate([skin, closing.numpy()])
    assert not any(rim & set(found.tolist()) for found in open_rims(both))


def test_teeth_need_an_open_mouth(flame_file):
    with pytest.raises(UserError, match=r"flame\.npz: teeth: the mesh has no open mouth"):
        FlameHead(flame_file, 7, 5, teeth=True)


@pytest.mark.parametrize(("teeth", "given"), [(False, "bare"), (True, "bare"), (True, "teeth")])
def test_a_static_offset_moves_the_mean_head_and_its_joints(mouth_file, anny, tmp_path, teeth, given):
    """Joints are regressed after it, as VHAP does."""
    arrays = flame_head_arrays(anny)
    count = len(arrays["v_template"])
    rng = np.random.default_rng(3)
    offset = 0.01 * rng.standard_normal((1, count + (120 if given == "teeth" else 0), 3)).astype(np.float32)
    path = tmp_path / "canonical_flame_param.npz"
    np.savez(path, static_offset=offset, shape=np.zeros(300))
    plain, moved = (FlameHead(mouth_file, 7, 5, teeth, file) for file in (None, path))
    regressed = arrays["J_regressor"] @ (arrays["v_template"] + offset[0, :count])
    expected = torch.tensor(regressed - regressed[1]).float()
    torch.testing.assert_close(moved.template_joints, expected, atol=1e-6, rtol=0)
    padded = np.zeros((len(plain.template_vertices), 3), np.float32)
    padded[: offset.shape[1]] = offset[0]
    origin = torch.tensor(regressed[1] - arrays["J_regressor"][1] @ arrays["v_template"]).float()
    found = moved.template_vertices - plain.template_vertices + origin
    torch.testing.assert_close(found, torch.tensor(padded), atol=1e-6, rtol=0)


def test_a_static_offset_without_teeth_for_a_file_with_teeth(tmp_path):
    """VHAP's files have 5023 or 5143 rows; teeth that an offset lacks do not move."""
    np.savez(tmp_path / "teeth.npz", **flame_arrays(180))
    offset = 0.01 * np.random.default_rng(3).standard_normal((60, 3))
    padded = np.concatenate([offset, np.zeros((120, 3))])
    bare, whole = (FlameHead(tmp_path / "teeth.npz", 7, 5, static_offset=o) for o in (offset, padded))
    assert bare.asset.checksum() == whole.asset.checksum()
    assert bare.asset.checksum() != FlameHead(tmp_path / "teeth.npz", 7, 5).asset.checksum()


@pytest.mark.parametrize("offset", [np.zeros((7, 3)), np.full((60, 3), np.nan), np.zeros((60, 3), int)])
def test_a_static_offset_of_another_head(flame_file, tmp_path, offset):
    np.savez(tmp_path / "offset.npz", static_offset=offset)
    with pytest.raises(UserError, match=r"offset\.npz"):
        FlameHead(flame_file, 7, 5, static_offset=tmp_path / "offset.npz")


class ChumpyLike:
    """Pickles as ``chumpy.ch.Ch`` does."""

    def __init__(self, x):
        self.x, self._dirty_vars = x, set()


def write_pickle(path, arrays, protocol):
    """A pickle that names chumpy's class without chumpy."""
    ChumpyLike.__module__, ChumpyLike.__qualname__, ChumpyLike.__name__ = "chumpy.ch", "Ch", "Ch"
    import sys
    import types

    module = types.ModuleType("chumpy.ch")
    module.Ch = ChumpyLike
    sys.modules["chumpy"], sys.modules["chumpy.ch"] = types.ModuleType("chumpy"), module
    try:
        path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("layout", ["csc_matrix", "csr_matrix", "coo_matrix", "csc_array"])
def test_pickle_reads_like_npz(tmp_path, flame_file, protocol, layout):
    sparse = pytest.importorskip("scipy.sparse", reason="scipy writes the sparse matrices of this test")
    arrays = flame_arrays()
    arrays["J_regressor"] = getattr(sparse, layout)(arrays["J_regressor"])
    arrays["v_template"] = ChumpyLike(arrays["v_template"])
    arrays["shapedirs"] = ChumpyLike(np.asfortranarray(arrays["shapedirs"]))
    arrays["scale"] = np.float64(1.0)
    path = tmp_path / "flame.pkl"
    write_pickle(path, arrays, protocol)
    pickled, plain = FlameHead(path, 7, 5), FlameHead(flame_file, 7, 5)
    for name, value in plain.named_buffers():
        torch.testing.assert_close(pickled.get_buffer(name), value)


def test_unsafe_pickle_is_refused(tmp_path):
    path = tmp_path / "flame.pkl"
    path.write_bytes(pickle.dumps({**flame_arrays(), "extra": print}))
    with pytest.raises(UserError, match=r"flame\.pkl: asks for builtins\.print"):
        FlameHead(path)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pkl: not found; download"):
        FlameHead(tmp_path / "nowhere.pkl")


@pytest.mark.parametrize("key", ["v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f"])
def test_missing_and_misshapen_arrays(tmp_path, key):
    arrays = flame_arrays()
    path = tmp_path / "flame.npz"
    np.savez(path, **{k: v for k, v in arrays.items() if k != key})
    with pytest.raises(UserError, match=f"has no {key}"):
        FlameHead(path)
    np.savez(path, **{**arrays, key: arrays[key][..., None]})
    with pytest.raises(UserError, match=r"flame\.npz"):
        FlameHead(path)


def test_faces_outside_the_mesh(tmp_path):
    arrays = flame_arrays()
    arrays["f"][0, 0] = 60
    path = tmp_path / "flame.npz"
    np.savez(path, **arrays)
    with pytest.raises(UserError, match="points outside"):
        FlameHead(path)


def test_more_components_than_the_file_has(flame_file):
    with pytest.raises(UserError, match="num_expression is 101, but the file has 100"):
        FlameHead(flame_file, 100, 101)
    with pytest.raises(UserError, match="num_identity is 301, but the file has 300"):
        FlameHead(flame_file, 301, 50)


def test_other_suffix_and_corrupt_npz(tmp_path, flame_file):
    other = tmp_path / "flame.txt"
    other.write_text("hello")
    with pytest.raises(UserError, match=r"must end in \.npz or \.pkl"):
        FlameHead(other)
    content = flame_file.read_bytes()
    for damaged in (b"", b"PK", content[: len(content) // 2]):
        flame_file.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read"):
            FlameHead(flame_file)
