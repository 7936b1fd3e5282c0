from dataclasses import replace

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.tracking.alignment import poses
from partnerface.tracking.alignment.face_texture import local_contrast
from partnerface.tracking.alignment.poses import align_poses

FRAMES = 16


@pytest.fixture(scope="module")
def rendered(anny):
    """Luminance and mattes of a rendered clip, its camera and its exact poses."""
    renderer = SubjectRenderer(anny, subject_named("a"), FRAMES, 128, seed=0)
    weights = torch.tensor([0.299, 0.587, 0.114])
    frames = [renderer.render(i) for i in range(FRAMES)]
    luminance = torch.stack([torch.as_tensor(frame.image).float() @ weights for frame in frames])
    mattes = torch.stack([torch.as_tensor(frame.matte) for frame in frames])
    return luminance.to(torch.uint8), mattes, renderer.camera, renderer.head


def place_errors(camera, head, truth):
    """``[F]`` pixels by which a point of the nose bridge is off."""
    bridge = torch.tensor([0.0, 0.03, 0.11])
    places = [(h.rotation @ bridge + h.translation)[:, None] for h in (head, truth)]
    first, second = (camera.project(place)[0] for place in places)
    return (first - second).norm(dim=-1)[:, 0]


@pytest.mark.parametrize("learned_from", [FRAMES, FRAMES // 2])
def test_disturbed_poses_come_back(anny, rendered, learned_from, monkeypatch):
    """A pixel of random error in every frame: the alignment ends where it ends from the exact poses.

    Frames that texture and outline are not learned from come back as well.
    """
    monkeypatch.setattr(poses, "POSE_CHUNK", FRAMES // 4)
    monkeypatch.setattr(poses, "MOST_LEARNED_FROM", learned_from)
    luminance, mattes, camera, truth = rendered
    generator = torch.Generator().manual_seed(0)
    turn = 0.008 * torch.randn(FRAMES, 3, generator=generator)
    shift = 0.0035 * torch.randn(FRAMES, 3, generator=generator)
    noise = shift * torch.tensor([1.0, 1.0, 0.0])
    disturbed = replace(
        truth,
        rotation=axis_angle_to_matrix(turn) @ truth.rotation,
        translation=truth.translation + noise,
    )
    undisturbed, aligned = (
        align_poses(luminance, mattes, camera, head, torch.ones(FRAMES), anny) for head in (truth, disturbed)
    )
    before = place_errors(camera, disturbed, truth)
    after = place_errors(camera, aligned, undisturbed)
    assert after.mean() < 0.4 * before.mean()
    for stretch in torch.arange(FRAMES).split(FRAMES // 4):
        assert after[stretch].mean() < 0.5 * before[stretch].mean()


def test_the_outline_finds_the_distance(anny, rendered):
    """Depth errors of 8 mm, in turn nearer and farther, of a face that shows no texture at all.

    Hair that sways moves all neighbouring frames alike, so only what is in turn is looked at.
    """
    luminance, mattes, camera, truth = rendered
    sign = torch.where(torch.arange(FRAMES) % 2 == 0, 1.0, -1.0)
    away = torch.zeros(FRAMES, 3)
    away[:, 2] = 0.008 * sign
    disturbed = replace(truth, translation=truth.translation + away)
    left, left_blind = (
        ((aligned.translation - truth.translation)[:, 2] * sign).mean().abs()
        for aligned in (
            align_poses(torch.zeros_like(luminance), shown, camera, disturbed, torch.ones(FRAMES), anny)
            for shown in (mattes, torch.zeros_like(mattes))
        )
    )
    assert left < 0.0025
    assert left_blind > 0.0075


def test_one_frame_without_a_matte_keeps_its_pose(anny, rendered):
    """A single frame is its own average: there is nothing to move towards."""
    luminance, mattes, camera, truth = rendered
    first = torch.tensor([0])
    one = truth.select(first)
    aligned = align_poses(
        luminance[:1], torch.zeros_like(mattes[:1]), camera.select(first), one, torch.ones(1), anny
    )
    torch.testing.assert_close(aligned.rotation, one.rotation, atol=1e-5, rtol=0)
    torch.testing.assert_close(aligned.translation, one.translation, atol=1e-5, rtol=0)


def test_frames_of_weight_zero_keep_their_pose(anny, rendered):
    luminance, mattes, camera, truth = rendered
    weights = torch.ones(FRAMES)
    weights[4] = 0
    spoilt = luminance.clone()
    spoilt[4] = torch.randint(0, 255, spoilt[4].shape, generator=torch.Generator().manual_seed(1))
    aligned = align_poses(spoilt, mattes, camera, truth, weights, anny)
    torch.testing.assert_close(aligned.rotation[4], truth.rotation[4])
    torch.testing.assert_close(aligned.translation[4], truth.translation[4])


def test_local_contrast_does_not_see_light_and_shade():
    noise = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(2))
    ramp = torch.linspace(0.3, 1.0, 64)
    plain, shaded = local_contrast(noise), local_contrast(noise * ramp)
    inner = (slice(None), slice(16, -16), slice(16, -16))
    assert torch.corrcoef(torch.stack([plain[inner].flatten(), shaded[inner].flatten()]))[0, 1] > 0.98
