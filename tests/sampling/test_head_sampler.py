"""Ray samples against a replay in numpy and against every triangle of the backstop."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.errors import UserError
from partnerface.meshes.bvh import MeshBvh, PosedBvhs
from partnerface.sampling.head_sampler import HeadBounds, HeadRaySampler
from partnerface.sampling.occupancy import SURFACE_CELLS
from partnerface.sampling.ray_sampler import RaySamples
from partnerface.skinning.head_surface import head_surface
from tests.contracts.ray_sampler_contract import RaySamplerContract
from tests.contracts.subjects import in_frame
from tests.meshes.plain_ray_casting import box, first_hits
from tests.sampling.packed_cells import packed, unpacked

CELLS, SAMPLES, STEP = 16, 12, 0.00373
LOW, EXTENT = torch.tensor([-0.2, -0.15, -0.1]), 0.4
ROTATION = axis_angle_to_matrix(torch.tensor([[0.4, -0.8, 0.3], [-1.1, 0.2, 0.5]]))
ALONG_THE_AXES = torch.eye(3)[torch.tensor([[0, 1, 2], [1, 2, 0]])]
TRANSLATION = torch.tensor([[0.3, -0.1, -1.0], [-0.2, 0.4, -0.8]])
"""The poses of two heads."""


class TestHeadRaySampler(RaySamplerContract):
    def make(self) -> HeadRaySampler:
        return HeadRaySampler(samples=SAMPLES, cells=32)


def make_sampler(learned: torch.Tensor) -> HeadRaySampler:
    sampler = HeadRaySampler(samples=SAMPLES, step_m=STEP, cells=CELLS).eval()
    sampler.occupancy.set_candidates(LOW, torch.tensor(EXTENT), learned)
    return sampler


def random_cells(share: float, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) < share


def make_bounds(share: float, stop: torch.Tensor, rotation: torch.Tensor = ROTATION) -> HeadBounds:
    """Two heads: a share of the surface's cells, and backstops of 16 cm around ``stop`` ``[2, 3]`` in the
    rigid frame, turned with the head.
    """
    vertices, faces = (torch.from_numpy(a) for a in box((0.16, 0.16, 0.16), (2, 2, 2)))
    rigid = vertices + stop[:, None]
    world = rigid @ rotation.mT + TRANSLATION[:, None]
    around = torch.stack(
        [torch.minimum(LOW, rigid.amin(1)), torch.maximum(LOW + EXTENT, rigid.amax(1))], dim=1
    )
    surface = packed(random_cells(share, 2, SURFACE_CELLS, SURFACE_CELLS, SURFACE_CELLS))
    backstop = PosedBvhs([MeshBvh(posed, faces) for posed in world])
    return HeadBounds(backstop, surface, around, rotation, TRANSLATION)


Rays = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Origins and directions in the world, and frames."""


def stopped_at(bounds: HeadBounds, origins: torch.Tensor, directions: torch.Tensor, frame: torch.Tensor):
    """Where each ray meets the backstop of its own frame, infinity for nowhere."""
    corners, stops = bounds.backstop.corners.view(-1, 3), np.zeros(len(origins))
    for number, mesh in enumerate(bounds.backstop.meshes):
        of = frame == number
        stops[of.numpy()] = first_hits(mesh.vertices, corners, origins[of], directions[of])
    return stops


def rays_to_the_cube(count: int, rotation: torch.Tensor = ROTATION) -> Rays:
    """World rays of two frames in turns: most towards the cube, some starting in it, some past it, some
    along its axes.
    """
    generator = torch.Generator().manual_seed(2)
    origins = 0.8 * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    targets = LOW + EXTENT * torch.rand(count, 3, generator=generator)
    origins[:20] = LOW + EXTENT * torch.rand(20, 3, generator=generator)
    targets[20:40] = 3 * torch.randn(20, 3, generator=generator)
    directions = torch.nn.functional.normalize(targets - origins, dim=1)
    axes = torch.eye(3).repeat(20, 1)[:60]
    directions[40:100] = axes
    origins[40:100] = LOW + EXTENT * torch.rand(60, 3, generator=generator) - 0.7 * axes
    return in_the_world(origins, directions, rotation)


