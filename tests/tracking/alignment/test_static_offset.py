import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.cameras.pinhole import Camera
from partnerface.tracking.alignment.static_offset import without_static_offset

FRAMES = 12


def clip():
    """Cameras, points of a face, and poses of a head that turns."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(60, 3, generator=generator) * torch.tensor([0.06, 0.08, 0.03])
    rotation = axis_angle_to_matrix(0.4 * torch.randn(FRAMES, 3, generator=generator))
    translation = torch.tensor([0.0, 0.0, -0.9]) + 0.02 * torch.randn(FRAMES, 3, generator=generator)
    return Camera.static(FRAMES, 500.0, 256, 256), points, rotation, translation


def test_a_static_motion_of_the_mesh_is_undone():
    camera, points, rotation, translation = clip()
    turn = axis_angle_to_matrix(torch.tensor([0.03, -0.01, 0.02]))
    shift = torch.tensor([0.002, -0.003, 0.004])
    moved = rotation @ turn, translation + rotation @ shift
    held = without_static_offset(camera, points, (rotation, translation), moved, torch.ones(FRAMES))
    torch.testing.assert_close(held[0], rotation, atol=2e-5, rtol=0)
    torch.testing.assert_close(held[1], translation, atol=2e-5, rtol=0)


def test_what_differs_from_frame_to_frame_is_kept():
    """Motions that are opposite in every other frame have no static part."""
    camera, points, rotation, translation = clip()
    rotation, translation = rotation[:1].expand(FRAMES, 3, 3), translation[:1].expand(FRAMES, 3)
    sign = torch.where(torch.arange(FRAMES) % 2 == 0, 1.0, -1.0)[:, None]
    moved = rotation, translation + 0.001 * sign * torch.tensor([1.0, 0.5, 0.0])
    held = without_static_offset(camera, points, (rotation, translation), moved, torch.ones(FRAMES))
    # Seen from one side only, a small turn looks much like a small shift.
    torch.testing.assert_close(held[0], moved[0], atol=2e-4, rtol=0)
    torch.testing.assert_close(held[1], moved[1], atol=3e-4, rtol=0)


def test_frames_without_a_face_neither_count_nor_move():
    camera, points, rotation, translation = clip()
    weights = torch.ones(FRAMES)
    weights[3] = 0
    turn = axis_angle_to_matrix(torch.tensor([0.0, 0.02, 0.0]))
    spoilt = translation.clone()
    spoilt[3] += 0.1
    held = without_static_offset(camera, points, (rotation, translation), (rotation @ turn, spoilt), weights)
    torch.testing.assert_close(held[1][3], spoilt[3])
    torch.testing.assert_close(held[0][3], (rotation @ turn)[3])
    others = weights > 0
    torch.testing.assert_close(held[0][others], rotation[others], atol=2e-5, rtol=0)


def test_one_frame_returns_to_its_first_pose():
    camera, points, rotation, translation = clip()
    one = torch.tensor([5])
    first = rotation[one], translation[one]
    moved = rotation[one] @ axis_angle_to_matrix(torch.tensor([0.02, 0.0, 0.0])), translation[one] + 0.002
    held = without_static_offset(camera.select(one), points, first, moved, torch.ones(1))
    torch.testing.assert_close(held[0], first[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(held[1], first[1], atol=1e-4, rtol=0)
