"""MeshBvh: a bounding volume hierarchy over a mesh whose vertices move, for Warp kernels; casting of rays."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import no_type_check

import torch
import warp as wp
from torch import Tensor

from partnerface.compute.warp_launch import as_vec3, launch, operator, torch_stream


class MeshBvh:
    """A triangle mesh that Warp kernels query by `id`; refitted, not rebuilt, when vertices move.

    Refitting costs 0.14 ms where building costs 3 ms (9,000 faces, one core), and head poses are
    close enough to each other that the tree stays good.

    Args:
        vertices: ``[V, 3]`` metres.
        faces: ``[Fc, 3]``, may be empty.

    Attributes:
        vertices: ``[V, 3]`` where they are now.
        corners: ``[Fc * 3]`` int32 the faces.
    """

    def __init__(self, vertices: Tensor, faces: Tensor) -> None:
        # Warp needs a triangle: one without area stops no ray.
        faces = faces if len(faces) else faces.new_zeros(1, 3)
        # A hierarchy that a test has made is refitted in training, where a test's tensors may not change.
        with torch.inference_mode(False):
            self.vertices = vertices.detach().float().contiguous().clone()
            self.corners = faces.reshape(-1).int().contiguous()
        with torch_stream(vertices.device):
            self._mesh = wp.Mesh(points=as_vec3(self.vertices), indices=wp.from_torch(self.corners))

    @property
    def id(self) -> wp.uint64:
        return self._mesh.id

    def refit(self, vertices: Tensor) -> None:
        """Move the vertices to ``[V, 3]``."""
        self.vertices.copy_(vertices.detach())
        with torch_stream(vertices.device):
            self._mesh.refit()


class PosedBvhs:
    """Hierarchies over one mesh, posed in F frames.

    Args:
        meshes: F hierarchies with the same faces.

    Attributes:
        ids: ``[F]`` int64, what Warp kernels query each by (see `as_ids`).
        corners: ``[Fc * 3]`` int32 the faces that they share.
    """

    def __init__(self, meshes: Sequence[MeshBvh]) -> None:
        self.meshes, self.corners = meshes, meshes[0].corners
        self.ids = torch.tensor([int(mesh.id) for mesh in meshes]).to(self.corners.device)

    @property
    def arrays(self) -> tuple[Tensor, Tensor]:
        """What a search takes: `ids`, and the faces ``[Fc, 3]`` int32."""
        return self.ids, self.corners.view(-1, 3)


class BvhCache:
    """Hierarchies over a mesh for each thread and frame of a batch: threads work side by side."""

    def __init__(self) -> None:
        self._hierarchies: dict[tuple[int, torch.device], list[MeshBvh]] = {}
        self._posed: dict[tuple[int, torch.device, int], PosedBvhs] = {}

    def __getstate__(self) -> dict:
        # Hierarchies live in Warp's memory and cannot be copied; a copy makes its own.
        return {"_hierarchies": {}, "_posed": {}}

    def clear(self) -> None:
        """Drop all hierarchies: to be called when the faces change."""
        self._hierarchies.clear()
        self._posed.clear()

    def posed(self, vertices: Tensor, canonical: Tensor, faces: Tensor) -> PosedBvhs:
        """The hierarchies at vertices ``[F, V, 3]``, valid until this thread calls for others.

        The trees are built over ``canonical`` ``[V, 3]``: of triangles that are equally close a query finds
        the first in the tree, which must not depend on the pose that came first.
        """
        thread = threading.get_ident(), vertices.device
        hierarchies = self._hierarchies.setdefault(thread, [])
        while len(hierarchies) < len(vertices):
            hierarchies.append(MeshBvh(canonical, faces))
        for hierarchy, posed in zip(hierarchies, vertices, strict=False):
            hierarchy.refit(posed)
        key = *thread, len(vertices)
        if key not in self._posed:
            self._posed[key] = PosedBvhs(hierarchies[: len(vertices)])
        return self._posed[key]


@wp.kernel(enable_backward=False)
@no_type_check
def _cast(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    depth: wp.array(dtype=wp.float32),
):
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, origins[i], directions[i], 1.0e6)
    depth[i] = wp.where(hit.result, hit.t, -1.0)


@operator("cast_rays")
def cast_rays(vertices: Tensor, faces: Tensor, origins: Tensor, directions: Tensor) -> Tensor:
    """Distance ``[R]`` in metres to the first face that each ray meets, from either side; -1 for none.

    Vertices are ``[V, 3]``, faces ``[Fc, 3]``, origins and unit directions of the rays ``[R, 3]``.
    """
    depth = torch.full((len(origins),), -1.0, device=origins.device)
    if not len(faces) or not len(origins):
        return depth
    mesh = MeshBvh(vertices, faces)
    inputs = [mesh.id, as_vec3(origins.contiguous()), as_vec3(directions.contiguous()), depth]
    launch(_cast, len(origins), inputs, origins.device)
    return depth


@cast_rays.register_fake
def _(vertices: Tensor, faces: Tensor, origins: Tensor, directions: Tensor) -> Tensor:
    return origins.new_empty(len(origins))
