"""Texture and residuals against numpy, on points whose places in the pictures are known."""

import numpy as np
import pytest
import torch

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.landmark_geometry import EYES, LIPS, NOSE, landmark_geometry
from partnerface.tracking.alignment.face_texture import (
    CONTRAST_LEVELS,
    OUTLIER,
    TextureResiduals,
    average_texture,
    contrast_images,
    local_contrast,
    stable_skin,
    texture_residuals,
    texture_sums,
    with_gradient,
)

SIZE, FRAMES = 32, 3


@pytest.fixture
def wall():
    """Points of a wall one metre away, each in the middle of a pixel, seen from the front; pose is rest."""
    camera = Camera.static(FRAMES, float(SIZE), SIZE, SIZE)
    rows, columns = np.meshgrid(np.arange(4, 28, 3), np.arange(4, 28, 5), indexing="ij")
    rows, columns = rows.ravel(), columns.ravel()
    places = (
        np.stack([columns + 0.5 - SIZE / 2, -(rows + 0.5 - SIZE / 2), np.full(len(rows), -SIZE)], 1) / SIZE
    )
    points = torch.tensor(places, dtype=torch.float32).repeat(FRAMES, 1, 1)
    # Each normal points at the camera, so that all are seen whole.
    normals = torch.nn.functional.normalize(-points, dim=-1)
    pose = torch.eye(3).repeat(FRAMES, 1, 1), torch.zeros(FRAMES, 3)
    contrast = torch.randint(-90, 90, (FRAMES, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    seen = contrast[:, rows, columns].numpy() / CONTRAST_LEVELS
    return camera, points, normals, pose, contrast.to(torch.int8), seen


def test_texture_is_the_weighted_mean_of_what_is_shown(wall):
    camera, points, normals, pose, contrast, seen = wall
    weights = torch.tensor([1.0, 0.0, 0.5])
    sums = [
        texture_sums(contrast[f], camera.select(f), points[f], normals[f], pose[0][f], pose[1][f], weights[f])
        for f in (slice(0, 2), slice(2, 3))
    ]
    texture, often = average_texture(sums, weights)
    expected = (seen[0] + 0.5 * seen[2]) / 1.5
    np.testing.assert_allclose(texture.numpy(), expected, atol=1e-4)
    assert often.tolist() == [1.0] * len(expected)


def test_points_that_few_frames_saw_are_not_trusted():
    sums = [(torch.tensor([4.0, 0.2]), torch.tensor([8.0, 0.4]))]
    texture, often = average_texture(sums, torch.ones(10))
    torch.testing.assert_close(texture, torch.tensor([0.5, 0.5]))
    assert often.tolist() == [1.0, 0.0]


def test_residuals_and_their_weights_by_hand(wall):
    camera, points, normals, pose, contrast, seen = wall
    texture = torch.linspace(-1, 1, seen.shape[1])
    often = torch.ones(seen.shape[1])
    often[3] = 0
    found = texture_residuals(with_gradient(contrast), camera, points, normals, *pose, texture, often)
    values = seen - texture.numpy()
    np.testing.assert_allclose(found.values.numpy(), values, atol=1e-4)
    robust = often.numpy() / (1 + (values / OUTLIER) ** 2)
    variance = (robust * values**2).sum(1) / robust.sum(1)
    np.testing.assert_allclose(found.weights.numpy(), robust / variance[:, None], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.world, points)


def test_gradients_are_numpys(wall):
    contrast = wall[4]
    planes = with_gradient(contrast).numpy()
    by_y, by_x = np.gradient(contrast.numpy() / CONTRAST_LEVELS, axis=(1, 2))
    np.testing.assert_allclose(planes[:, 1, :, 1:-1], by_x[:, :, 1:-1], atol=1e-5)
    np.testing.assert_allclose(planes[:, 2, 1:-1], by_y[:, 1:-1], atol=1e-5)
    assert not planes[:, 1, :, [0, -1]].any()
    assert not planes[:, 2, [0, -1]].any()


def test_normal_equations_are_the_derivatives_of_half_the_weighted_squares():
    generator = torch.Generator().manual_seed(1)
    values, weights, jacobian = (
        torch.rand(*shape, generator=generator, dtype=torch.float64) for shape in ((2, 9), (2, 9), (2, 9, 4))
    )
    nothing = torch.zeros(2, 9, 3)
    normal, slope = TextureResiduals(values, weights, nothing[..., :2], nothing).equations(jacobian)

    def half_squares(x):
        return 0.5 * (weights * (values + (jacobian @ x[..., None])[..., 0]).square()).sum(1)

    at_zero = torch.zeros(2, 4, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(lambda x: half_squares(x).sum(), at_zero)
    torch.testing.assert_close(slope, expected)
    hessian = torch.autograd.functional.hessian(lambda x: half_squares(x).sum(), at_zero)
    torch.testing.assert_close(normal, torch.stack([hessian[i, :, i] for i in range(2)]))


def test_contrast_is_kept_to_half_a_level():
    images = torch.randint(0, 255, (2, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    exact = local_contrast(images.float() / 255).clamp(-127 / CONTRAST_LEVELS, 127 / CONTRAST_LEVELS)
    error = (contrast_images(images).float() / CONTRAST_LEVELS - exact).abs()
    # Integers are cut off, not rounded.
    assert error.max() < 1.01 / CONTRAST_LEVELS


def test_stable_skin_keeps_off_lids_and_lips(anny):
    identity = torch.zeros(anny.num_identity)
    vertices = anny.identity_vertices(identity)
    points = stable_skin(anny, identity, 0.005).of(vertices)
    geometry = landmark_geometry(anny)
    for numbers in (EYES, LIPS):
        restless = geometry.points.template[geometry.rows(numbers)]
        assert torch.cdist(points, restless).min() > 0.003
    nose = geometry.points.template[geometry.rows(NOSE)]
    assert torch.cdist(nose, points).amin(1).median() < 0.005
