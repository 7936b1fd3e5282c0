from dataclasses import replace

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.tracking.local_contrast import local_contrast
from partnerface.tracking.photometric_alignment import align_poses

FRAMES = 16


@pytest.fixture(scope="module")
def rendered(anny):
    """Luminance of a rendered clip, its camera and its exact poses."""
    renderer = SubjectRenderer(anny, subject_named("a"), FRAMES, 128, seed=0)
    weights = torch.tensor([0.299, 0.587, 0.114])
    images = [torch.as_tensor(renderer.render(i).image).float() @ weights for i in range(FRAMES)]
    return torch.stack(images).to(torch.uint8), renderer.camera, renderer.head


def place_errors(camera, head, truth):
    """``[F]`` pixels by which a point of the nose bridge is off."""
    bridge = torch.tensor([0.0, 0.03, 0.11])
    places = [(h.rotation @ bridge + h.translation)[:, None] for h in (head, truth)]
    first, second = (camera.project(place)[0] for place in places)
    return (first - second).norm(dim=-1)[:, 0]


def test_disturbed_poses_come_back(anny, rendered):
    """A pixel of random error in every frame; the mean over the clip cannot be seen, the rest can."""
    luminance, camera, truth = rendered
    generator = torch.Generator().manual_seed(0)
    turn = 0.008 * torch.randn(FRAMES, 3, generator=generator)
    shift = 0.0035 * torch.randn(FRAMES, 3, generator=generator)
    noise = shift * torch.tensor([1.0, 1.0, 0.0])
    disturbed = replace(
        truth,
        rotation=axis_angle_to_matrix(turn) @ truth.rotation,
        translation=truth.translation + noise,
    )
    aligned = align_poses(luminance, camera, disturbed, torch.ones(FRAMES), anny)
    before, after = (place_errors(camera, head, truth) for head in (disturbed, aligned))
    assert after.mean() < 0.6 * before.mean()


def test_frames_of_weight_zero_keep_their_pose(anny, rendered):
    luminance, camera, truth = rendered
    weights = torch.ones(FRAMES)
    weights[4] = 0
    spoilt = luminance.clone()
    spoilt[4] = torch.randint(0, 255, spoilt[4].shape, generator=torch.Generator().manual_seed(1))
    aligned = align_poses(spoilt, camera, truth, weights, anny)
    torch.testing.assert_close(aligned.rotation[4], truth.rotation[4])
    torch.testing.assert_close(aligned.translation[4], truth.translation[4])


def test_local_contrast_does_not_see_light_and_shade():
    noise = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(2))
    ramp = torch.linspace(0.3, 1.0, 64)
    plain, shaded = local_contrast(noise), local_contrast(noise * ramp)
    inner = (slice(None), slice(16, -16), slice(16, -16))
    assert torch.corrcoef(torch.stack([plain[inner].flatten(), shaded[inner].flatten()]))[0, 1] > 0.98
