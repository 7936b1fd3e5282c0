"""A picture through voxels against the same picture sample by sample."""

from dataclasses import replace

import pytest
import torch

from partnerface.avatar import voxel_map as picture_voxels
from partnerface.data.synthetic.reader import SyntheticReader
from tests.avatar.test_avatar import make_avatar, render, replace_size, wake


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


def test_the_picture_is_the_same(avatar, sequence, monkeypatch):
    """An open mouth, blinking eyes and a field of pure noise, which shows every place that moved."""
    large = replace_size(sequence, 96)
    for frame in (2, 17):
        monkeypatch.setattr(picture_voxels, "LEAST_SAMPLES", 10**9)
        exact = render(avatar, large, frame)
        monkeypatch.setattr(picture_voxels, "LEAST_SAMPLES", 1)
        found = render(avatar, large, frame)
        error = (found.rgb - exact.rgb).square().mean()
        assert 0 < error < 10 ** (-38 / 10)
        # A sample on the shell's rim may fall to the other side.
        torch.testing.assert_close(found.head_opacity.mean(), exact.head_opacity.mean(), atol=1e-3, rtol=0)
        torch.testing.assert_close(found.part_usage.sum(), torch.tensor(1.0), atol=1e-3, rtol=0)
        assert (found.offset_size > 0) == (exact.offset_size > 0)


def test_the_rim_is_where_it_is_sample_by_sample(avatar, sequence, monkeypatch):
    """Interpolated, the shell's rim gained and lost samples: 0.05 dB of a real face."""
    large, errors = replace_size(sequence, 96), {}
    monkeypatch.setattr(picture_voxels, "LEAST_SAMPLES", 10**9)
    exact = render(avatar, large, 17)
    monkeypatch.setattr(picture_voxels, "LEAST_SAMPLES", 1)
    for rim in (0.0, picture_voxels.RIM):
        monkeypatch.setattr(picture_voxels, "RIM", rim)
        errors[rim] = (render(avatar, large, 17).head_opacity - exact.head_opacity).abs().mean()
    assert errors[picture_voxels.RIM] < 0.8 * errors[0.0]


def test_part_weights_are_never_interpolated(avatar, sequence, monkeypatch):
    monkeypatch.setattr(picture_voxels, "LEAST_SAMPLES", 1)
    shown = render(avatar, sequence, 2, with_parts=True)
    total = shown.part_weights.sum(-1)
    torch.testing.assert_close(total, shown.head_opacity, atol=1e-3, rtol=0)


def test_small_pictures_are_carried_sample_by_sample(avatar, sequence, monkeypatch):
    called = []
    monkeypatch.setattr(picture_voxels, "known_at_corners", lambda *a: called.append(a))
    render(avatar, sequence, 2)
    assert not called


def test_a_picture_without_samples(avatar, sequence, monkeypatch):
    """The camera looks away: no ray meets the head."""
    monkeypatch.setattr(picture_voxels, "LEAST_SAMPLES", 0)
    camera = sequence.camera
    turned = camera.camera_to_world.clone()
    turned[:, :, [0, 2]] *= -1
    away = replace(sequence, camera=replace(camera, camera_to_world=turned))
    shown = render(avatar, away, 0)
    assert not shown.head_opacity.any()
    assert shown.rgb.isfinite().all()
