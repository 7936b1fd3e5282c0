import numpy as np
import torch
from scipy.ndimage import affine_transform, gaussian_filter, shift

from partnerface.data.completion.torso_motion import estimate_torso_motion

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
