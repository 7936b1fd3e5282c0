"""HeadOutline: where the matte's edge runs around the head, as a measurement of its pose.

The skin of the face determines a head's distance poorly, and a nod looks much like a shift; the outline of
hair and skull separates them. How far hair stands off each vertex is not known, but it is constant over the
clip: it is averaged, as the texture of the face is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parts import surface_vertices
from partnerface.tracking.alignment.pose_step import pose_jacobian, sample_planes

SECTORS = 96
"""Directions around the head's middle, one outermost vertex each."""

FARTHEST_M = 0.1
"""Hair is looked for up to this far from the skin at first."""

GATE_PX = 5.0
"""Matte edges farther from the predicted outline are ignored; pixels at `poses.ALIGNMENT_SIZE`."""
ROBUST_PX = 1.5
NOISE_PX = 0.7
"""Residual at which the robust loss becomes linear and standard deviation of the edge, same pixels."""

SMOOTHING_ROUNDS = 60
STIFFNESS = 2.0
"""Observations that a vertex's neighbours are worth."""


@dataclass
class OutlineRows:
    """Measurements ``M`` of some frames.

    Attributes:
        frames: ``[M]`` frame in the chunk.
        vertices: ``[M]`` outermost vertex, a row of `HairShell.vertices`.
        residual: ``[M]`` pixels by which the shell stands out of the matte.
        normals: ``[M, 2]`` outward normal of the outline in the image.
        world: ``[M, 3]`` the shell's point.
        metres_per_pixel: ``[M]``.
    """

    frames: Tensor
    vertices: Tensor
    residual: Tensor
    normals: Tensor
    world: Tensor
    metres_per_pixel: Tensor


@dataclass
class HairShell:
    """How far the outline stands off the head's vertices; it turns with the head.

    Attributes:
        vertices: ``[N]`` vertices of the head above the neck.
        rivals: ``[M]`` vertices of neck and torso: where they form the outline, nothing is measured.
        edges: ``[E, 2]`` neighbours, rows of ``vertices``.
        reach: ``[N]`` metres along the normals.
        spread: ``[N]`` metres: its deviation over the clip; infinite where it was never seen.
    """

    vertices: Tensor
    rivals: Tensor
    edges: Tensor
    reach: Tensor
    spread: Tensor

    @classmethod
    def bare(cls, head_model: HeadModel) -> HairShell:
        """The skin itself."""
        skin = head_model.faces[head_model.part_faces("skin")]
        on_skin = surface_vertices(head_model, "skin")
        head = on_skin & (head_model.head_weights() > 0.99)
        edges = torch.cat([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]])
        edges = edges[head[edges].all(1)]
        row = head.cumsum(0) - 1
        count = int(head.sum())
        return cls(
            vertices=head.nonzero()[:, 0],
            rivals=(on_skin & ~head).nonzero()[:, 0],
            edges=torch.cat([row[edges], row[edges].flip(1)]),
            reach=torch.zeros(count),
            spread=torch.full((count,), torch.inf),
        )

    def learn(self, requests: Tensor, squares: Tensor, weights: Tensor) -> None:
        """Move the shell by the mean of the frames' measurements, smoothed over neighbours.

        ``requests`` ``[N]`` is the weighted sum over frames of the metres by which a vertex should stand out,
        ``squares`` that of their squares, ``weights`` the sum of weights; 0 for a vertex never measured.
        """
        seen = weights > 0
        mean = torch.where(seen, requests / weights.clamp_min(1e-6), 0.0)
        variance = (squares / weights.clamp_min(1e-6) - mean.square()).clamp_min(0)
        self.spread = torch.where(seen, variance.sqrt(), torch.inf)
        degree = torch.zeros_like(mean).index_add(0, self.edges[:, 0], torch.ones(len(self.edges)))
        growth = mean
        # The growth is smoothed, not the shell: a smooth shell would shrink from round to round.
        for _ in range(SMOOTHING_ROUNDS):
            around = torch.zeros_like(mean).index_add(0, self.edges[:, 0], growth[self.edges[:, 1]])
            growth = (weights * mean + STIFFNESS * around / degree.clamp_min(1)) / (weights + STIFFNESS)
        self.reach = (self.reach + growth).clamp(-0.01, FARTHEST_M)