def in_the_world(origins: torch.Tensor, directions: torch.Tensor, rotation: torch.Tensor = ROTATION) -> Rays:
    """Rays that are given in the rigid frames of two heads in turns."""
    frame = (torch.arange(len(origins)) % 2).int()
    turn = rotation[frame]
    place = (turn @ origins[:, :, None])[:, :, 0] + TRANSLATION[frame]
    return place, (turn @ directions[:, :, None])[:, :, 0], frame


@dataclass
class Replay:
    """One ray in float64: where the march starts and ends, and which of its steps are occupied."""

    near: float
    far: float
    occupied: np.ndarray

    def depth(self, arc: float) -> float:
        """Depth at ``arc`` occupied steps from the start."""
        step = self.occupied[int(arc)]
        return min(self.near + (step + arc - int(arc)) * STEP, self.far)


def replay(origin, direction, frame: int, grids: list[tuple[torch.Tensor, int]], bounds, stop) -> Replay:
    rotation, translation = (value[frame].double().numpy() for value in (bounds.rotation, bounds.translation))
    o = (origin.double().numpy() - translation) @ rotation
    d = direction.double().numpy() @ rotation
    low = LOW.double().numpy()
    with np.errstate(divide="ignore"):
        planes = np.stack([(low - o) / d, (low + EXTENT - o) / d])
    near, far = max(planes.min(0).max(), 0), min(planes.max(0).min(), stop)
    steps = np.arange(int(np.ceil((far - near) / STEP)) if far > near else 0)
    near = min(near, far)
    places = (o + (near + (steps[:, None] + 0.5) * STEP) * d - low) / EXTENT
    inside = ((places >= 0) & (places < 1)).all(1)
    places = places.clip(0, 1 - 1e-9)
    occupied = np.zeros(len(steps), bool)
    for grid, cells in grids:
        x, y, z = (places * cells).astype(int).T
        occupied |= grid.numpy()[x + cells * (y + cells * z)] > 0
    return Replay(near, far, steps[occupied & inside])


def replays(sampler: HeadRaySampler, bounds: HeadBounds, rays: Rays) -> list[Replay]:
    """Each ray by itself, against the learned cells and those of its frame."""
    learned, surface = sampler.occupancy.occupied, unpacked(bounds.surface, SURFACE_CELLS).flatten(1)
    origins, directions, frames = rays
    return [
        replay(*ray, frame, [(learned, CELLS), (surface[frame], SURFACE_CELLS)], bounds, stop)
        for *ray, frame, stop in zip(
            origins, directions, frames.tolist(), stopped_at(bounds, *rays), strict=True
        )
    ]


def check_strata(samples: RaySamples, expected: list[Replay], slack: float) -> None:
    """Each free sample lies in its share of the occupied steps; ``slack`` is the share of odd rays."""
    odd = 0
    for r, ray in enumerate(expected):
        free = SAMPLES - int(samples.opaque[r])
        count = len(ray.occupied)
        if abs(float(samples.lengths[r, 0]) - count * STEP / free) > 1e-6:
            # A march that starts, ends or steps on the rim of a cell may go either way in float32.
            assert abs(float(samples.lengths[r, 0]) - count * STEP / free) < 2.1 * STEP / free
            odd += 1
            continue
        if not count:
            continue
        spacing = count / free
        for k in range(free):
            first = ray.depth(k * spacing)
            last = ray.depth(min((k + 1) * spacing, count - 1e-9))
            assert first - 1e-5 <= samples.depths[r, k] <= last + 1e-5
    assert odd <= slack * len(expected)


@pytest.fixture(params=["turned", "along the axes"])
def crowded(request) -> tuple[HeadRaySampler, HeadBounds]:
    sampler = make_sampler(random_cells(0.2, CELLS**3))
    # Without a turn but from axis to axis, rays along the axes have components that are exactly zero.
    rotation = ROTATION if request.param == "turned" else ALONG_THE_AXES
    return sampler, make_bounds(0.02, torch.tensor([[0.03, 0.05, 0.1], [-0.02, 0.1, 0.12]]), rotation)


def test_evaluation_samples_are_the_centres_of_equal_shares_of_the_occupied_steps(crowded):
    sampler, bounds = crowded
    rays = rays_to_the_cube(300, bounds.rotation)
    samples = sampler(*rays, bounds)
    expected = replays(sampler, bounds, rays)
    assert np.mean([len(ray.occupied) > 0 for ray in expected]) > 0.8
    check_strata(samples, expected, slack=0.02)
    exact = 0
    for r, ray in enumerate(expected):
        free, count = SAMPLES - int(samples.opaque[r]), len(ray.occupied)
        if not count or abs(float(samples.lengths[r, 0]) - count * STEP / free) > 1e-6:
            continue
        wanted = [ray.depth((k + 0.5) * count / free) for k in range(free)]
        exact += np.abs(samples.depths[r, :free].numpy() - wanted).max() < 1e-5
    assert exact > 200


