"""Rays against every triangle in numpy (Moeller and Trumbore 1997): the slow twin of the casts in Warp."""

import numpy as np


def first_hits(vertices, faces, origins, directions) -> np.ndarray:
    """Distance ``[R]`` to the nearest of all triangles that each ray meets, infinity for none."""
    vertices, origins, directions = (np.asarray(v, np.float64) for v in (vertices, origins, directions))
    a, b, c = (vertices[np.asarray(faces)[:, k]] for k in range(3))
    first, second = b - a, c - a
    distance = np.full(len(origins), np.inf)
    for r, (origin, direction) in enumerate(zip(origins, directions, strict=True)):
        across = np.cross(direction, second)
        determinant = (first * across).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            offset = origin - a
            u = (offset * across).sum(1) / determinant
            turned = np.cross(offset, first)
            v = (turned @ direction) / determinant
            t = (second * turned).sum(1) / determinant
            met = (np.abs(determinant) > 1e-18) & (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
        distance[r] = t[met].min(initial=np.inf)
    return distance


def box(size: tuple[float, float, float], segments: tuple[int, int, int], open_bottom: bool = False):
    """Vertices ``[V, 3]`` and outward faces ``[Fc, 3]`` of a box around the origin, y up."""
    places: dict[tuple[int, ...], int] = {}
    faces = []

    def vertex(corner: np.ndarray) -> int:
        return places.setdefault(tuple(int(i) for i in corner), len(places))

    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for side in (0, segments[axis]):
            if open_bottom and axis == 1 and side == 0:
                continue
            for i in range(segments[u]):
                for j in range(segments[v]):
                    square = np.zeros((4, 3), int)
                    square[:, axis] = side
                    square[:, u] = [i, i + 1, i + 1, i]
                    square[:, v] = [j, j, j + 1, j + 1]
                    p, q, r, s = (vertex(corner) for corner in (square if side else square[::-1]))
                    faces += [(p, q, r), (p, r, s)]
    vertices = (np.array(list(places)) / segments - 0.5) * size
    return vertices.astype(np.float32), np.array(faces)
