"""FaceTree: a hierarchy of boxes over a mesh, searched for the closest faces of several points at once.

For CPUs. Neighbouring points visit nearly the same faces. Searched one by one, they take three times as long:
most of a search is branches, and distances of one point leave a vector register empty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import torch
import warp as wp
from torch import Tensor

from partnerface.compute.warp_launch import as_vec3, as_vec3i, launch, operator
from partnerface.meshes.point_packets import (
    LANES,
    LaneFaces,
    Lanes,
    closer_faces,
    some_within,
    squared_distances,
)

LEAF_FACES = 4
"""Most faces of a leaf, but for rounding."""

_Stack = wp.types.vector(length=32, dtype=wp.int32)
"""Nodes to visit, one of each level: enough for two thousand million faces."""


@dataclass(frozen=True)
class PosedTree:
    """A tree over a mesh in F poses.

    Attributes:
        vertices: ``[F, V, 3]``.
        boxes: ``[F, 2 L, 2, 3]`` lowest and highest corners of the nodes: 1 is the root, ``2 n`` and
            ``2 n + 1`` are the children of ``n``, the last L nodes are the leaves.
        leaves: ``[L + 1]`` int32 where the faces of each leaf begin in ``sorted_faces``, and their number Fc.
        sorted_faces: ``[Fc, 3]`` int32.
        numbers: ``[Fc]`` int32 of these in the mesh.
    """

    vertices: Tensor
    boxes: Tensor
    leaves: Tensor
    sorted_faces: Tensor
    numbers: Tensor

    @property
    def arrays(self) -> tuple[Tensor, ...]:
        """What a search takes: the attributes, in order."""
        return self.vertices, self.boxes, self.leaves, self.sorted_faces, self.numbers


class FaceTree:
    """A balanced tree over the faces of a mesh, split at the median of the longest axis.

    Args:
        vertices: ``[V, 3]`` of the pose by which faces are split; in others the tree is as good if they are
            near each other there, too.
        faces: ``[Fc, 3]``.
    """

    def __init__(self, vertices: Tensor, faces: Tensor) -> None:
        depth = math.ceil(math.log2(max(len(faces) / LEAF_FACES, 1)))
        order = torch.from_numpy(_halved(vertices[faces].mean(1).double().numpy(), depth))
        self.leaves = torch.from_numpy(_bounds(len(faces), depth)).int()
        self.sorted_faces, self.numbers = faces[order].int(), order.int()

    def posed(self, vertices: Tensor) -> PosedTree:
        """The tree at vertices ``[F, V, 3]``."""
        vertices = vertices.contiguous()
        boxes = fit_boxes(vertices, self.leaves, self.sorted_faces)
        return PosedTree(vertices, boxes, self.leaves, self.sorted_faces, self.numbers)


def _bounds(count: int, depth: int) -> np.ndarray:
    """Where ``2**depth`` equal pieces of a list begin, and its end."""
    return np.arange(2**depth + 1) * count // 2**depth


def _halved(centres: np.ndarray, depth: int) -> np.ndarray:
    """Order ``[Fc]`` of centres ``[Fc, 3]`` in which each of ``2**depth`` equal pieces is close together."""
    count = len(centres)
    order = np.arange(count)
    for level in range(depth):
        bounds = _bounds(count, level)
        node = np.repeat(np.arange(2**level), np.diff(bounds))
        places = centres[order]
        extents = np.maximum.reduceat(places, bounds[:-1]) - np.minimum.reduceat(places, bounds[:-1])
        along = places[np.arange(count), extents.argmax(1)[node]]
        order = order[np.lexsort((along, node))]
    return order


@wp.kernel(enable_backward=False)
@no_type_check
def _fit_boxes(
    vertices: wp.array2d(dtype=wp.vec3),
    leaves: wp.array(dtype=wp.int32),
    sorted_faces: wp.array(dtype=wp.vec3i),
    boxes: wp.array3d(dtype=wp.vec3),
):
    frame = wp.tid()
    boxes[frame, 0, 0] = wp.vec3()
    boxes[frame, 0, 1] = wp.vec3()
    count = leaves.shape[0] - 1
    for leaf in range(count):
        low = wp.vec3(wp.inf)
        high = wp.vec3(-wp.inf)
        for k in range(leaves[leaf], leaves[leaf + 1]):
            corner = sorted_faces[k]
            a = vertices[frame, corner[0]]
            b = vertices[frame, corner[1]]
            c = vertices[frame, corner[2]]
            low = wp.min(low, wp.min(a, wp.min(b, c)))
            high = wp.max(high, wp.max(a, wp.max(b, c)))
        boxes[frame, count + leaf, 0] = low
        boxes[frame, count + leaf, 1] = high
    for done in range(count - 1):
        node = count - 1 - done
        boxes[frame, node, 0] = wp.min(boxes[frame, 2 * node, 0], boxes[frame, 2 * node + 1, 0])
        boxes[frame, node, 1] = wp.max(boxes[frame, 2 * node, 1], boxes[frame, 2 * node + 1, 1])


@operator("fit_boxes")
def fit_boxes(vertices: Tensor, leaves: Tensor, sorted_faces: Tensor) -> Tensor:
    """``boxes`` of a `PosedTree`, from its other attributes; of the unused node 0 they are zero."""
    boxes = vertices.new_empty(len(vertices), 2 * (len(leaves) - 1), 2, 3)
    inputs = [as_vec3(vertices), leaves, as_vec3i(sorted_faces), as_vec3(boxes)]
    launch(_fit_boxes, len(vertices), inputs, vertices.device)
    return boxes


@fit_boxes.register_fake
def _(vertices: Tensor, leaves: Tensor, sorted_faces: Tensor) -> Tensor:
    return vertices.new_empty(len(vertices), 2 * (len(leaves) - 1), 2, 3)


@wp.func
@no_type_check
def closest_faces(
    boxes: wp.array3d(dtype=wp.vec3),
    vertices: wp.array2d(dtype=wp.vec3),
    leaves: wp.array(dtype=wp.int32),
    sorted_faces: wp.array(dtype=wp.vec3i),
    frame: int,
    points: wp.array(dtype=wp.vec3),
    first: int,
    count: int,
    radius: float,
) -> LaneFaces:
    """Closest faces of ``count`` points of a frame from ``first`` on, at most `LANES`.

    Numbers are those of ``sorted_faces`` (see `PosedTree`), -1 for none within the radius. Other lanes repeat
    the last point.
    """
    x = Lanes()
    y = Lanes()
    z = Lanes()
    for lane in range(LANES):
        p = points[first + wp.min(lane, count - 1)]
        x[lane] = p[0]
        y[lane] = p[1]
        z[lane] = p[2]
    middle = points[first + count / 2]
    best = Lanes(radius * radius)
    found = LaneFaces(-1)
    inner = leaves.shape[0] - 1
    stack = _Stack()
    stack[0] = 1
    waiting = int(1)  # noqa: UP018, RUF046 (Warp: a variable, not a constant)
    while waiting > 0:
        waiting -= 1
        node = stack[waiting]
        if some_within(boxes[frame, node, 0], boxes[frame, node, 1], x, y, z, best):
            if node < inner:
                # The nearer child last, which is visited first.
                left = boxes[frame, 2 * node, 0] + boxes[frame, 2 * node, 1] - 2.0 * middle
                right = boxes[frame, 2 * node + 1, 0] + boxes[frame, 2 * node + 1, 1] - 2.0 * middle
                nearer = wp.where(wp.length_sq(left) < wp.length_sq(right), 0, 1)
                stack[waiting] = 2 * node + 1 - nearer
                stack[waiting + 1] = 2 * node + nearer
                waiting += 2
            else:
                for k in range(leaves[node - inner], leaves[node - inner + 1]):
                    corner = sorted_faces[k]
                    a = vertices[frame, corner[0]]
                    b = vertices[frame, corner[1]]
                    c = vertices[frame, corner[2]]
                    distance = squared_distances(a, b, c, x, y, z)
                    found = closer_faces(k, distance, found, best)
                    best = wp.min(best, distance)
    return found
