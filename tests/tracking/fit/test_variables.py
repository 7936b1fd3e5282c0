"""What the fit projects, against the head model's forward pass and the camera of the dataset."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.landmark_geometry import landmark_geometry, vertex_points
from partnerface.tracking.fit.variables import (
    FitVariables,
    initial_poses,
    interpolate_missing,
    similarity_alignment,
)

FRAMES, FOCAL, CENTRE = 3, 480.0, (120.0, 140.0)


@pytest.fixture
def variables(anny):
    """A head of some identity, turned, speaking and looking aside."""
    generator = torch.Generator().manual_seed(0)
    rotation = 0.3 * torch.randn(FRAMES, 3, generator=generator)
    translation = torch.tensor([0.02, -0.05, -1.0]) + 0.02 * torch.randn(FRAMES, 3, generator=generator)
    variables = FitVariables(rotation, translation, FOCAL, CENTRE, anny)
    with torch.no_grad():
        variables.identity.copy_(torch.randn(anny.num_identity, generator=generator))
        variables.raw_expression.copy_(torch.rand(FRAMES, anny.num_expression, generator=generator) * 0.4)
        variables.gaze.copy_(0.3 * torch.randn(FRAMES, 2, generator=generator))
    return variables


@pytest.fixture
def camera():
    camera = Camera.static(FRAMES, FOCAL, 240, 320)
    camera.intrinsics[:, 2:] = torch.tensor(CENTRE)
    return camera


@torch.no_grad()
def test_points_are_projected_where_the_dataset_has_them(anny, variables, camera):
    """Skin of the head, which moves with no joint but the head's."""
    skin = anny.faces[anny.part_faces("skin")].unique()
    chosen = skin[anny.head_weights()[skin] > 0.9999][::97]
    head = variables.head_parameters()
    expected, _ = camera.project(anny(head).vertices[:, chosen])
    found = variables.pixels(vertex_points(anny, chosen), variables.rotation_matrices(), variables.expression)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


@torch.no_grad()
def test_irises_lie_on_the_posed_eyeballs_where_they_look(anny, variables, camera):
    head = variables.head_parameters()
    posed = anny(head)
    found = variables.iris_pixels(variables.rotation_matrices())
    for side, name in enumerate(("eye_left", "eye_right")):
        eyeball = anny.faces[anny.part_faces(name)].unique()
        rest = anny.template_vertices[eyeball] - anny.template_joints[anny.joint(name)]
        # The three vertices about the pupil, in rest pose on the eye's axis.
        pupil = eyeball[(rest[:, :2].norm(dim=1) + (rest[:, 2] < 0)).topk(3, largest=False).indices]
        cornea, _ = camera.project(posed.vertices[:, pupil])
        assert (found[:, side] - cornea.mean(1)).norm(dim=1).max() < 1.5
    variables.gaze.zero_()
    assert (variables.iris_pixels(variables.rotation_matrices()) - found).norm(dim=-1).max() > 2


def test_expressions_stay_in_their_range_and_the_tongue_at_rest(anny, variables):
    with torch.no_grad():
        variables.raw_expression[:, 0] = 7.0
        variables.raw_expression[:, 1] = -7.0
    low, high = (float(x) for x in anny.asset.expression_range)
    assert variables.expression[0, :2].tolist() == [high, low]
    assert (variables.expression[:, anny.expression_index("tongueOut")] == 0).all()
    variables.expression.sum().backward()
    gradient = variables.raw_expression.grad[0]
    assert gradient[:2].tolist() == [0, 0]
    assert gradient[anny.expression_index("tongueOut")] == 0
    assert gradient[anny.expression_index("jawOpen")] == 1


def test_head_parameters_have_the_whole_identity_and_start_at_the_first_guess(anny, variables):
    head = variables.head_parameters()
    assert len(head.identity) == anny.num_identity
    assert torch.equal(head.identity, variables.identity)
    assert head.torso_rotation is None
    assert variables.focal.item() == pytest.approx(FOCAL)
    with torch.no_grad():
        variables.log_focal += math.log(2)
    assert variables.focal.item() == pytest.approx(2 * FOCAL)


def test_alignment_agrees_with_scipy():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(20, 3))
    true = Rotation.from_rotvec([0.3, -0.8, 0.2])
    target = 2.5 * true.apply(source) + [1, 2, 3] + 0.05 * rng.normal(size=(20, 3))
    rotation, scale, offset = similarity_alignment(torch.tensor(source), torch.tensor(target)[None])
    centred = source - source.mean(0), target - target.mean(0)
    expected, _ = Rotation.align_vectors(centred[1], centred[0])
    np.testing.assert_allclose(rotation[0], expected.as_matrix(), atol=1e-9)
    rotated = expected.apply(centred[0])
    np.testing.assert_allclose(scale[0], (rotated * centred[1]).sum() / (rotated**2).sum(), rtol=1e-9)
    np.testing.assert_allclose(
        offset[0], target.mean(0) - float(scale[0]) * expected.apply(source.mean(0)), atol=1e-9
    )


def test_mirrored_points_still_give_a_proper_rotation():
    rng = np.random.default_rng(1)
    source = torch.tensor(rng.normal(size=(10, 3)))
    mirrored = source * torch.tensor([-1.0, 1.0, 1.0])
    rotation, _, _ = similarity_alignment(source, mirrored[None])
    assert torch.det(rotation[0]) > 0.999


def test_pose_of_a_distant_head_is_found(anny, synthetic_track):
    subject = synthetic_track()
    geometry = landmark_geometry(anny)
    landmarks = torch.as_tensor(subject.track.landmarks[:, geometry.numbers])
    rotation, translation = initial_poses(
        landmarks, geometry.points.template, float(subject.camera.intrinsics[0, 0]), (128.0, 128.0)
    )
    trace = (rotation.float().transpose(1, 2) @ subject.head.rotation).diagonal(dim1=1, dim2=2).sum(1)
    assert torch.rad2deg(((trace - 1) / 2).clamp(-1, 1).arccos()).max() < 6
    assert (translation - subject.head.translation).norm(dim=1).max() < 0.1


def test_gaps_are_bridged_linearly_and_ends_are_held():
    values = np.array([[9.0], [1.0], [9.0], [9.0], [4.0], [9.0]])
    valid = np.array([False, True, False, False, True, False])
    filled = interpolate_missing(values, valid)
    np.testing.assert_allclose(filled[:, 0], [1, 1, 2, 3, 4, 4])