def test_training_samples_are_jittered_within_their_shares(crowded):
    sampler, bounds = crowded
    torch.manual_seed(0)
    rays = rays_to_the_cube(200, bounds.rotation)
    expected = replays(sampler, bounds, rays)
    evaluated = sampler(*rays, bounds)
    sampler.train()
    samples = sampler(*rays, bounds)
    check_strata(samples, expected, slack=0.02)
    moved = (samples.depths - evaluated.depths).abs()[evaluated.lengths[:, 0] > 0]
    assert (moved > 1e-5).float().mean() > 0.8
    with torch.no_grad():
        assert torch.equal(sampler(*rays, bounds).depths, evaluated.depths)


def test_depths_rise_and_hits_are_known(crowded):
    sampler, bounds = crowded
    rays = rays_to_the_cube(400, bounds.rotation)
    samples = sampler.train()(*rays, bounds)
    assert samples.depths.isfinite().all()
    assert (samples.depths.diff(dim=1) >= -1e-6).all()
    stops = stopped_at(bounds, *rays)
    meets = np.isfinite(stops)
    assert 0.1 < meets.mean() < 0.9
    np.testing.assert_array_equal(samples.opaque.numpy(), meets)
    np.testing.assert_allclose(samples.depths[:, -1].numpy()[meets], stops[meets], atol=2e-6)
    assert torch.equal(samples.hit, samples.opaque | (samples.lengths[:, 0] > 0))


def test_a_ray_that_misses_everything_has_no_samples(crowded):
    sampler, bounds = crowded
    directions = torch.cat([torch.eye(3), -torch.eye(3)]).repeat_interleave(2, 0)
    samples = sampler(*in_the_world(5 * directions, directions, bounds.rotation), bounds)
    assert not samples.hit.any()
    assert not samples.opaque.any()
    assert not samples.lengths.any()


def test_without_an_occupied_cell_only_the_backstop_is_hit():
    sampler = make_sampler(torch.zeros(CELLS**3, dtype=torch.bool))
    bounds = make_bounds(0.0, torch.zeros(2, 3))
    samples = sampler(*rays_to_the_cube(200), bounds)
    assert torch.equal(samples.hit, samples.opaque)
    assert samples.hit.any()
    assert not samples.lengths.any()
    assert samples.depths.isfinite().all()


def test_a_backstop_in_front_of_the_cube_is_still_hit():
    """The rigid cube knows the training frames; a neck may leave it in a new pose."""
    sampler = make_sampler(torch.ones(CELLS**3, dtype=torch.bool))
    target = torch.tensor([[0.0, 0.0, 0.5], [0.0, 0.6, 0.5]])
    bounds = make_bounds(0.0, target)
    origins = target.repeat(2, 1) + torch.tensor([[0.0, 0, 0.5], [0, 0.5, 0], [1.0, 0, 0], [0, 0, 0.7]])
    directions = torch.nn.functional.normalize(target.repeat(2, 1) - origins, dim=1)
    samples = sampler(*in_the_world(origins, directions), bounds)
    assert samples.opaque.all()
    expected = torch.tensor([0.42, 0.42, 0.92, 0.62])
    torch.testing.assert_close(samples.depths[:, -1], expected, atol=1e-5, rtol=0)
    assert not samples.lengths.any()
    assert (samples.depths.diff(dim=1) >= 0).all()


def test_a_single_sample_is_refused():
    with pytest.raises(UserError, match="samples is 1"):
        HeadRaySampler(samples=1)


@pytest.fixture(scope="module")
def head_sampler(anny) -> HeadRaySampler:
    sampler = HeadRaySampler(cells=8).eval()
    canonical = anny(anny.neutral_parameters()).canonical_vertices
    thickness = torch.full((len(canonical),), 0.01)
    sampler.set_surface(anny, canonical, head_surface(anny), thickness)
    none = torch.zeros(8**3, dtype=torch.bool)
    sampler.occupancy.set_candidates(torch.tensor([-0.25, -0.25, -0.25]), torch.tensor(0.5), none)
    return sampler


