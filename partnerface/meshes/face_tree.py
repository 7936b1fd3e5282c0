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

LANES = 8
"""Points that are searched for at once: what a vector register of a CPU holds."""

LEAF_FACES = 4
"""Most faces of a leaf, but for rounding."""

DEEPEST = 30

Lanes = wp.types.vector(length=LANES, dtype=wp.float32)
LaneFaces = wp.types.vector(length=LANES, dtype=wp.int32)
_Stack = wp.types.vector(length=DEEPEST + 2, dtype=wp.int32)


@dataclass(frozen=True)
class PosedTree:
    """A tree over a mesh in F poses.

    Attributes:
        vertices: ``[F, V, 3]``.
        boxes: ``[F, 2 L, 2, 3]`` lowest and highest corners of the nodes: 1 is the root, ``2 n`` and
            ``2 n + 1`` are the children of ``n``, the last L nodes are the leaves.
        sorted_faces: ``[Fc, 3]`` int32, leaf by leaf: those of leaf ``l`` begin at ``l Fc / L``.
        numbers: ``[Fc]`` int32 of these in the mesh.
    """

    vertices: Tensor
    boxes: Tensor
    sorted_faces: Tensor
    numbers: Tensor

    @property
    def arrays(self) -> tuple[Tensor, ...]:
        """What a search takes: the attributes, in order."""
        return self.vertices, self.boxes, self.sorted_faces, self.numbers


class FaceTree:
    """A balanced tree over the faces of a mesh, split at the median of the longest axis.

    Args:
        vertices: ``[V, 3]`` of the pose by which faces are split; in others the tree is as good if they are
            near each other there, too.
        faces: ``[Fc, 3]``.
    """

    def __init__(self, vertices: Tensor, faces: Tensor) -> None:
        depth = math.ceil(math.log2(max(len(faces) / LEAF_FACES, 1)))
        order = _halved(vertices[faces].mean(1).double().numpy(), min(depth, DEEPEST))
        self.leaves = 2**depth
        self.numbers = torch.from_numpy(order).int()
        self.sorted_faces = faces[torch.from_numpy(order)].int()

    def posed(self, vertices: Tensor) -> PosedTree:
        """The tree at vertices ``[F, V, 3]``."""
        vertices = vertices.contiguous()
        boxes = fit_boxes(vertices, self.sorted_faces, self.leaves)
        return PosedTree(vertices, boxes, self.sorted_faces, self.numbers)


def _halved(centres: np.ndarray, depth: int) -> np.ndarray:
    """Order ``[Fc]`` of centres ``[Fc, 3]`` in which each of ``2**depth`` equal pieces is close together."""
    count = len(centres)
    order = np.arange(count)
    for level in range(depth):
        bounds = np.arange(2**level + 1) * count // 2**level
        node = np.repeat(np.arange(2**level), np.diff(bounds))
        places = centres[order]
        extents = np.maximum.reduceat(places, bounds[:-1]) - np.minimum.reduceat(places, bounds[:-1])
        along = places[np.arange(count), extents.argmax(1)[node]]
        order = order[np.lexsort((along, node))]
    return order


@wp.kernel(enable_backward=False)
@no_type_check
def _fit_boxes(
    vertices: wp.array2d(dtype=wp.vec3), faces: wp.array(dtype=wp.vec3i), boxes: wp.array3d(dtype=wp.vec3)
):
    frame = wp.tid()
    leaves = boxes.shape[1] / 2
    count = faces.shape[0]
    for leaf in range(leaves):
        low = wp.vec3(wp.inf)
        high = wp.vec3(-wp.inf)
        for k in range(leaf * count / leaves, (leaf + 1) * count / leaves):
            corner = faces[k]
            a = vertices[frame, corner[0]]
            b = vertices[frame, corner[1]]
            c = vertices[frame, corner[2]]
            low = wp.min(low, wp.min(a, wp.min(b, c)))
            high = wp.max(high, wp.max(a, wp.max(b, c)))
        boxes[frame, leaves + leaf, 0] = low
        boxes[frame, leaves + leaf, 1] = high
    for done in range(leaves - 1):
        node = leaves - 1 - done
        boxes[frame, node, 0] = wp.min(boxes[frame, 2 * node, 0], boxes[frame, 2 * node + 1, 0])
        boxes[frame, node, 1] = wp.max(boxes[frame, 2 * node, 1], boxes[frame, 2 * node + 1, 1])


