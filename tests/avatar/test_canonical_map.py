"""The map to canonical space: roughness of the fine motion, and where the pixels of a picture lie."""

import pytest
import torch

from partnerface.avatar.avatar import Avatar
from partnerface.avatar.canonical_map import LEAST_DISTANCE, mean_of_rays, offset_roughness
from partnerface.cameras.pinhole import image_pixels, pixel_rays
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.data.view import View
from partnerface.meshes.rasterizer import rasterize_mesh
from tests.avatar.test_avatar import make_avatar, training_rays, wake
from tests.views import views_of

COUNT, RAYS, FRAMES = 5, 2, 3
"""Samples of a ray, rays of a frame, frames."""


def frame_of(places: torch.Tensor) -> torch.Tensor:
    """The frame of each sample, from its number."""
    return (places // (RAYS * COUNT)).int()


def some_samples(kept: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    places = torch.tensor(kept, dtype=torch.long)
    positions = torch.rand(len(kept), 3, generator=generator)
    offsets = torch.randn(len(kept), 3, generator=generator).requires_grad_()
    return offsets, positions, places


@pytest.mark.parametrize(
    "kept",
    [[0, 1, 2, 3, 4, 5, 6], [0, 2, 4, 6, 8], [3, 4, 5, 9, 10], [1, 2, 3, 11, 13, 14], [8, 9, 10, 11, 25, 26]],
)
def test_equals_a_loop_over_neighbours_of_one_ray_for_each_frame(kept):
    offsets, positions, places = some_samples(kept)
    changes: list[list[float]] = [[] for _ in range(FRAMES)]
    for k in range(len(kept) - 1):
        if kept[k + 1] == kept[k] + 1 and kept[k] // COUNT == kept[k + 1] // COUNT:
            distance = float((positions[k + 1] - positions[k]).norm())
            change = float((offsets[k + 1] - offsets[k]).norm())
            changes[kept[k] // COUNT // RAYS].append(change**2 / (distance**2 + LEAST_DISTANCE**2))
    found = offset_roughness(offsets, positions, places, COUNT, frame_of(places), FRAMES)
    assert found.tolist() == pytest.approx([sum(c) / len(c) if c else 0.0 for c in changes], rel=1e-4)


@pytest.mark.parametrize("kept", [[], [4], [4, 5]])
def test_no_neighbours_are_smooth(kept):
    offsets, positions, places = some_samples(kept)
    roughness = offset_roughness(offsets, positions, places, COUNT, frame_of(places), FRAMES)
    roughness.sum().backward()
    assert roughness.tolist() == [0] * FRAMES
    assert not offsets.grad.any()


def test_of_a_linear_motion_it_is_the_squared_slope_along_the_ray():
    places = torch.arange(2 * RAYS * COUNT)
    positions = torch.stack([0.05 * (places % COUNT), 0.2 * (places // COUNT), 0 * places], 1)
    slope = torch.tensor([[0.3, 0.0, 0.4], [9.0, 9.0, 9.0], [0.0, 0.0, 0.0]])
    frame = frame_of(places)
    found = offset_roughness((1 + frame[:, None]) * (positions @ slope), positions, places, COUNT, frame, 2)
    assert found.tolist() == pytest.approx([0.25, 1.0], rel=1e-3)


def test_samples_on_one_place_stay_finite_and_distant_neighbours_hardly_count():
    """On one place in the first frame, apart in the second."""
    offsets = torch.tensor([[0.0, 0, 0], [0.01, 0, 0]]).repeat(2, 1)
    positions = torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 0], [0.1, 0, 0]])
    places = torch.tensor([0, 1, RAYS * COUNT, RAYS * COUNT + 1])
    same, apart = offset_roughness(offsets, positions, places, COUNT, frame_of(places), 2).tolist()
    assert same == pytest.approx((0.01 / LEAST_DISTANCE) ** 2, rel=1e-4)
    assert 0 < apart < 1e-3 * same


@pytest.mark.parametrize("some", [True, False])
def test_means_of_rays_equal_a_loop(some):
    values, ray = torch.rand(30), torch.randint(1, 6, (30,))
    solid = torch.rand(30) < 0.5 if some else None
    expected = []
    for number in range(7):
        members = [
            float(v)
            for v, r, counts in zip(values, ray, [True] * 30 if solid is None else solid, strict=True)
            if r == number and counts
        ]
        expected.append(sum(members) / len(members) if members else 0.0)
    assert mean_of_rays(values, ray, solid, 7).tolist() == pytest.approx(expected, rel=1e-5)


SIZE = 48


@pytest.fixture(scope="module")
def sequence(synthetic_dataset):
    return SyntheticReader(synthetic_dataset, frames=24, size=32).read()


@pytest.fixture
def avatar(sequence) -> Avatar:
    made = make_avatar()
    made.adapt_to(sequence)
    return made.eval()


@pytest.fixture
def view(sequence) -> View:
    return views_of(sequence, [5]).resized(SIZE, SIZE)


def test_without_gradients_there_are_no_statistics_and_the_same_samples(avatar, sequence):
    wake(avatar)
    frames = avatar.pose_frames(views_of(sequence, [2, 7]))
    sampled = avatar.sample(training_rays(sequence, [2, 7], 100), frames)
    learning = frames.exact(sampled)
    assert all(value.isfinite().all() for value in learning.statistics.values().values())
    with torch.no_grad():
        rendering = frames.exact(sampled)
    assert rendering.statistics is None
    assert rendering.part_weights is None
    for name in ("kept", "positions", "appearance"):
        assert torch.equal(getattr(rendering, name), getattr(learning, name)), name


def test_part_weights_change_nothing_else(avatar, sequence):
    wake(avatar)
    frames = avatar.pose_frames(views_of(sequence, [2, 7]))
    sampled = avatar.sample(training_rays(sequence, [2, 7], 100), frames)
    plain, with_parts = frames.exact(sampled), frames.exact(sampled, with_parts=True)
    for name in ("kept", "positions", "appearance"):
        assert torch.equal(getattr(with_parts, name), getattr(plain, name)), name
    total = with_parts.part_weights.sum(1)
    torch.testing.assert_close(total, torch.ones_like(total))


def seen_head(avatar: Avatar, view: View):
    """Depth along the rays, canonical place and mask of the pixels that see the avatar's surface."""
    posed, faces = avatar.head_model(view.head), avatar.skinning.faces
    pixels, depth = view.camera.project(posed.vertices)
    fragments = rasterize_mesh(pixels[0], depth[0], faces, SIZE, SIZE, cull_backfaces=False)
    places = torch.zeros(SIZE, SIZE, 3)
    places[fragments.mask] = fragments.interpolate(posed.canonical_vertices, faces)
    points = torch.zeros(SIZE, SIZE, 3)
    points[fragments.mask] = fragments.interpolate(posed.vertices[0], faces)
    return points.norm(dim=-1), places, fragments.mask


def test_points_of_the_posed_head_are_carried_home(avatar, view):
    depth, places, mask = seen_head(avatar, view)
    found = avatar.canonical_surface(view, depth)
    assert torch.equal(found.isnan().any(-1), ~mask)
    # Local networks start at no offset. Where two surfaces lie on each other (lips), either is right.
    error = (found - places)[mask].norm(dim=1)
    assert error.quantile(0.98) < 2e-4
    # The depth is along the ray, not along the camera's axis: at the rim they differ by millimetres.
    rays = pixel_rays(view.camera, image_pixels(SIZE, SIZE)[None])
    forward = (rays.directions[0] @ view.camera.camera_to_world[0, :, 2]).view(SIZE, SIZE)
    wrong = avatar.canonical_surface(view, depth * forward)
    assert (wrong - places)[mask].norm(dim=1).nan_to_num(1).median() > 1e-3


def test_a_learned_offset_moves_them(avatar, view, monkeypatch):
    depth, places, mask = seen_head(avatar, view)
    forward = avatar.deformation.forward

    def shifted(positions, driving, frame):
        deformed = forward(positions, driving, frame)
        deformed.offsets = deformed.offsets + torch.tensor([0.003, 0.0, 0.0]) / avatar.cube.extent
        return deformed

    monkeypatch.setattr(avatar.deformation, "forward", shifted)
    found = avatar.canonical_surface(view, depth)
    moved = (found - places)[mask].median(0).values
    torch.testing.assert_close(moved, torch.tensor([0.003, 0.0, 0.0]), atol=1e-4, rtol=0)


def test_far_from_the_head_there_is_no_canonical_point(avatar, view):
    assert avatar.canonical_surface(view, torch.full((SIZE, SIZE), 0.3)).isnan().all()


def test_the_depth_of_a_picture_leads_to_the_canonical_surface(avatar, view):
    """From a rendered picture: canonical points within the shell, NaN exactly where there is no head."""
    shown = avatar.render(view)
    found = avatar.canonical_surface(view, shown.depth)
    head = shown.depth > 0
    assert head.any()
    assert found[~head].isnan().all()
    assert found[head].isfinite().float().mean() > 0.98
    low = avatar.cube.low - 0.05
    inside = found[found.isfinite().all(-1)]
    assert ((inside > low) & (inside < low + avatar.cube.extent + 0.1)).all()