def test_posed_head_stops_rays_at_its_own_backstop(anny, head_sampler, random_head_parameters):
    """Both frames of a batch, in one pass."""
    parameters = random_head_parameters(frames=2, seed=4)
    bounds = head_sampler.bounds(anny(parameters), parameters.rotation, parameters.translation)
    generator = torch.Generator().manual_seed(0)
    pieces = []
    for frame in range(2):
        stops = bounds.backstop.meshes[frame].vertices
        targets = stops[head_sampler.backstop_faces.unique()][::30]
        origins = targets + torch.nn.functional.normalize(
            torch.randn(targets.shape, generator=generator), dim=1
        )
        directions = torch.nn.functional.normalize(
            targets + 0.01 * torch.randn(targets.shape, generator=generator) - origins, dim=1
        )
        pieces.append((origins, directions, in_frame(origins, frame)))
    rays = tuple(torch.cat(values) for values in zip(*pieces, strict=True))
    samples, expected = head_sampler(*rays, bounds), stopped_at(bounds, *rays)
    meets = np.isfinite(expected)
    assert all(meets[rays[2].numpy() == frame].mean() > 0.5 for frame in range(2))
    np.testing.assert_array_equal(samples.opaque.numpy(), meets)
    np.testing.assert_allclose(samples.depths[:, -1].numpy()[meets], expected[meets], atol=2e-6)


def test_surface_grid_follows_a_jaw_that_opens_wide(anny, head_sampler):
    """Cells at the lips and at the shell before them are occupied, though no frame was learned.

    Only in the second of two frames, in which the jaw is open.
    """
    parameters = anny.neutral_parameters(2)
    parameters.expression[1, anny.expression_index("jawOpen")] = 1.0
    posed = anny(parameters)
    bounds = head_sampler.bounds(posed, parameters.rotation, parameters.translation)
    motion = anny.expression_basis[anny.expression_index("jawOpen")].norm(dim=-1)
    jaw = (motion > 0.005).nonzero()[:, 0]
    jaw = jaw[torch.isin(jaw, head_sampler.surface_corners.long())]
    vertices = posed.vertices[1, jaw]
    x, y, z = ((vertices + 0.25) / 0.5 * SURFACE_CELLS).long().unbind(1)
    closed, opened = unpacked(bounds.surface, SURFACE_CELLS)[:, z, y, x]
    assert len(jaw) > 100
    assert opened.all()
    assert not closed.all()
    origins = vertices + torch.tensor([0.0, 0.0, 1.0])
    directions = torch.tensor([[0.0, 0.0, -1.0]]).expand_as(origins)
    assert head_sampler(origins, directions, in_frame(origins, 1), bounds).hit.all()


def test_no_sample_lies_outside_the_box_of_the_posed_shell(crowded):
    sampler, bounds = crowded
    shares = [[[0.12, 0.25, 0.0], [0.75, 1.0, 0.5]], [[0.0, 0.1, 0.3], [0.6, 0.5, 1.0]]]
    box = LOW + EXTENT * torch.tensor(shares)
    boxed = replace(bounds, box=box)
    origins, directions, frame = rays_to_the_cube(300, bounds.rotation)
    samples = sampler(origins, directions, frame, boxed)
    points = origins[:, None] + directions[:, None] * samples.depths[..., None]
    rigid = (points - TRANSLATION[frame, None]) @ bounds.rotation[frame]
    free = samples.lengths > 0
    free[:, -1] &= ~samples.opaque
    low, high = box[frame, :, None].unbind(1)
    outside = ((rigid < low - 1e-4) | (rigid > high + 1e-4)).any(-1)
    assert all(free[frame == number].any() for number in (0, 1))
    assert not (outside & free).any()


def test_the_box_of_a_posed_head_holds_its_backstop(head_sampler, anny, random_head_parameters):
    """Rays beside the box are not asked whether they meet the backstop."""
    for head in (anny.neutral_parameters(), random_head_parameters(frames=2, seed=4)):
        bounds = head_sampler.bounds(anny(head), head.rotation, head.translation)
        used = bounds.backstop.corners.unique().long()
        for frame, mesh in enumerate(bounds.backstop.meshes):
            corners = (mesh.vertices[used] - head.translation[frame]) @ head.rotation[frame]
            low, high = bounds.box[frame]
            assert ((corners > low) & (corners < high)).all()