@operator("fit_boxes")
def fit_boxes(vertices: Tensor, sorted_faces: Tensor, leaves: int) -> Tensor:
    """``boxes`` of a `PosedTree` with so many leaves."""
    boxes = vertices.new_empty(len(vertices), 2 * leaves, 2, 3)
    inputs = [as_vec3(vertices), as_vec3i(sorted_faces), as_vec3(boxes)]
    launch(_fit_boxes, len(vertices), inputs, vertices.device)
    return boxes


@fit_boxes.register_fake
def _(vertices: Tensor, sorted_faces: Tensor, leaves: int) -> Tensor:
    return vertices.new_empty(len(vertices), 2 * leaves, 2, 3)


# The compiler of kernels makes vector instructions of a loop over lanes in C++, not of Warp's own vectors.


@wp.func_native("""
    auto larger = [](float p, float q) { return p > q ? p : q; };
    int some = 0;
    for (int lane = 0; lane < 8; ++lane) {
        float gap_x = larger(larger(low[0] - x[lane], x[lane] - high[0]), 0.0f);
        float gap_y = larger(larger(low[1] - y[lane], y[lane] - high[1]), 0.0f);
        float gap_z = larger(larger(low[2] - z[lane], z[lane] - high[2]), 0.0f);
        // Less by more than rounding: that of a face must not hide the box around it.
        some |= 0.9999f * (gap_x * gap_x + gap_y * gap_y + gap_z * gap_z) <= best[lane];
    }
    return some != 0;
""")
def _some_near_box(low: wp.vec3, high: wp.vec3, x: Lanes, y: Lanes, z: Lanes, best: Lanes) -> bool:
    """Whether a box may hold points within the squared distances ``best`` of the lanes' points."""


@wp.func_native("""
    auto larger = [](float p, float q) { return p > q ? p : q; };
    auto smaller = [](float p, float q) { return p < q ? p : q; };
    wp::vec3 ab = b - a, bc = c - b, ca = a - c, normal = wp::cross(ab, ca);
    float area = wp::dot(normal, normal);
    if (!(area >= 0.0f))
        return wp::vec_t<8, float>(1e38f);  // A vertex is not a number: the face is nowhere.
    wp::vec3 off_ab = wp::cross(normal, ab), off_bc = wp::cross(normal, bc), off_ca = wp::cross(normal, ca);
    // A face without area, or an edge without length, divides nothing by nothing.
    float per_ab = 1.0f / larger(wp::dot(ab, ab), 1e-30f), per_bc = 1.0f / larger(wp::dot(bc, bc), 1e-30f);
    float per_ca = 1.0f / larger(wp::dot(ca, ca), 1e-30f), per_area = 1.0f / larger(area, 1e-30f);
    wp::vec_t<8, float> found;
    for (int lane = 0; lane < 8; ++lane) {
        float ax = x[lane] - a[0], ay = y[lane] - a[1], az = z[lane] - a[2];
        float bx = x[lane] - b[0], by = y[lane] - b[1], bz = z[lane] - b[2];
        float cx = x[lane] - c[0], cy = y[lane] - c[1], cz = z[lane] - c[2];
        float t = smaller(larger((ax * ab[0] + ay * ab[1] + az * ab[2]) * per_ab, 0.0f), 1.0f);
        float u = smaller(larger((bx * bc[0] + by * bc[1] + bz * bc[2]) * per_bc, 0.0f), 1.0f);
        float v = smaller(larger((cx * ca[0] + cy * ca[1] + cz * ca[2]) * per_ca, 0.0f), 1.0f);
        float tx = ax - t * ab[0], ty = ay - t * ab[1], tz = az - t * ab[2];
        float ux = bx - u * bc[0], uy = by - u * bc[1], uz = bz - u * bc[2];
        float vx = cx - v * ca[0], vy = cy - v * ca[1], vz = cz - v * ca[2];
        float to_ab = tx * tx + ty * ty + tz * tz, to_bc = ux * ux + uy * uy + uz * uz;
        float to_edges = smaller(smaller(to_ab, to_bc), vx * vx + vy * vy + vz * vz);
        float height = ax * normal[0] + ay * normal[1] + az * normal[2];
        float outside = larger(larger(ax * off_ab[0] + ay * off_ab[1] + az * off_ab[2],
                                        bx * off_bc[0] + by * off_bc[1] + bz * off_bc[2]),
                                cx * off_ca[0] + cy * off_ca[1] + cz * off_ca[2]);
        bool within = (outside <= 0.0f) & (area > 0.0f);
        found[lane] = within ? height * height * per_area : to_edges;
    }
    return found;
""")
def _squared_distances(a: wp.vec3, b: wp.vec3, c: wp.vec3, x: Lanes, y: Lanes, z: Lanes) -> Lanes:
    """Of the lanes' points to a triangle: to its plane, or to the closest edge for a point beside it."""


