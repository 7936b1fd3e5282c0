"""Expressions carried over between head models: against scipy, and on heads whose true map is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix
from scipy.optimize import lsq_linear

from partnerface.errors import UserError
from partnerface.head_models import expression_map as module
from partnerface.head_models.expression_map import EFFORT_M, ExpressionMap, expression_map, fit_expression_map
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parts import landmark_points
from partnerface.head_models.ict_facekit import IctFaceKitHead
from tests.head_models.flame_files import embedded, flame_arrays, flame_head_arrays


@pytest.fixture(scope="module")
def ict():
    return IctFaceKitHead()


@pytest.fixture(scope="module")
def flame(anny, tmp_path_factory):
    """Anny's surface with mixed expressions and a jaw that a joint opens."""
    path = tmp_path_factory.mktemp("flame") / "flame.npz"
    np.savez(path, **flame_head_arrays(anny))
    return embedded(FlameHead(path, 20, 49), anny)


@pytest.fixture(scope="module")
def ict_to_anny(ict, anny):
    return fit_expression_map(ict, anny)


def quadratic(rng, source=4, target=6):
    """A map whose motions are known as matrices: ``[Cs, N]`` and ``[Ct, N]``."""
    theirs, ours = (1e-2 * rng.standard_normal((count, 30)) for count in (source, target))
    low, high = np.zeros(target), np.full(target, 0.6)
    low[3:], high[3:] = -0.3, 3.0
    products = (theirs @ theirs.T, ours @ theirs.T, ours @ ours.T, np.zeros((target, source)))
    values = (*products, np.zeros((target, target)), low, high, np.eye(3), np.array(1.0), np.zeros(3))
    return theirs, ours, ExpressionMap(*(torch.tensor(value) for value in values))


def test_carrying_is_bounded_least_squares():
    """scipy solves the same problem frame by frame."""
    rng = np.random.default_rng(0)
    theirs, ours, mapping = quadratic(rng)
    controls = 2 * rng.standard_normal((20, 4))
    found = mapping.carry(torch.tensor(controls)).numpy()
    low, high = mapping.low.numpy(), mapping.high.numpy()
    effort = EFFORT_M / np.maximum(np.abs(low), high)
    rows = np.concatenate([ours.T, np.diag(effort)])
    for frame, got in zip(controls, found, strict=True):
        wanted = np.concatenate([frame @ theirs, np.zeros(6)])
        expected = lsq_linear(rows, wanted, (low, high), tol=1e-12).x
        np.testing.assert_allclose(got, expected, atol=2e-3)
    assert ((found == low) | (found == high)).any()
    lost = np.sqrt(((controls @ theirs - found @ ours) ** 2).sum(1).mean())
    whole = np.sqrt(((controls @ theirs) ** 2).sum(1).mean())

    errors = mapping.error_mm(torch.tensor(controls), torch.tensor(found))
    np.testing.assert_allclose(errors, [1e3 * lost, 1e3 * whole])


def test_inside_the_limits_the_map_is_linear():
    rng = np.random.default_rng(1)
    _, _, mapping = quadratic(rng)
    mapping.low[:], mapping.high[:] = -50, 50
    first, second = (torch.tensor(rng.standard_normal((3, 4))) for _ in range(2))
    both = mapping.carry(2 * first - second)
    torch.testing.assert_close(both, 2 * mapping.carry(first) - mapping.carry(second), atol=1e-6, rtol=0)


def test_a_head_model_is_carried_to_itself(anny):
    """Every action alone keeps its motion; what is no unique combination may be another one."""
    mapping = fit_expression_map(anny, anny)
    torch.testing.assert_close(mapping.rotation, torch.eye(3).double(), atol=1e-4, rtol=0)
    assert float(mapping.scale) == pytest.approx(1, abs=1e-5)
    actions = torch.eye(anny.num_expression)
    found = mapping.carry(actions)
    for k, name in enumerate(anny.asset.expression_names):
        lost, whole = mapping.error_mm(actions[k : k + 1], found[k : k + 1])
        assert lost < 0.05 + 0.15 * whole, name
        if not name.startswith("tongue"):
            assert found[k].argmax() == k, name


def vertex_error(source, target, mapping, head, carried):
    """Root mean squares in mm of what is lost and of all motion at the target's landmarks."""
    theirs, ours = (
        landmark_points(model, model.rest_space_vertices(state)[0])
        - landmark_points(model, model.template_vertices)
        for model, state in ((source, head), (target, carried))
    )
    theirs = float(mapping.scale) * theirs @ mapping.rotation.float().T
    return (theirs - ours).norm(dim=1).square().mean().sqrt(), theirs.norm(dim=1).square().mean().sqrt()


