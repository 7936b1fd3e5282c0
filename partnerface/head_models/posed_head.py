"""PosedHead: vertices and transforms of a posed head model, from which inverse skinning works back."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass
class PosedHead:
    """A head model posed in F frames.

    A vertex obeys ``vertices = vertex_transforms @ (canonical_vertices + displacements)``, so the
    inverse map of a surface point undoes the transform and then subtracts the displacement.

    Attributes:
        vertices: ``[F, V, 3]`` in world space, metres.
        canonical_vertices: ``[V, 3]`` in canonical space: the person's identity, the head model's
            canonical expression, rest pose.
        displacements: ``[F, V, 3]`` expression (and pose-corrective) offsets relative to canonical, metres.
        vertex_transforms: ``[F, V, 3, 4]`` blended joint transforms, rest to world.
        joints: ``[F, J, 3]`` joint positions in world space.
        head_rotation: ``[F, 3, 3]`` head to world; its inverse turns view directions into the head's axes.
    """

    vertices: Float[Tensor, "F V 3"]
    canonical_vertices: Float[Tensor, "V 3"]
    displacements: Float[Tensor, "F V 3"]
    vertex_transforms: Float[Tensor, "F V 3 4"]
    joints: Float[Tensor, "F J 3"]
    head_rotation: Float[Tensor, "F 3 3"]
