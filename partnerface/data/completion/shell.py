"""How far hair and skin reach beyond each vertex of the tracked mesh, measured from the mattes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera
from partnerface.data.regions import HEAD, in_regions
from partnerface.head_models.head_model import HeadModel
from partnerface.meshes.normals import vertex_normals
from partnerface.meshes.rasterizer import rasterize_mesh

FACE_FLOOR_M = 0.006
FLOOR_M = 0.012
CAP_M = 0.09
ROUNDS = 6
SMOOTHING_ROUNDS = 3
QUANTILE = 0.9
MARGIN_PX = 1.0
MAX_MISSED_PIXELS = 2000
"""Most missed pixels used from one frame per round: a leaking matte has many, and neighbours agree."""


@dataclass
class ShellReport:
    """Attributes:
    thickness: ``[V]`` metres.
    unreached_share: share of head-matte pixels that no sample within the shell reaches.
    psnr_ceiling: best PSNR of the full frame on white in dB if those pixels stay white.
    """

    thickness: Tensor
    unreached_share: float
    psnr_ceiling: float


def measure_shell(
    head_model: HeadModel,
    vertices: Tensor,
    camera: Camera,
    labels: Tensor,
    images: Tensor,
    face_vertices: Tensor,
    torso_vertices: Tensor,
) -> ShellReport:
    """Grow a shell around the mesh until it covers the head's part of the mattes.

    In each round the inflated mesh is drawn. Each head pixel that it misses is assigned to the nearest vertex
    on its outline, which would have to reach it; a vertex grows by a high quantile over the frames. The torso
    is left out: it is a layer of its own.

    Args:
        head_model: gives the faces.
        vertices: ``[F, V, 3]`` posed vertices of some frames.
        camera: ``F`` cameras at the resolution of the labels.
        labels: ``[F, H, W]`` uint8 `Region`.
        images: ``[F, H, W, 3]`` uint8, for the ceiling.
        face_vertices: ``[V]`` bool, vertices of the face, whose floor is lower.
        torso_vertices: ``[V]`` bool.
    """
    faces = head_model.faces[head_model.part_faces("skin")]
    normals = vertex_normals(vertices, faces)
    wanted = in_regions(labels, HEAD)
    thickness = torch.where(face_vertices, FACE_FLOOR_M, FLOOR_M)

    def missed(i: int) -> tuple[Tensor, Tensor, Tensor]:
        """``[H, W]`` bool, head pixels that the shell misses in a frame; the shell's pixels and depth."""
        pixels, depth = camera.select([i]).project((vertices[i] + thickness[:, None] * normals[i])[None])
        drawn = rasterize_mesh(pixels[0], depth[0], faces, camera.width, camera.height, False).mask
        return wanted[i] & ~drawn, pixels[0], depth[0]

    def shortfall(i: int) -> Tensor:
        """``[V]`` metres by which each vertex falls short in a frame, 0 where it falls short of nothing."""
        metres = torch.zeros(len(thickness))
        pixel_missed, pixels, depth = missed(i)
        y, x = torch.where(pixel_missed)
        if len(y) == 0:
            return metres
        view = functional.normalize(vertices[i] - camera.camera_to_world[i, :, 3], dim=-1)
        outline = ((normals[i] * view).sum(-1).abs() < 0.5) & ~torso_vertices
        candidates = torch.where(outline & (normals[i].square().sum(-1) > 0.5))[0]
        if len(candidates) == 0:
            return metres
        places = torch.stack([x + 0.5, y + 0.5], -1)[:: max(1, len(x) // MAX_MISSED_PIXELS)]
        distance, nearest = torch.cdist(places, pixels[candidates]).min(1)
        vertex = candidates[nearest]
        reach = (distance + MARGIN_PX) * depth[vertex] / camera.intrinsics[i, 0]
        return metres.scatter_reduce(0, vertex, reach, "amax")

    for _ in range(ROUNDS):
        requests = torch.stack([shortfall(i) for i in range(len(vertices))])
        if requests.max() <= 0:
            break
        requested = torch.where(requests > 0, requests, torch.nan)
        growth = requested.nanquantile(QUANTILE, dim=0).nan_to_num(0.0)
        thickness = _smoothed(thickness, thickness + growth, faces, torso_vertices).clamp(max=CAP_M)
    unreached = torch.stack([missed(i)[0] for i in range(len(vertices))])
    error = ((1 - images.float() / 255).square().mean(-1) * unreached).mean((1, 2)).clamp_min(1e-10)
    ceiling = float((-10 * error.log10()).mean()) if len(error) else math.inf
    return ShellReport(thickness, float(unreached.sum() / wanted.sum().clamp_min(1)), ceiling)


def _smoothed(before: Tensor, after: Tensor, faces: Tensor, torso_vertices: Tensor) -> Tensor:
    """Spread the growth over the neighbours, so that the shell has no spikes."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = torch.cat([edges, edges.flip(1)])
    degree = torch.zeros(len(after)).index_add(0, edges[:, 0], torch.ones(len(edges))).clamp_min(1)
    smooth = after
    for _ in range(SMOOTHING_ROUNDS):
        mean = torch.zeros_like(smooth).index_add(0, edges[:, 0], smooth[edges[:, 1]]) / degree
        # Keep what a vertex needs, lift its neighbours towards it.
        smooth = torch.maximum(0.5 * (after + mean), mean)
    return torch.where(torso_vertices, before, torch.maximum(before, smooth))