@wp.func_native("""
    wp::vec_t<8, int> found;
    for (int lane = 0; lane < 8; ++lane) {
        bool first = (distance[lane] == best[lane]) & (face < before[lane]);
        found[lane] = (first | (distance[lane] < best[lane])) ? face : before[lane];
    }
    return found;
""")
def _closer(face: int, distance: Lanes, before: LaneFaces, best: Lanes) -> LaneFaces:
    """The face, or the one before: of equally close ones the first, in whatever order they are visited."""


@wp.func
@no_type_check
def closest_faces(
    boxes: wp.array3d(dtype=wp.vec3),
    vertices: wp.array2d(dtype=wp.vec3),
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
    leaves = boxes.shape[1] / 2
    faces = sorted_faces.shape[0]
    stack = _Stack()
    stack[0] = 1
    waiting = int(1)  # noqa: UP018, RUF046 (Warp: a variable, not a constant)
    while waiting > 0:
        waiting -= 1
        node = stack[waiting]
        if _some_near_box(boxes[frame, node, 0], boxes[frame, node, 1], x, y, z, best):
            if node < leaves:
                # The nearer child last, which is visited first.
                left = boxes[frame, 2 * node, 0] + boxes[frame, 2 * node, 1] - 2.0 * middle
                right = boxes[frame, 2 * node + 1, 0] + boxes[frame, 2 * node + 1, 1] - 2.0 * middle
                nearer = wp.where(wp.length_sq(left) < wp.length_sq(right), 0, 1)
                stack[waiting] = 2 * node + 1 - nearer
                stack[waiting + 1] = 2 * node + nearer
                waiting += 2
            else:
                leaf = node - leaves
                for k in range(leaf * faces / leaves, (leaf + 1) * faces / leaves):
                    corner = sorted_faces[k]
                    a = vertices[frame, corner[0]]
                    b = vertices[frame, corner[1]]
                    c = vertices[frame, corner[2]]
                    distance = _squared_distances(a, b, c, x, y, z)
                    found = _closer(k, distance, found, best)
                    best = wp.min(best, distance)
    return found


@wp.func
@no_type_check
def _share_along(p: wp.vec3, start: wp.vec3, end: wp.vec3) -> float:
    """Where the closest point of an edge lies, from 0 at its start to 1 at its end."""
    edge = end - start
    return wp.clamp(wp.dot(p - start, edge) / wp.max(wp.length_sq(edge), 1.0e-30), 0.0, 1.0)


@wp.func
@no_type_check
def closest_barycentric(a: wp.vec3, b: wp.vec3, c: wp.vec3, p: wp.vec3) -> wp.vec3:
    """Barycentric coordinates of the closest point of a triangle."""
    normal = wp.cross(b - a, c - a)
    weight = wp.vec3(
        wp.dot(normal, wp.cross(c - b, p - b)),
        wp.dot(normal, wp.cross(a - c, p - c)),
        wp.dot(normal, wp.cross(b - a, p - a)),
    )
    whole = weight[0] + weight[1] + weight[2]
    if wp.min(weight) >= 0.0 and whole > 0.0:
        return weight / whole
    t = _share_along(p, a, b)
    weight = wp.vec3(1.0 - t, t, 0.0)
    nearest = wp.length_sq(wp.lerp(a, b, t) - p)
    t = _share_along(p, b, c)
    distance = wp.length_sq(wp.lerp(b, c, t) - p)
    if distance < nearest:
        weight = wp.vec3(0.0, 1.0 - t, t)
        nearest = distance
    t = _share_along(p, c, a)
    if wp.length_sq(wp.lerp(c, a, t) - p) < nearest:
        weight = wp.vec3(t, 0.0, 1.0 - t)
    return weight
