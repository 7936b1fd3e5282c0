import numpy as np
import torch
from scipy.spatial.transform import Rotation

from partnerface.head_models.landmark_geometry import landmark_geometry
from partnerface.tracking.fit.rigid_initialisation import (
    initial_poses,
    interpolate_missing,
    similarity_alignment,
)


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
