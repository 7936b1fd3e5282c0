"""From the state of a page to a view, and the names on its controls."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from partnerface.cameras.pinhole import Camera
from partnerface.data.view import View
from partnerface.head_models.head_rig import HeadRig
from partnerface.viewer.controls import (
    PRESETS,
    REGIONS,
    Controls,
    label_of,
    other_side,
    preset_expression,
    presets_for,
    region_of,
    turn,
)
from tests.contracts.subjects import shared_head_model, strong_parameters

HEAD = shared_head_model()
NAMES = HEAD.asset.expression_names
NOTHING = (0.0,) * len(NAMES)


@pytest.fixture
def base() -> View:
    head = strong_parameters(HEAD)
    rig = HeadRig.of(HEAD, head.identity)
    return View(Camera.static(1, 600.0, 256, 256), head, torch.eye(2, 3)[None], rig)


def added(**actions: float) -> tuple[float, ...]:
    return tuple(actions.get(name, 0.0) for name in NAMES)


def test_untouched_controls_change_nothing_to_the_bit(base: View) -> None:
    view = Controls(NOTHING).view(base, HEAD)
    for field in ("expression", "joint_rotations", "rotation", "translation"):
        assert torch.equal(getattr(view.head, field), getattr(base.head, field))
    assert view.camera is base.camera
    assert torch.equal(view.torso_motion, base.torso_motion)


def test_an_action_is_added_and_the_sum_keeps_to_the_range(base: View) -> None:
    jaw, brow = NAMES.index("jawOpen"), NAMES.index("browInnerUp")
    expression = torch.zeros_like(base.head.expression)
    expression[:, jaw], expression[:, brow] = 0.5, 1.3  # the performance itself exaggerates its brows
    base = replace(base, head=replace(base.head, expression=expression))
    shown = Controls(added(jawOpen=0.3, browInnerUp=0.4)).view(base, HEAD).head.expression[0]
    assert shown[jaw] == pytest.approx(0.8)
    assert shown[brow] == pytest.approx(1.3)
    assert Controls(added(jawOpen=1.0)).view(base, HEAD).head.expression[0, jaw] == 1.0
    assert Controls(added(jawOpen=-1.0)).view(base, HEAD).head.expression[0, jaw] == 0.0


def test_a_joint_turns_to_the_subjects_left_and_upwards(base: View) -> None:
    straight = torch.eye(3).expand(1, HEAD.num_joints, 3, 3)
    base = replace(base, head=replace(base.head, joint_rotations=straight))
    eye = HEAD.joint("eye_left")
    turned = Controls(NOTHING, joint_turns=((eye, 20.0, 10.0),)).view(base, HEAD).head.joint_rotations[0]
    gaze = turned[eye] @ torch.tensor([0.0, 0.0, 1.0])
    # x is the subject's left, y up: an independent rotation by scipy.
    expected = Rotation.from_euler("YX", [20, -10], degrees=True).apply([0.0, 0.0, 1.0])
    np.testing.assert_allclose(gaze.numpy(), expected, atol=1e-6)
    assert gaze[0] > 0.3
    assert gaze[1] > 0.15
    others = [joint for joint in range(HEAD.num_joints) if joint != eye]
    assert torch.equal(turned[others], straight[0, others])
    assert torch.allclose(turn(0.0, 0.0), torch.eye(3))


def test_a_camera_that_moves_with_the_world_shows_the_same_picture_of_the_head(base: View) -> None:
    """Seen from a camera turned by 25 degrees about the head, projected by hand."""
    angle = np.deg2rad(25.0)
    centre = base.head.translation[0].numpy().astype(float)
    around = Rotation.from_rotvec([0.0, angle, 0.0]).as_matrix()
    own = base.camera.camera_to_world[0].numpy().astype(float)
    pose = np.concatenate([around @ own[:, :3], (around @ (own[:, 3] - centre) + centre)[:, None]], 1)
    controls = Controls(NOTHING, camera_to_world=tuple(map(tuple, pose.tolist())))
    view = controls.view(base, HEAD)
    points = HEAD(view.head).vertices
    pixels = view.camera.project(points)[0][0].numpy()
    local = (points[0].numpy() - pose[:, 3]) @ pose[:, :3]
    np.testing.assert_allclose(pixels, 600.0 * local[:, :2] / local[:, 2:] + 128.0, atol=1e-2)


def test_every_action_has_one_region_a_label_of_its_own_there_and_at_most_one_other_side() -> None:
    labels = [(region_of(name), label_of(name)) for name in NAMES]
    assert len(set(labels)) == len(NAMES)
    assert {region for region, _ in labels} == set(REGIONS) - {"Other"}
    sides = {name: other_side(name, NAMES) for name in NAMES}
    pairs = {name: other for name, other in sides.items() if other}
    assert all(pairs[other] == name for name, other in pairs.items())
    alone = {"browInnerUp", "cheekPuff", "jawLeft", "jawRight", "mouthLeft", "mouthRight", "tongueOut"}
    assert alone <= {name for name, other in sides.items() if other is None}
    assert len(pairs) == 36
    assert (region_of("exp_12"), label_of("exp_12")) == ("Other", "exp 12")


def test_presets_name_actions_that_exist() -> None:
    assert presets_for(NAMES) == list(PRESETS)
    for preset, wanted in PRESETS.items():
        values = dict(zip(NAMES, preset_expression(preset, NAMES), strict=True))
        for name, value in wanted.items():
            sides = [side for side in (name, f"{name}Left", f"{name}Right") if side in values]
            assert sides, name
            assert {values[side] for side in sides} == {value}
        assert sum(value != 0 for value in values.values()) >= len(wanted)
    assert presets_for(["expression_0", "expression_1"]) == ["Neutral"]
