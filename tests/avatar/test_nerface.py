"""NeRFace behind the avatar's interface: what it sees, what it hears, what survives a checkpoint."""

from dataclasses import replace

import pytest
import torch
from partnerface.sampling.hierarchical import HierarchicalSampler
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.avatar.nerface import NeRFace
from partnerface.cameras.rays import RayBundle, pixel_rays
from partnerface.data.sequence import TrackedSequence
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.deformation.global_deformation import NoDeformation
from partnerface.head_models.anny import AnnyHead
from partnerface.rendering.torso_layer import TorsoLayer

STILL = torch.eye(2, 3)[None]


@pytest.fixture(scope="module")
def sequence(synthetic_dataset) -> TrackedSequence:
    return SyntheticReader(synthetic_dataset, frames=24, size=32).read()


def make_nerface(anny: AnnyHead) -> NeRFace:
    torch.manual_seed(0)
    return NeRFace(
        head_model=anny,
        deformation=NoDeformation(),
        sampler=HierarchicalSampler(coarse=12, importance=12),
        torso=TorsoLayer(resolutions=(8, 16), channels=4),
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
    rays = rays_of(sequence, [0])
    rays.directions = -rays.directions
    rendered = nerface(rays, sequence.head.select([0]), STILL, with_parts=True)
    assert not rendered.head_opacity.any()
    assert not rendered.depth.any()
    assert not rendered.part_weights.any()
    colour, opacity = nerface.torso(
        rays.pixels[0], STILL[0], nerface.pose_frames(sequence.head.select([0]), STILL)[0].pose
    )
    torch.testing.assert_close(rendered.opacity[0], opacity)
    torch.testing.assert_close(rendered.rgb[0], opacity[:, None] * colour)
    (rendered.rgb.sum() + rendered.coarse.rgb.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in nerface.parameters())


def test_turning_head_and_rays_together_changes_nothing(nerface, sequence):
    """The rigid pose is undone exactly."""
    nerface.eval()
    head, rays = sequence.head.select([3]), rays_of(sequence, [3])
    turn, shift = axis_angle_to_matrix(torch.tensor([0.3, -0.5, 0.2])), torch.tensor([0.1, -0.2, 0.3])
    moved_head = replace(
        head,
        rotation=turn @ head.rotation,
        translation=head.translation @ turn.T + shift,
        torso_rotation=turn @ head.torso_rotation,
    )
    moved_rays = RayBundle(rays.origins @ turn.T + shift, rays.directions @ turn.T, rays.pixels)
    with torch.no_grad():
        still, moved = nerface(rays, head, STILL), nerface(moved_rays, moved_head, STILL)
    assert still.head_opacity.any()
    torch.testing.assert_close(moved.head_opacity, still.head_opacity, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(moved.depth, still.depth, atol=2e-4, rtol=1e-3)


def test_the_head_hears_expression_gaze_and_its_frames_code(nerface, sequence):
    nerface.eval()
    head, rays = sequence.head.select([3]), rays_of(sequence, [3])
    with torch.no_grad():
        nerface.frame_codes[5] = 1.0
        plain = nerface(rays, head, STILL, frame_index=torch.tensor([4]))
        smiling = nerface(rays, replace(head, expression=head.expression + 0.5), STILL)
        coded = nerface(rays, head, STILL, frame_index=torch.tensor([5]))
        turned = head.joint_rotations.clone()
        turned[:, 1:] = axis_angle_to_matrix(torch.tensor([0.0, 0.4, 0.0]))
        looking = nerface(rays, replace(head, joint_rotations=turned), STILL)
    for other in (smiling, coded, looking):
        assert (other.rgb - plain.rgb).abs().max() > 1e-4


def test_only_the_codes_of_the_frames_at_hand_learn(nerface, sequence):
    frames = [2, 7]
    rendered = nerface(
        rays_of(sequence, frames),
        sequence.head.select(frames),
        STILL.expand(2, -1, -1),
        frame_index=torch.tensor(frames),
    )
    (rendered.rgb.sum() + rendered.coarse.rgb.sum()).backward()
    moved = nerface.frame_codes.grad.abs().sum(1) > 0
    assert moved.nonzero()[:, 0].tolist() == frames


def test_evaluation_takes_the_mean_code_of_the_training_frames(nerface, sequence):
    train = sequence.splits["train"]
    with torch.no_grad():
        nerface.frame_codes.copy_(torch.randn(24, 4, generator=torch.Generator().manual_seed(0)))
    condition = nerface.pose_frames(sequence.head.select([0]), STILL)[0].condition
    torch.testing.assert_close(condition[-4:], nerface.frame_codes[train].mean(0))


def test_a_picture_is_its_rays_in_any_chunks(nerface, sequence):
    nerface.eval()
    camera, head = sequence.camera.select([0]).resized(6, 5), sequence.head.select([0])
    whole = nerface.render_image(camera, head, STILL, with_parts=True)
    pieces = nerface.render_image(camera, head, STILL, with_parts=True, chunk=7)
    for name in ("rgb", "opacity", "depth", "part_weights"):
        torch.testing.assert_close(getattr(whole, name), getattr(pieces, name), msg=name)
    pixel = pixel_rays(camera, torch.tensor([[[2.5, 3.5]]]))
    with torch.no_grad():
        alone = nerface(pixel, head, STILL)
    torch.testing.assert_close(whole.rgb[:, 3 * 6 + 2], alone.rgb[:, 0])


def test_bfloat16_is_close_and_composites_in_float32(nerface, sequence):
    nerface.eval()
    head, rays = sequence.head.select([3]), rays_of(sequence, [3])
    with torch.no_grad():
        exact = nerface(rays, head, STILL)
        nerface.bfloat16 = True
        rounded = nerface(rays, head, STILL)
    assert rounded.rgb.dtype == rounded.depth.dtype == torch.float32
    assert not torch.equal(rounded.rgb, exact.rgb)
    torch.testing.assert_close(rounded.rgb, exact.rgb, atol=0.02, rtol=0)


def test_a_picture_of_one_pixel(nerface, sequence):
    camera = sequence.camera.select([0]).resized(1, 1)
    assert nerface.render_image(camera, sequence.head.select([0]), STILL).rgb.isfinite().all()


def test_weights_load_into_a_new_one_that_has_seen_no_video(nerface, anny):
    with torch.no_grad():
        nerface.frame_codes.normal_()
    loaded = make_nerface(anny)
    loaded.load_state_dict(nerface.state_dict())
    torch.testing.assert_close(loaded.frame_codes, nerface.frame_codes)
    assert torch.equal(loaded.is_training_frame, nerface.is_training_frame)
    assert torch.equal(loaded.sampler.high, nerface.sampler.high)


def test_it_learns_the_picture_of_a_frame(nerface, sequence):
    """Both passes: the loss of a red head on one frame falls by half in a few steps."""
    head, rays = sequence.head.select([0]), rays_of(sequence, [0], 200)
    optimizer = torch.optim.Adam(nerface.parameters(), 5e-3)
    with torch.no_grad():
        inside = nerface(rays, head, STILL).head_opacity[0] > 0.3
    red = torch.tensor([1.0, 0.0, 0.0])
    losses = []
    for _ in range(25):
        rendered = nerface(rays, head, STILL, frame_index=torch.tensor([0]))
        first, second = (r.over(torch.ones(3))[0, inside] for r in (rendered.coarse, rendered))
        loss = (first - red).square().mean() + (second - red).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