def measure_outline(
    shell: HairShell,
    mattes: Tensor,
    camera: Camera,
    local: Tensor,
    normals: Tensor,
    rivals: Tensor,
    rotation: Tensor,
    translation: Tensor,
    gate: float,
) -> OutlineRows:
    """Compare the shell's outline with the mattes.

    Args:
        shell: its present state.
        mattes: ``[T, H, W]`` uint8.
        camera: ``T`` cameras at the mattes' size.
        local: ``[T, N, 3]`` the shell's vertices on the skin, in the head's rest space.
        normals: ``[T, N, 3]``.
        rivals: ``[T, M, 3]`` vertices of neck and torso in the head's rest space.
        rotation: ``[T, 3, 3]`` head to world.
        translation: ``[T, 3]``.
        gate: pixels beyond which an edge is not the head's.
    """
    world = (local + shell.reach[:, None] * normals) @ rotation.transpose(1, 2) + translation[:, None]
    pixels, depth = camera.project(world)
    middle = pixels.mean(1, keepdim=True)
    beside = rivals @ rotation.transpose(1, 2) + translation[:, None]
    outermost, radius = _outermost(pixels - middle)
    rival_radius = _outermost(camera.project(beside)[0] - middle)[1]
    frame, sector = torch.where((radius > 0) & (radius > rival_radius))
    vertex = outermost[frame, sector]
    point, radius = pixels[frame, vertex], radius[frame, sector]
    radial = (point - middle[frame, 0]) / radius[:, None]
    turned = (rotation[frame] @ normals[frame, vertex][..., None])[..., 0]
    ahead = camera.select(frame).project(world[frame, vertex, None] + 0.005 * turned[:, None])[0][:, 0]
    normal = functional.normalize(ahead - point, dim=1)
    distance, found = _edge_distance(mattes, frame, point, radial, gate)
    facing = (normal * radial).sum(1)
    good = found & (facing > 0.7)
    scale = depth[frame, vertex] / camera.intrinsics[frame, 0]
    rows = OutlineRows(frame, vertex, -distance * facing, normal, world[frame, vertex], scale)
    return OutlineRows(**{name: value[good] for name, value in vars(rows).items()})


def outline_equations(
    rows: OutlineRows, shell: HairShell, camera: Camera, translation: Tensor
) -> tuple[Tensor, Tensor]:
    """Normal matrix ``[T, 6, 6]`` and slope ``[T, 6]`` of the poses by `pose_jacobian`'s columns."""
    frame_camera = camera.select(rows.frames)
    jacobian = pose_jacobian(
        frame_camera, rows.normals[:, None], rows.world[:, None], translation[rows.frames]
    )[:, 0]
    spread = shell.spread[rows.vertices] / rows.metres_per_pixel
    weight = 1 / (NOISE_PX**2 + spread.square()) / (1 + (rows.residual / ROBUST_PX).square())
    normal = torch.zeros(len(translation), 6, 6)
    normal = normal.index_add(
        0, rows.frames, weight[:, None, None] * jacobian[:, :, None] * jacobian[:, None]
    )
    slope = torch.zeros(len(translation), 6)
    return normal, slope.index_add(0, rows.frames, (weight * rows.residual)[:, None] * jacobian)


def _outermost(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Farthest of the points ``[T, N, 2]`` in each sector: its row and its radius ``[T, SECTORS]``."""
    radius = centred.norm(dim=-1)
    angle = torch.atan2(centred[..., 1], centred[..., 0]) / (2 * torch.pi) + 0.5
    sector = (angle * SECTORS).long().clamp_max(SECTORS - 1)
    best = torch.zeros(len(centred), SECTORS).scatter_reduce(1, sector, radius, "amax")
    row = torch.zeros(len(centred), SECTORS, dtype=torch.long)
    frame, point = torch.where(radius >= best.gather(1, sector))
    row[frame, sector[frame, point]] = point
    return row, best


def _edge_distance(
    mattes: Tensor, frame: Tensor, point: Tensor, radial: Tensor, gate: float
) -> tuple[Tensor, Tensor]:
    """Signed pixels ``[M]`` outward to the nearest place where the matte ends, and whether there is one."""
    steps = torch.arange(-gate, gate + 0.5, 1.0)
    places = point[:, None] + radial[:, None] * steps[:, None]
    values = torch.zeros(len(point), len(steps))
    for t in frame.unique().tolist():
        here = frame == t
        values[here] = sample_planes(
            mattes[t, None, None].float() / 255, places[here].reshape(1, -1, 2)
        ).reshape(-1, len(steps))
    size = torch.tensor([mattes.shape[2], mattes.shape[1]])
    inside = ((places > 1) & (places < size - 1)).all(-1)
    inner, outer = values[:, :-1], values[:, 1:]
    falls = (inner > 0.5) & (outer <= 0.5) & inside[:, 1:]
    away, index = torch.where(falls, (steps[:-1] + 0.5).abs(), torch.inf).min(1)
    inner, outer = (v.gather(1, index[:, None])[:, 0] for v in (inner, outer))
    return steps[index] + (inner - 0.5) / (inner - outer).clamp_min(1e-6), away.isfinite()
