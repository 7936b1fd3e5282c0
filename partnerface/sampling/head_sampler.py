"""Ray samples where the head can be: occupied cells up to the opaque backstop, in one Warp kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import torch
import warp as wp
from torch import Tensor

from partnerface.compute.ranges import Between
from partnerface.compute.threads import thread_generator
from partnerface.compute.warp_launch import as_bits, as_ids, as_mat33, as_vec3, launch, operator
from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel, PosedHead
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.head_parts import neck_share
from partnerface.meshes.bvh import BvhCache, PosedBvhs
from partnerface.meshes.normals import SurfacePoints, posed_normals, spread_points
from partnerface.sampling.occupancy import SURFACE_CELLS, OccupancyGrid, place_candidates
from partnerface.sampling.ray_sampler import RaySampler, RaySamples
from partnerface.sampling.skin_surfaces import backstop_surface, shell_cells

POINT_SPACING = 0.006
"""Metres between the points that mark the moving skin: every place of it is within 3.5 mm of one, less than
the cell of the surface grid (about 4 mm) by which marks are widened."""


@wp.func
@no_type_check
def _occupied(
    q: wp.vec3,
    cells: int,
    learned: wp.array(dtype=wp.uint8),
    surface_cells: int,
    surface: wp.array2d(dtype=wp.uint32),
    frame: int,
) -> bool:
    if wp.min(q) < 0.0 or wp.max(q) >= 1.0:
        return False
    x = int(q[0] * float(surface_cells))
    y = int(q[1] * float(surface_cells))
    z = int(q[2] * float(surface_cells))
    word = surface[frame, (z * surface_cells + y) * ((surface_cells + 31) / 32) + x / 32]
    if (word >> wp.uint32(x & 31)) & wp.uint32(1) != wp.uint32(0):
        return True
    x = int(q[0] * float(cells))
    y = int(q[1] * float(cells))
    z = int(q[2] * float(cells))
    return learned[x + cells * (y + cells * z)] != wp.uint8(0)


@wp.kernel(enable_backward=False)
@no_type_check
def _sample(
    backstops: wp.array(dtype=wp.uint64),
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    frames: wp.array(dtype=wp.int32),
    rotations: wp.array(dtype=wp.mat33),
    translations: wp.array(dtype=wp.vec3),
    low: wp.array(dtype=wp.float32),
    cube_extent: wp.array(dtype=wp.float32),
    box: wp.array(dtype=wp.vec3, ndim=2),
    cells: int,
    learned: wp.array(dtype=wp.uint8),
    surface_grid_cells: int,
    surface: wp.array2d(dtype=wp.uint32),
    step: float,
    samples: int,
    jitter: wp.array(dtype=wp.float32, ndim=2),
    depths: wp.array(dtype=wp.float32, ndim=2),
    length: wp.array(dtype=wp.float32),
    opaque: wp.array(dtype=wp.bool),
    hit: wp.array(dtype=wp.bool),
):
    i = wp.tid()
    frame = frames[i]
    rotation = rotations[frame]
    # The ray in the cube's own coordinates, from 0 to 1.
    extent = cube_extent[0]
    moved = origins[i] - translations[frame]
    o = wp.vec3()
    d = wp.vec3()
    near = float(0.0)  # noqa: UP018 (Warp: a variable, not a constant)
    far = float(1.0e6)  # noqa: UP018
    enter = float(0.0)  # noqa: UP018
    leave = float(1.0e6)  # noqa: UP018
    for axis in range(3):
        towards = wp.vec3(rotation[0, axis], rotation[1, axis], rotation[2, axis])
        o[axis] = (wp.dot(moved, towards) - low[axis]) / extent
        d[axis] = wp.dot(directions[i], towards) / extent
        inverse = 1.0 / wp.where(wp.abs(d[axis]) < 1.0e-9, 1.0e-9, d[axis])
        lowest = (box[frame, 0][axis] - low[axis]) / extent
        highest = (box[frame, 1][axis] - low[axis]) / extent
        t0 = (lowest - o[axis]) * inverse
        t1 = (highest - o[axis]) * inverse
        enter = wp.max(enter, wp.min(t0, t1))
        leave = wp.min(leave, wp.max(t0, t1))
        t0 = (wp.max(lowest, 0.0) - o[axis]) * inverse
        t1 = (wp.min(highest, 1.0) - o[axis]) * inverse
        near = wp.max(near, wp.min(t0, t1))
        far = wp.min(far, wp.max(t0, t1))
    free = samples
    stopped = bool(False)  # noqa: UP018
    # The backstop lies within the box, if not within the cube.
    if enter < leave:
        stop = wp.mesh_query_ray(backstops[frame], origins[i], directions[i], leave)
        if stop.result:
            stopped = True
            far = wp.min(far, stop.t)
            free = samples - 1
            depths[i, samples - 1] = stop.t
    steps = wp.max(0, int(wp.ceil((far - near) / step)))
    begin = o + (near + 0.5 * step) * d
    stride = step * d
    first = int(0)  # noqa: UP018, RUF046
    occupied_steps = int(0)  # noqa: UP018, RUF046
    for k in range(steps):
        if _occupied(begin + float(k) * stride, cells, learned, surface_grid_cells, surface, frame):
            if occupied_steps == 0:
                first = k
            occupied_steps += 1
    opaque[i] = stopped
    hit[i] = stopped or occupied_steps > 0
    spacing = float(occupied_steps) / float(free)
    length[i] = spacing * step
    placed = int(0)  # noqa: UP018, RUF046
    passed = float(0.0)  # noqa: UP018
    k = int(first)
    while k < steps and placed < free and occupied_steps > 0:
        if _occupied(begin + float(k) * stride, cells, learned, surface_grid_cells, surface, frame):
            while placed < free and (float(placed) + jitter[i, placed]) * spacing < passed + 1.0:
                within = (float(placed) + jitter[i, placed]) * spacing - passed
                depths[i, placed] = wp.min(near + (float(k) + within) * step, far)
                placed += 1
            passed += 1.0
        k += 1
    while placed < free:
        depths[i, placed] = far
        placed += 1


@operator("sample_rays")
def sample_rays(
    origins: Tensor,
    directions: Tensor,
    frame: Tensor,
    jitter: Tensor,
    backstops: Tensor,
    rotation: Tensor,
    translation: Tensor,
    box: Tensor,
    low: Tensor,
    extent: Tensor,
    learned: Tensor,
    surface: Tensor,
    cells: int,
    step: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Spread samples over the occupied part of rays.

    Args:
        origins: ``[N, 3]`` world space, metres.
        directions: ``[N, 3]`` unit vectors.
        frame: ``[N]`` int32.
        jitter: ``[N, S]`` in [0, 1): where a sample lies in its share of the ray.
        backstops: ``[F]`` int64 ids of the posed backstops' hierarchies.
        rotation: ``[F, 3, 3]`` rigid head, head to world.
        translation: ``[F, 3]`` metres.
        box: ``[F, 2, 3]`` see `HeadBounds`.
        low: ``[3]`` lowest corner of the grids' cube in the rigid head frame.
        extent: ``[1]`` its side.
        learned: ``[cells^3]`` uint8 cells of the learned grid.
        surface: occupied cells of the posed faces, see `HeadBounds`.
        cells: cells of the learned grid along an axis.
        step: metres between two looks at the grids.

    Returns:
        Depths ``[N, S]``, the length ``[N]`` of ray that each sample stands for, and ``[N]`` bool: the last
        sample lies on the backstop; the ray has samples.
    """
    device, count = origins.device, len(origins)
    depths, length = torch.empty_like(jitter), origins.new_empty(count)
    opaque, hit = (torch.empty(count, dtype=torch.bool, device=device) for _ in range(2))
    rays = as_ids(backstops), as_vec3(origins), as_vec3(directions), frame
    place = as_mat33(rotation), as_vec3(translation), low, extent, as_vec3(box)
    grids = cells, learned, SURFACE_CELLS, as_bits(surface), step
    inputs = [*rays, *place, *grids, jitter.shape[1], jitter, depths, length, opaque, hit]
    launch(_sample, count, inputs, device)
    return depths, length, opaque, hit


