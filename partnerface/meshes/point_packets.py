"""Distances of a packet of points to boxes and triangles, for kernels on a CPU.

They are functions in C++: the compiler makes vector instructions of a loop over points, but not of Warp's own
vectors.
"""

from __future__ import annotations

from typing import no_type_check

import warp as wp

LANES = 8
"""Points of a packet: what a vector register of a CPU holds. The loops in C++ count to it, too."""

Lanes = wp.types.vector(length=LANES, dtype=wp.float32)
LaneFaces = wp.types.vector(length=LANES, dtype=wp.int32)


SLIVER = wp.constant(1.0e-12)
"""A triangle is no more than its edges if the square of its doubled area is below this share of the square of
the sum of its squared edges: rounding decides where its normal points. The functions in C++ know it, too."""


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
def some_within(low: wp.vec3, high: wp.vec3, x: Lanes, y: Lanes, z: Lanes, best: Lanes) -> bool:
    """Whether some of the points may be closer to a box than the root of ``best``."""


@wp.func_native("""
    auto larger = [](float p, float q) { return p > q ? p : q; };
    auto smaller = [](float p, float q) { return p < q ? p : q; };
    wp::vec3 ab = b - a, bc = c - b, ca = a - c, normal = wp::cross(ab, ca);
    float area = wp::dot(normal, normal);
    if (!(area >= 0.0f))
        return wp::vec_t<8, float>(1e38f);  // A vertex is not a number: the face is nowhere.
    wp::vec3 off_ab = wp::cross(normal, ab), off_bc = wp::cross(normal, bc), off_ca = wp::cross(normal, ca);
    float edges = wp::dot(ab, ab) + wp::dot(bc, bc) + wp::dot(ca, ca);
    bool sliver = area <= larger(1e-12f * edges * edges, 1e-36f);
    float per_area = 1.0f / larger(area, 1e-36f);
    // From the nearer end: faces that share an edge or a corner are then equally far from it, to the bit.
    auto to_edge = [&](int lane, const wp::vec3& start, const wp::vec3& end, const wp::vec3& edge) {
        float per_edge = 1.0f / larger(wp::dot(edge, edge), 1e-36f);
        float sx = x[lane] - start[0], sy = y[lane] - start[1], sz = z[lane] - start[2];
        float ex = x[lane] - end[0], ey = y[lane] - end[1], ez = z[lane] - end[2];
        float from_start = (sx * edge[0] + sy * edge[1] + sz * edge[2]) * per_edge;
        float from_end = -(ex * edge[0] + ey * edge[1] + ez * edge[2]) * per_edge;
        bool first = from_start <= from_end;
        float share = larger(smaller(from_start, from_end), 0.0f), t = first ? share : -share;
        float dx = (first ? sx : ex) - t * edge[0];
        float dy = (first ? sy : ey) - t * edge[1];
        float dz = (first ? sz : ez) - t * edge[2];
        return dx * dx + dy * dy + dz * dz;
    };
    wp::vec_t<8, float> found;
    for (int lane = 0; lane < 8; ++lane) {
        float ax = x[lane] - a[0], ay = y[lane] - a[1], az = z[lane] - a[2];
        float bx = x[lane] - b[0], by = y[lane] - b[1], bz = z[lane] - b[2];
        float cx = x[lane] - c[0], cy = y[lane] - c[1], cz = z[lane] - c[2];
        float height = ax * normal[0] + ay * normal[1] + az * normal[2];
        float beyond_ab = ax * off_ab[0] + ay * off_ab[1] + az * off_ab[2];
        float beyond_bc = bx * off_bc[0] + by * off_bc[1] + bz * off_bc[2];
        float beyond_ca = cx * off_ca[0] + cy * off_ca[1] + cz * off_ca[2];
        bool over_face = larger(larger(beyond_ab, beyond_bc), beyond_ca) <= 0.0f;
        float to_edges = smaller(to_edge(lane, a, b, ab), to_edge(lane, b, c, bc));
        to_edges = smaller(to_edges, to_edge(lane, c, a, ca));
        found[lane] = (over_face & !sliver) ? height * height * per_area : to_edges;
    }
    return found;
""")
def squared_distances(a: wp.vec3, b: wp.vec3, c: wp.vec3, x: Lanes, y: Lanes, z: Lanes) -> Lanes:
    """Squared distances of the points to a triangle."""


@wp.func_native("""
    wp::vec_t<8, int> found;
    for (int lane = 0; lane < 8; ++lane) {
        bool first = (distance[lane] == best[lane]) & (face < before[lane]);
        found[lane] = (first | (distance[lane] < best[lane])) ? face : before[lane];
    }
    return found;
""")
def closer_faces(face: int, distance: Lanes, before: LaneFaces, best: Lanes) -> LaneFaces:
    """For each point the new face if it is closer, or as close with a lower number; else the face before."""


@wp.func
@no_type_check
def _share_along(p: wp.vec3, start: wp.vec3, end: wp.vec3) -> float:
    """Where the closest point of an edge lies, from 0 at its start to 1 at its end."""
    edge = end - start
    return wp.clamp(wp.dot(p - start, edge) / wp.max(wp.length_sq(edge), 1.0e-36), 0.0, 1.0)


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
    edges = wp.length_sq(b - a) + wp.length_sq(c - b) + wp.length_sq(a - c)
    if wp.min(weight) >= 0.0 and whole > wp.max(SLIVER * edges * edges, 1.0e-36):
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
