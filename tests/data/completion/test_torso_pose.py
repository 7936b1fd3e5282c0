"""The torso's pose: where its centre is drawn must follow the torso's motion in the picture."""

from dataclasses import replace

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.cameras.pinhole import Camera
from partnerface.data.completion.torso_pose import (
    TORSO_CENTRE,
    median_frame,
    move_torso,
    row_in_frame,
    with_torso_pose,
)
from partnerface.head_models.head_parameters import HeadParameters

WIDTH, HEIGHT = 320, 200


@pytest.fixture(params=["at the origin", "anywhere"])
def camera(request):
    camera = Camera.static(4, 300.0, WIDTH, HEIGHT)
    if request.param == "anywhere":
        turn = axis_angle_to_matrix(torch.tensor([[0.5, -1.0, 0.3]]))
        pose = torch.cat([turn @ camera.camera_to_world[:, :, :3], torch.full((4, 3, 1), 0.7)], 2)
        camera = replace(camera, camera_to_world=pose)
    return camera


@pytest.fixture
def head(camera):
    """Four heads about a metre before the camera."""
    head = HeadParameters.neutral(4, 3, 4, 6)
    local = torch.tensor([[0.0, 0.0, 1.0], [0.02, 0.0, 1.1], [0.3, 0.2, 1.4], [0.01, 0.01, 1.0]])
    head.translation = (camera.camera_to_world[:, :, :3] @ local[..., None])[..., 0]
    head.translation = head.translation + camera.camera_to_world[:, :, 3]
    return head


def test_the_torso_is_upright_in_the_picture(head, camera):
    """Its up is the picture's up, and its front is turned towards the camera."""
    torso = with_torso_pose(head, torch.ones(4), camera)
    axes = torch.eye(3)
    to_camera = camera.camera_to_world[:, :, :3].transpose(1, 2)
    up, front = (to_camera @ torso.torso_rotation @ axes[axis] for axis in (1, 2))
    torch.testing.assert_close(up, torch.tensor([0.0, -1.0, 0.0]).repeat(4, 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(front, torch.tensor([0.0, 0.0, -1.0]).repeat(4, 1), atol=1e-6, rtol=0)


def test_lost_frames_do_not_move_the_torso(head, camera):
    weights = torch.tensor([1.0, 1.0, 0.0, 1.0])
    spoilt = replace(head, translation=head.translation.clone())
    spoilt.translation[2] = 100.0
    first, second = (with_torso_pose(h, weights, camera).torso_translation for h in (head, spoilt))
    assert torch.equal(first, second)


def test_the_drawn_torso_moves_as_the_picture_does(head, camera):
    torso = with_torso_pose(head, torch.ones(4), camera)
    generator = torch.Generator().manual_seed(0)
    matrices = torch.eye(2, 3) + 0.05 * torch.randn(4, 2, 3, generator=generator)
    moved = move_torso(torso, camera, matrices)
    before, after = (camera.project(h.torso_translation[:, None])[0][:, 0] for h in (torso, moved))
    for i in range(4):
        # The frame's point whose reference is the torso's centre.
        forward = torch.cat([matrices[i].double(), torch.tensor([[0.0, 0.0, 1.0]])])
        place = torch.linalg.inv(forward) @ torch.tensor([*TORSO_CENTRE, 1.0], dtype=torch.float64)
        shift = (place[:2].float() - torch.tensor(TORSO_CENTRE)) * torch.tensor([WIDTH, HEIGHT])
        torch.testing.assert_close(after[i] - before[i], shift, atol=2e-3, rtol=0)
    depth = (camera.world_to_camera(h.torso_translation[:, None])[..., 2] for h in (torso, moved))
    torch.testing.assert_close(*depth)


def test_a_row_is_found_where_the_motion_took_it():
    """A shift down by 0.1: the frame's point lies lower by that than its reference."""
    matrix = torch.tensor([[1.0, 0.0, 0.03], [0.0, 1.0, -0.1]])
    assert row_in_frame(matrix, 0.6) == pytest.approx(0.7)
    assert row_in_frame(torch.eye(2, 3), 0.6) == pytest.approx(0.6)


def test_the_median_frame_is_tracked_and_usual():
    head = HeadParameters.neutral(5, 3, 4, 6)
    head.translation[:, 0] = torch.tensor([0.0, 0.1, 0.2, 0.3, 5.0])
    assert median_frame(head, torch.ones(5)) == 2
    assert median_frame(head, torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0])) == 1