def test_a_head_of_flames_form_shows_what_anny_does(anny, flame):
    """Its expressions span Anny's but for the opening jaw, which its joint turns, on an arc."""
    mapping = fit_expression_map(anny, flame)
    generator = torch.Generator().manual_seed(0)
    for jaw in (0.0, 0.7):
        head = anny.neutral_parameters()
        some = torch.rand(anny.num_expression, generator=generator) < 0.2
        head.expression[0] = 0.6 * torch.rand(anny.num_expression, generator=generator) * some
        for name, value in {"jawOpen": jaw, "mouthClose": 0.0, "tongueOut": 0.0}.items():
            head.expression[0, anny.expression_index(name)] = value
        controls = mapping.carry(head.expression)
        carried = flame.neutral_parameters()
        carried.expression = controls[:, :49]
        carried.joint_rotations[:, flame.joint("jaw")] = axis_angle_to_matrix(controls[:, 49:])
        assert (controls[0, 49] > 0.1) == (jaw > 0)
        lost, whole = vertex_error(anny, flame, mapping, head, carried)
        assert whole > 1e-3
        assert lost < (2.5e-3 if jaw else 0.4e-3)


def test_the_jaw_joint_becomes_an_action(anny, flame):
    mapping = fit_expression_map(flame, anny)
    turned = torch.zeros(1, 52)
    turned[0, 49] = 0.2
    carried = mapping.carry(turned)[0]
    assert carried.argmax() == anny.expression_index("jawOpen")
    assert 0.2 < carried.max() < 0.8


def test_two_real_head_models_agree_on_names(ict, anny, ict_to_anny):
    """The map knows geometry alone; ARKit's names of both say what should come out."""
    names = ["jawOpen", "jawLeft", "mouthPucker", "mouthRollLower"]
    names += [f"{action}Left" for action in ("browDown", "mouthFrown", "browOuterUp")]
    controls = torch.eye(ict.num_expression)[[ict.expression_index(name) for name in names]]
    carried = ict_to_anny.carry(controls)
    for name, found in zip(names, carried, strict=True):
        assert found[anny.expression_index(name)] > 0.55 * found.max(), name
    lost, whole = ict_to_anny.error_mm(controls, carried)
    assert lost < 0.35 * whole


def test_eyes_that_close_close_on_the_other_head(ict, anny, ict_to_anny):
    """ICT's lids are less far apart than Anny's: by their motion alone Anny's would stay half open."""
    blink = torch.zeros(1, ict.num_expression)
    blink[0, [ict.expression_index("eyeBlinkLeft"), ict.expression_index("eyeBlinkRight")]] = 1.0

    def opening(expression):
        rest = anny.template_vertices + anny.expression_offsets(expression)[0]
        points = landmark_points(anny, rest)
        return (points[[386, 159]] - points[[374, 145]]).norm(dim=1)

    at_rest = opening(torch.zeros(1, anny.num_expression))
    closed = torch.zeros(1, anny.num_expression)
    closed[0, [anny.expression_index("eyeBlinkLeft"), anny.expression_index("eyeBlinkRight")]] = 1.0
    change = at_rest - opening(ict_to_anny.carry(blink))
    assert (change > 0.8 * (at_rest - opening(closed))).all()


def test_a_turned_scaled_and_shifted_head_gives_the_same_map(anny):
    """Axes and units of a head model do not matter."""
    import dataclasses

    turn = axis_angle_to_matrix(torch.tensor([0.2, -0.3, 0.1])).numpy()
    asset = anny.asset

    def moved(values, shift=0.0):
        return (1.25 * values.astype(np.float32) @ turn.T + shift).astype(np.float32)

    other = HeadModel(
        dataclasses.replace(
            asset,
            template_vertices=moved(asset.template_vertices, 0.3),
            template_joints=moved(asset.template_joints, 0.3),
            identity_basis=moved(asset.identity_basis),
            expression_basis=moved(asset.expression_basis),
            joint_identity_basis=moved(asset.joint_identity_basis),
        )
    )
    mapping = fit_expression_map(other, anny)
    same = fit_expression_map(anny, anny)
    assert float(mapping.scale) == pytest.approx(0.8, abs=1e-4)
    torch.testing.assert_close(mapping.rotation.float(), torch.tensor(turn.T), atol=1e-4, rtol=0)
    scale = float(same.source_gram.diagonal().max())
    # Candidates are spread over a surface of another size: correspondences move by less than a millimetre.
    torch.testing.assert_close(mapping.cross / scale, same.cross / scale, atol=0.02, rtol=0)


def test_a_map_is_fitted_once_and_a_damaged_file_again(anny, ict, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    first = expression_map(ict, anny)
    [file] = (tmp_path / "expression_maps").iterdir()
    assert file.name.startswith("ict_facekit_anny_")
    fitted = []
    monkeypatch.setattr(module, "fit_expression_map", lambda *pair: fitted.append(pair) or first)
    again = expression_map(ict, anny)
    for name, value in vars(first).items():
        assert torch.equal(getattr(again, name), value)
    assert fitted == []
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        expression_map(ict, anny)
        assert len(fitted) == 1
        fitted.clear()


def test_without_landmarks_there_is_no_map(anny, tmp_path):
    np.savez(tmp_path / "flame.npz", **flame_arrays())
    with pytest.raises(UserError, match=r"head model flame: has no landmark .*compared.*embed-landmarks"):
        expression_map(FlameHead(tmp_path / "flame.npz", 7, 5), anny)
