"""NeRFace as an avatar method: what it sees, what its field depends on, what survives a checkpoint."""

from dataclasses import replace

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.avatar.nerface import NeRFace
from partnerface.cameras.pinhole import RayBundle, pixel_rays
from partnerface.data.sequence import TrackedSequence
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.head_models.anny import AnnyHead
from partnerface.rendering.torso_layer import TorsoLayer
from partnerface.sampling.uniform import UniformSampler
from tests.views import views_of


@pytest.fixture(scope="module")
def sequence(synthetic_dataset) -> TrackedSequence:
    return SyntheticReader(synthetic_dataset, frames=24, size=32).read()


def make_nerface(anny: AnnyHead) -> NeRFace:
    torch.manual_seed(0)
    return NeRFace(
        head_model=anny,
        sampler=UniformSampler(samples=12),
        torso=TorsoLayer(resolutions=(8, 16), channels=4),
        importance=12,
        layers=3,
        hidden_width=16,
        code_width=4,
    )


@pytest.fixture
def nerface(sequence, anny) -> NeRFace:
    made = make_nerface(anny)
    made.adapt_to(sequence)
    return made


def rays_of(sequence: TrackedSequence, frames: list[int], count: int = 40) -> RayBundle:
    pixels = 32 * torch.rand(len(frames), count, 2, generator=torch.Generator().manual_seed(1))
    return pixel_rays(sequence.camera.select(frames), pixels)


def test_the_box_holds_every_vertex_of_every_training_head(nerface, sequence):
    train = sequence.head.select(sequence.splits["train"])
    anny = nerface.head_model
    above = anny.skinning_weights[:, anny.joint("head")] > 0.9
    rigid = (anny(train).vertices[:, above] - train.translation[:, None]) @ train.rotation
    assert (rigid > nerface.sampler.low + 0.015).all()
    assert (rigid < nerface.sampler.high - 0.015).all()
    assert (nerface.sampler.high - nerface.sampler.low).max() < 0.6


def test_rays_that_miss_see_the_torso_only(nerface, sequence):
    view, rays = views_of(sequence, [0, 9]), rays_of(sequence, [0, 9])
    rays.directions = -rays.directions
    frames = nerface.pose_frames(view)
    rendered = nerface.shade(nerface.sample(rays, frames), frames, with_parts=True)
    shown = rendered.rays
    assert not shown.head_opacity.any()
    assert not shown.depth.any()
    assert not shown.part_weights.any()
    colour, opacity = nerface.torso(rays.image_uv, view.torso_motion, nerface.relative_pose(view.head))
    for one in (shown, rendered.coarse):
        torch.testing.assert_close(one.opacity, opacity)
        torch.testing.assert_close(one.rgb, opacity[..., None] * colour)
    (shown.rgb.sum() + rendered.coarse.rgb.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in nerface.parameters())


def test_turning_head_and_rays_together_changes_nothing(nerface, sequence):
    """The rigid pose is undone exactly."""
    nerface.eval()
    view, rays = views_of(sequence, [3]), rays_of(sequence, [3])
    head = view.head
    turn, shift = axis_angle_to_matrix(torch.tensor([0.3, -0.5, 0.2])), torch.tensor([0.1, -0.2, 0.3])
    moved_head = replace(
        head,
        rotation=turn @ head.rotation,
        translation=head.translation @ turn.T + shift,
        torso_rotation=turn @ head.torso_rotation,
    )
    moved_rays = RayBundle(rays.origins @ turn.T + shift, rays.directions @ turn.T, rays.image_uv)
    with torch.no_grad():
        still = nerface(rays, view).rays
        moved = nerface(moved_rays, replace(view, head=moved_head)).rays
    assert still.head_opacity.any()
    torch.testing.assert_close(moved.head_opacity, still.head_opacity, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(moved.depth, still.depth, atol=2e-4, rtol=1e-3)


def test_the_head_depends_on_expression_gaze_and_its_frames_code(nerface, sequence):
    nerface.eval()
    view, rays = views_of(sequence, [3]), rays_of(sequence, [3])
    head = view.head

    def shown(head, frame: int | None = None) -> torch.Tensor:
        index = None if frame is None else torch.tensor([frame])
        return nerface(rays, replace(view, head=head), frame_index=index).rays.rgb

    with torch.no_grad():
        nerface.frame_codes[5] = 1.0
        plain, coded = shown(head, 4), shown(head, 5)
        smiling = shown(replace(head, expression=head.expression + 0.5), 4)
        turned = head.joint_rotations.clone()
        turned[:, 1:] = axis_angle_to_matrix(torch.tensor([0.0, 0.4, 0.0]))
        looking = shown(replace(head, joint_rotations=turned), 4)
    for other in (smiling, coded, looking):
        assert (other - plain).abs().max() > 1e-4


def test_only_the_codes_of_the_frames_at_hand_learn(nerface, sequence):
    frames = [2, 7]
    rendered = nerface(rays_of(sequence, frames), views_of(sequence, frames), torch.tensor(frames))
    (rendered.rays.rgb.sum() + rendered.coarse.rgb.sum()).backward()
    moved = nerface.frame_codes.grad.abs().sum(1) > 0
    assert moved.nonzero()[:, 0].tolist() == frames


def test_evaluation_takes_the_mean_code_of_the_training_frames(nerface, sequence):
    train = sequence.splits["train"]
    with torch.no_grad():
        nerface.frame_codes.copy_(torch.randn(24, 4, generator=torch.Generator().manual_seed(0)))
    condition = nerface.pose_frames(views_of(sequence, [0, 5])).condition
    torch.testing.assert_close(condition[:, -4:], nerface.frame_codes[train].mean(0).expand(2, 4))


def test_there_is_no_canonical_head_and_no_statistic_of_a_deformation(nerface, sequence):
    view = views_of(sequence, [5])
    assert nerface.canonical_surface(view, torch.ones(32, 32)) is None
    assert nerface(rays_of(sequence, [5]), view).deformation is None


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_close_and_composites_in_float32(nerface, sequence, kind):
    nerface.eval()
    view, rays = views_of(sequence, [3]), rays_of(sequence, [3])
    with torch.no_grad():
        exact = nerface(rays, view).rays
        nerface.network_type = kind
        rounded = nerface(rays, view).rays
    assert rounded.rgb.dtype == rounded.depth.dtype == torch.float32
    assert not torch.equal(rounded.rgb, exact.rgb)
    torch.testing.assert_close(rounded.rgb, exact.rgb, atol=0.02, rtol=0)
