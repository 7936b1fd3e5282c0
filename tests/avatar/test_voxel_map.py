"""A picture through voxels against the same picture sample by sample."""

from dataclasses import replace

import pytest
import torch

from partnerface.avatar import voxel_map
from partnerface.avatar.avatar import Avatar
from partnerface.avatar.canonical_map import ExactMap
from partnerface.avatar.voxel_map import VoxelMap
from partnerface.cameras.pinhole import image_pixels, pixel_rays
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.data.view import View
from partnerface.rendering.rendered_rays import MethodOutput
from tests.avatar.test_avatar import make_avatar, render, wake
from tests.views import views_of


@pytest.fixture(scope="module")
def sequence(synthetic_dataset):
    return SyntheticReader(synthetic_dataset, frames=24, size=32).read()


@pytest.fixture(scope="module", params=["parts", "none"])
def avatar(request, sequence):
    made = make_avatar(request.param)
    made.adapt_to(sequence)
    if request.param == "parts":
        wake(made)
    return made.eval()


@pytest.fixture
def always(monkeypatch):
    """Voxels for pictures of any size."""
    monkeypatch.setattr(voxel_map, "LEAST_SAMPLES", 1)


@torch.no_grad()
def shaded(avatar: Avatar, view: View, exact: bool, with_parts: bool = False) -> MethodOutput:
    """All rays of a picture, with the opacity of the head alone."""
    pixels = image_pixels(view.camera.width, view.camera.height)
    frames = avatar.pose_frames(view)
    sampled = avatar.sample(pixel_rays(view.camera, pixels[None]), frames)
    ready = frames if exact else avatar.for_picture(frames, [sampled], with_parts)
    assert isinstance(ready.canonical_map, ExactMap if exact else VoxelMap)
    return avatar.shade(sampled, ready, with_parts)


def test_the_picture_is_the_same(avatar, sequence, always):
    """An open mouth, blinking eyes and a field of pure noise, which shows every place that moved."""
    for frame in (2, 17):
        view = views_of(sequence, [frame]).resized(96, 96)
        exact, found = shaded(avatar, view, exact=True).rays, shaded(avatar, view, exact=False)
        error = (found.rays.rgb - exact.rgb).square().mean()
        assert 0 < error < 10 ** (-38 / 10)
        # A sample on the shell's rim may fall to the other side.
        opacity = found.rays.head_opacity.mean()
        torch.testing.assert_close(opacity, exact.head_opacity.mean(), atol=1e-3, rtol=0)
        assert found.deformation is None


def test_render_takes_voxels_unless_it_is_to_be_exact(avatar, sequence, always):
    view = views_of(sequence, [2]).resized(48, 48)
    for exact in (True, False):
        picture, rays = avatar.render(view, exact=exact), shaded(avatar, view, exact).rays
        torch.testing.assert_close(picture.rgb, rays.rgb[0].T.view(3, 48, 48), atol=1e-5, rtol=1e-4)
    assert not torch.equal(avatar.render(view).rgb, avatar.render(view, exact=True).rgb)


def test_the_rim_is_where_it_is_sample_by_sample(avatar, sequence, always, monkeypatch):
    """Interpolated, the shell's rim gained and lost samples: 0.05 dB of a real face."""
    view, errors = views_of(sequence, [17]).resized(96, 96), {}
    exact = shaded(avatar, view, exact=True).rays.head_opacity
    for rim in (0.0, voxel_map.RIM):
        monkeypatch.setattr(voxel_map, "RIM", rim)
        errors[rim] = (shaded(avatar, view, exact=False).rays.head_opacity - exact).abs().mean()
    assert errors[voxel_map.RIM] < 0.8 * errors[0.0]


@pytest.mark.parametrize("exact", [True, False])
def test_part_weights_change_no_bit_of_the_picture(avatar, sequence, always, exact):
    view = views_of(sequence, [17]).resized(64, 64)
    plain = avatar.render(view, exact=exact)
    with_parts = avatar.render(view, exact=exact, with_parts=True)
    assert plain.part_weights is None
    assert with_parts.part_weights.shape == (64, 64, avatar.parts)
    for name in ("rgb", "alpha", "depth"):
        assert torch.equal(getattr(with_parts, name), getattr(plain, name)), name


def test_part_weights_between_voxels_are_close_to_the_exact_ones(avatar, sequence, always):
    """They share out the opacity of the head, as the exact ones do, and a pixel's largest part stays so."""
    for frame in (2, 17):
        view = views_of(sequence, [frame]).resized(96, 96)
        exact = shaded(avatar, view, exact=True, with_parts=True).rays
        found = shaded(avatar, view, exact=False, with_parts=True).rays
        torch.testing.assert_close(found.part_weights.sum(-1), found.head_opacity, atol=1e-3, rtol=0)
        assert (found.part_weights >= 0).all()
        error = (found.part_weights - exact.part_weights).abs()
        assert error.mean() < 5e-3
        head = exact.head_opacity[0] > 0.9
        largest = exact.part_weights[0, head].argmax(-1) == found.part_weights[0, head].argmax(-1)
        assert largest.float().mean() > 0.97


def test_small_pictures_are_mapped_sample_by_sample(avatar, sequence, monkeypatch):
    called = []
    monkeypatch.setattr(voxel_map, "known_at_corners", lambda *a: called.append(a))
    render(avatar, sequence, 2)
    assert not called


def test_without_an_occupancy_grid_the_map_is_exact(avatar, sequence, always):
    """Voxels lie in the grid's cube."""
    view = views_of(sequence, [2])
    frames = avatar.pose_frames(view)
    pose = frames.pose[0][0], frames.pose[1][0]
    pixels = image_pixels(view.camera.width, view.camera.height)
    sampled = [avatar.sample(pixel_rays(view.camera, pixels[None]), frames)]
    assert voxel_map.picture_map(frames.exact, sampled, pose, None) is frames.exact


def test_a_picture_without_samples(avatar, sequence, monkeypatch):
    """The camera looks away: no ray meets the head."""
    monkeypatch.setattr(voxel_map, "LEAST_SAMPLES", 0)
    camera = sequence.camera
    turned = camera.camera_to_world.clone()
    turned[:, :, [0, 2]] *= -1
    away = replace(sequence, camera=replace(camera, camera_to_world=turned))
    shown = render(avatar, away, 0, with_parts=True)
    assert not shown.depth.any()
    assert not shown.part_weights.any()
    assert shown.rgb.isfinite().all()