@sample_rays.register_fake
def _(origins: Tensor, directions: Tensor, frame: Tensor, jitter: Tensor, *rest) -> tuple[Tensor, ...]:
    flags = (origins.new_empty(len(origins), dtype=torch.bool) for _ in range(2))
    return torch.empty_like(jitter), origins.new_empty(len(origins)), *flags


@dataclass
class HeadBounds:
    """What the rays of F frames are sampled against.

    Attributes:
        backstop: hierarchies over the posed backstops.
        surface: occupied cells of the posed faces, SURFACE_CELLS along an axis, as `shell_cells` packs them.
        box: ``[F, 2, 3]`` lowest and highest corner, in the rigid head frame, of a box around the posed shell
            and the backstop in it.
        rotation: ``[F, 3, 3]`` rigid head, head to world.
        translation: ``[F, 3]`` metres.
    """

    backstop: PosedBvhs
    surface: Tensor
    box: Tensor
    rotation: Tensor
    translation: Tensor


class HeadRaySampler(RaySampler):
    """Spreads S samples over the occupied part of each ray.

    Args:
        samples: samples per ray, the backstop's included.
        step_m: march through the occupancy grid in steps of this many metres.
        cells: cells of the learned grid along an axis.
        erosion_m: depth of the backstop below the skin.
        thinnest_m: skin over less than this has no backstop.

    Raises:
        UserError: fewer than two samples, or an odd number of cells.
    """

    occupancy: OccupancyGrid
    surface_corners: Tensor
    surface_vertices: Tensor
    thickest: Tensor
    backstop_faces: Tensor
    backstop_depth: Tensor
    moving_corners: Tensor
    moving_barycentric: Tensor
    moving_reach: Tensor

    def __init__(
        self,
        samples: Between[int, 2, 4096] = 16,
        step_m: Between[float, 1e-5, 1] = 0.002,
        cells: Between[int, 2, 512] = 128,
        erosion_m: Between[float, 0, 1] = 0.006,
        thinnest_m: Between[float, 0, 1] = 0.02,
    ) -> None:
        super().__init__()
        if samples < 2:
            raise UserError(
                f"sampler: samples is {samples}, but a ray needs one before the backstop's: choose 2 or more"
            )
        if cells < 2 or cells % 2:
            raise UserError(f"sampler: cells is {cells}; choose an even number of cells")
        self.samples, self.step_m = samples, step_m
        self.erosion_m, self.thinnest_m = erosion_m, thinnest_m
        self.occupancy = OccupancyGrid(cells)
        self._hierarchies = BvhCache()
        self.register_buffer("surface_corners", torch.zeros(0, 3, dtype=torch.int32), persistent=False)
        self.register_buffer("surface_vertices", torch.zeros(0, dtype=torch.long), persistent=False)
        self.register_buffer("thickest", torch.zeros(()), persistent=False)
        self.register_buffer("backstop_faces", torch.zeros(0, 3, dtype=torch.long), persistent=False)
        self.register_buffer("backstop_depth", torch.zeros(0), persistent=False)
        self.register_buffer("moving_corners", torch.zeros(0, 3, dtype=torch.int32), persistent=False)
        self.register_buffer("moving_barycentric", torch.zeros(0, 3), persistent=False)
        self.register_buffer("moving_reach", torch.zeros(0), persistent=False)

    def set_surface(
        self, head_model: HeadModel, canonical: Tensor, surface: Tensor, thickness: Tensor
    ) -> None:
        """Build the backstop and choose the moving skin."""
        faces = head_model.faces[surface]
        self.surface_corners, self.surface_vertices = faces.int(), faces.unique()
        self.thickest = thickness.float().max()
        self.backstop_faces, self.backstop_depth = backstop_surface(
            head_model, canonical, surface, self.erosion_m, self.thinnest_m
        )
        motion = head_model.expression_basis.norm(dim=-1).amax(0)
        neck = neck_share(head_model) > 0.1
        used = torch.zeros(len(canonical), dtype=torch.bool, device=canonical.device)
        used[self.surface_vertices] = True
        moving = used & ((motion > 1e-3) | neck)
        skin = faces[moving[faces].any(1)]
        points = spread_points(canonical, skin, POINT_SPACING)
        self.moving_corners, self.moving_barycentric = points.corners.int(), points.barycentric
        # Thick hair over the moving skin is left to the learned grid.
        self.moving_reach = points.of(thickness.float()[:, None])[:, 0].clamp_max(0.012)
        self._hierarchies.clear()

    def adapt_to(
        self, head_model: HeadModel, surface: Tensor, thickness: Tensor, train: HeadParameters
    ) -> None:
        place_candidates(self.occupancy, head_model, head_model.faces[surface], thickness, train)

    def bounds(self, head: PosedHead, rotation: Tensor, translation: Tensor) -> HeadBounds:
        vertices = head.vertices.detach().contiguous()
        rotation, translation = rotation.detach().contiguous(), translation.detach().contiguous()
        normals = posed_normals(vertices, self.surface_corners)
        eroded = torch.addcmul(vertices, self.backstop_depth[:, None], normals, value=-1)
        backstop = self._hierarchies.posed(eroded, head.canonical_vertices, self.backstop_faces)
        points = SurfacePoints(self.moving_corners, self.moving_barycentric)
        cube = self.occupancy.low, self.occupancy.extent
        surface = shell_cells(vertices, normals, points, self.moving_reach, (rotation, translation), cube)
        rigid = torch.bmm(vertices[:, self.surface_vertices] - translation[:, None], rotation)
        lowest, highest = torch.aminmax(rigid, dim=1)
        box = torch.stack([lowest - self.thickest, highest + self.thickest], 1)
        return HeadBounds(backstop, surface, box, rotation, translation)

    def forward(self, origins: Tensor, directions: Tensor, frame: Tensor, bounds: HeadBounds) -> RaySamples:
        count, device = len(origins), origins.device
        shape = (count, self.samples)
        random = self.training and torch.is_grad_enabled()
        if random:
            jitter = torch.rand(shape, device=device, generator=thread_generator())
        else:
            jitter = torch.full(shape, 0.5, device=device)
        rays = origins.contiguous(), directions.contiguous(), frame, jitter
        place = bounds.backstop.ids, bounds.rotation, bounds.translation, bounds.box
        grid = self.occupancy
        grids = grid.low, grid.extent.view(1), grid.occupied, bounds.surface, grid.cells, self.step_m
        depths, length, opaque, hit = sample_rays(*rays, *place, *grids)
        return RaySamples(depths, length[:, None].expand(shape), opaque, hit)
