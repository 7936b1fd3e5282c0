"""Motion against pictures that are warped; the torso's centre is drawn where the motion says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix
from scipy.ndimage import affine_transform, gaussian_filter, shift

from partnerface.cameras.pinhole import Camera
from partnerface.data.completion import torso_motion
from partnerface.data.completion.torso_motion import (
    TORSO_CENTRE,
    estimate_torso_motion,
    median_frame,
    move_torso,
    row_in_frame,
    with_torso_pose,
)
from partnerface.head_models.head_parameters import HeadParameters

SIZE = 96


def clip(texture, moves):
    """Frames whose content moves by ``moves`` (x, y in pixels)."""
    frames = [shift(texture, (y, x, 0), order=3, mode="nearest") for x, y in moves]
    return np.clip(np.stack(frames) * 255, 0, 255).astype(np.uint8)


def torso_mask():
    mask = np.zeros((SIZE, SIZE), bool)
    mask[60:, 10:86] = True
    return mask


def estimate(frames, weights=None):
    count = len(frames)
    mattes = np.full((count, SIZE, SIZE), 255, np.uint8)
    weights = torch.ones(count) if weights is None else weights
    return estimate_torso_motion(frames, mattes, torso_mask(), 0, weights, torch.arange(count) / 25)


def texture(seed=0):
    noise = np.random.default_rng(seed).normal(size=(SIZE, SIZE, 3))
    smooth = gaussian_filter(noise, (3, 3, 0))
    return 0.5 + 0.15 * smooth / smooth.std()


def test_known_shift_is_found():
    phase = np.linspace(0, np.pi, 20)
    moves = np.stack([3 * np.sin(phase) ** 2, -2 * np.sin(phase) ** 2], 1)
    motion = estimate(clip(texture(), moves))
    centre = torch.tensor([0.5, 0.8])
    found = (motion.matrices[..., :2] @ centre + motion.matrices[..., 2] - centre) * SIZE
    # From a frame back to the reference: against the motion.
    np.testing.assert_allclose(found.numpy(), -moves, atol=0.25)
    assert motion.mismatch < 0.3 * motion.mismatch_still
    torch.testing.assert_close(motion.matrices[0], torch.eye(2, 3), atol=1e-6, rtol=0)


def test_blank_torso_does_not_move():
    """A plain shirt says nothing about motion; noise must not be taken for it."""
    rng = np.random.default_rng(2)
    frames = (128 + rng.normal(0, 1.5, size=(12, SIZE, SIZE, 3))).astype(np.uint8)
    motion = estimate(frames)
    assert (motion.matrices - torch.eye(2, 3)).abs().max() * SIZE < 0.3
    plain = np.full((5, SIZE, SIZE, 3), 200, np.uint8)
    assert torch.equal(estimate(plain).matrices, torch.eye(2, 3).repeat(5, 1, 1))


def test_a_picture_without_a_torso_does_not_move():
    frames = clip(texture(), np.stack([np.arange(4), np.zeros(4)], 1))
    mattes, nowhere = np.full((4, SIZE, SIZE), 255, np.uint8), np.zeros((SIZE, SIZE), bool)
    motion = estimate_torso_motion(frames, mattes, nowhere, 0, torch.ones(4), torch.arange(4) / 25)
    assert torch.equal(motion.matrices, torch.eye(2, 3).repeat(4, 1, 1))
    assert (motion.mismatch_still, motion.mismatch) == (0, 0)


def test_a_clip_longer_than_what_is_kept_in_memory_moves_alike(monkeypatch):
    frames = clip(texture(), np.stack([np.sin(np.arange(13)), np.zeros(13)], 1))
    monkeypatch.setattr(torso_motion, "TORSO_FRAMES_AT_ONCE", 2)
    whole = estimate(frames).matrices
    monkeypatch.setattr(torso_motion, "CHUNKS_KEPT", 3)
    assert torch.equal(estimate(frames).matrices, whole)


def test_lost_frame_is_bridged():
    moves = np.stack([np.linspace(0, 4, 11), np.zeros(11)], 1)
    frames = clip(texture(1), moves)
    frames[5] = np.random.default_rng(3).integers(0, 255, frames[5].shape)
    weights = torch.ones(11)
    weights[5] = 0
    motion = estimate(frames, weights)
    assert abs(float(motion.matrices[5, 0, 2]) * SIZE + 2.0) < 0.5


def test_single_frame_is_the_reference():
    assert torch.equal(estimate(clip(texture(), [(0, 0)])).matrices, torch.eye(2, 3)[None])


def test_a_stretch_is_followed():
    """Shoulders that rise stretch the shirt: the affine map of scipy's own resampling comes back."""
    still = texture(4)
    frames = [still]
    for amount in np.linspace(0, 0.05, 10)[1:]:
        # scipy maps output (row, column) to input: reference = frame + amount * (row - centre).
        matrix, centre = np.array([[1 + amount, 0.0], [amount / 2, 1.0]]), np.array([72.0, 48.0])
        moved = [
            affine_transform(still[..., c], matrix, centre - matrix @ centre, order=3, mode="nearest")
            for c in range(3)
        ]
        frames.append(np.stack(moved, -1))
    motion = estimate(np.clip(np.stack(frames) * 255, 0, 255).astype(np.uint8))
    expected = torch.tensor([[1.0, 0.025], [0.0, 1.05]])
    torch.testing.assert_close(motion.matrices[-1, :, :2], expected, atol=0.008, rtol=0)


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
    moved = move_torso(torso, torch.ones(4), camera, matrices)
    before, after = (camera.project(h.torso_translation[:, None])[0][:, 0] for h in (torso, moved))
    shifts = []
    for i in range(4):
        # The frame's point whose reference is the torso's centre.
        forward = torch.cat([matrices[i].double(), torch.tensor([[0.0, 0.0, 1.0]])])
        place = torch.linalg.inv(forward) @ torch.tensor([*TORSO_CENTRE, 1.0], dtype=torch.float64)
        shifts.append((place[:2].float() - torch.tensor(TORSO_CENTRE)) * torch.tensor([WIDTH, HEIGHT]))
    shifts = torch.stack(shifts)
    torch.testing.assert_close(after - before, shifts - shifts.median(0).values, atol=2e-3, rtol=0)
    depth = (camera.world_to_camera(h.torso_translation[:, None])[..., 2] for h in (torso, moved))
    torch.testing.assert_close(*depth)


def test_the_torso_does_not_hang_on_the_reference_frame(head, camera):
    """Shifts to one frame and to another: the same torsos. A lost frame says nothing about the median."""
    torso = with_torso_pose(head, torch.ones(4), camera)
    place = torch.tensor([[0.0, 0.0], [0.02, 0.1], [0.03, 0.12], [0.9, -0.4]])
    weights = torch.tensor([1.0, 1.0, 1.0, 0.0])
    found = []
    for reference in range(3):
        matrices = torch.eye(2, 3).repeat(4, 1, 1)
        matrices[:, :, 2] = place[reference] - place
        found.append(move_torso(torso, weights, camera, matrices).torso_translation)
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[0][1], torso.torso_translation[1])


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
