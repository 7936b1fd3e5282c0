"""Inverse skinning in plain numpy: every face is tried for every point. The slow twin of the kernel."""

import numpy as np


def closest_points_on_triangles(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Closest point of each triangle ``[M, 3, 3]`` to each point ``[N, 3]``.

    Ericson, "Real-Time Collision Detection" (2005), section 5.1.5: the closest point of the plane if
    it lies inside, else the closest of the three edges; edges are tried for every triangle, so that
    degenerate ones need no case of their own.

    Returns:
        barycentric coordinates ``[N, M, 3]`` and distances ``[N, M]``.
    """
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    candidates = [_edge(points, a, b, (0, 1)), _edge(points, b, c, (1, 2)), _edge(points, c, a, (2, 0))]
    ab, ac = b - a, c - a
    normal = np.cross(ab, ac)
    area = (normal**2).sum(-1)
    safe = np.where(area > 0, area, 1)
    ap = points[:, None] - a
    v = (np.cross(ap, ac) * normal).sum(-1) / safe
    w = (np.cross(ab, ap) * normal).sum(-1) / safe
    interior = np.stack([1 - v - w, v, w], -1)
    inside = (interior >= 0).all(-1) & (area > 0)
    candidates.append(np.where(inside[..., None], interior, candidates[0]))
    barycentric = np.stack(candidates)
    places = np.einsum("knmc,mcd->knmd", barycentric, triangles)
    distance = np.linalg.norm(points[None, :, None] - places, axis=-1)
    best = distance.argmin(0)
    chosen = np.take_along_axis(barycentric, best[None, ..., None], 0)[0]
    return chosen, distance.min(0)


def _edge(points: np.ndarray, start: np.ndarray, end: np.ndarray, corners: tuple[int, int]) -> np.ndarray:
    direction = end - start
    square = (direction**2).sum(-1)
    along = ((points[:, None] - start) * direction).sum(-1) / np.where(square > 0, square, 1)
    along = along.clip(0, 1)
    barycentric = np.zeros((*along.shape, 3))
    barycentric[..., corners[0]] = 1 - along
    barycentric[..., corners[1]] = along
    return barycentric


def inverse_skinning(
    points: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    transforms: np.ndarray,
    displacements: np.ndarray,
    chunk: int = 50,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Carry world points ``[N, 3]`` to canonical space by the closest of all faces.

    Returns:
        canonical points ``[N, 3]``, distances ``[N]``, faces ``[N]``, barycentric ``[N, 3]``.
    """
    triangles = vertices[faces]
    face, barycentric, distance = [], [], []
    for k in range(0, len(points), chunk):
        weights, gaps = closest_points_on_triangles(points[k : k + chunk], triangles)
        best = gaps.argmin(1)
        face.append(best)
        barycentric.append(weights[np.arange(len(best)), best])
        distance.append(gaps.min(1))
    face, barycentric = np.concatenate(face), np.concatenate(barycentric)
    corners = faces[face]
    transform = np.einsum("nc,ncij->nij", barycentric, transforms[corners])
    displacement = np.einsum("nc,ncd->nd", barycentric, displacements[corners])
    undone = np.linalg.solve(transform[:, :, :3], (points - transform[:, :, 3])[..., None])[..., 0]
    return undone - displacement, np.concatenate(distance), face, barycentric
