"""The mouth of a FLAME mesh: its opening, a surface that closes it, and teeth behind it.

FLAME's lips end at an open edge and nothing lies behind them. VHAP and GaussianAvatars add two rows of teeth,
120 vertices, so that their files hold 5143 vertices for 5023; the shape of ours is our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from partnerface.errors import UserError

TEETH_COLUMNS = 15
TEETH_VERTICES = 8 * TEETH_COLUMNS
LEAST_JAW_SPREAD = 0.5
"""A rim belongs to the mouth if the jaw's skinning weight differs by this much along it."""

# In widths of the mouth.
TEETH_SETBACK, TEETH_HEIGHT, TEETH_THICKNESS, TEETH_WIDTH = 0.10, 0.17, 0.06, 0.85


@dataclass
class MouthOpening:
    """The open edge of the lips.

    Attributes:
        upper: ``[N]`` vertices of the upper lip's edge, from the subject's right to the left corner.
        lower: ``[M]`` of the lower lip's, between the same corners.
    """

    upper: np.ndarray
    lower: np.ndarray


def mouth_opening(vertices: np.ndarray, faces: np.ndarray, jaw: np.ndarray) -> MouthOpening | None:
    """Find the rim of which one side turns with the jaw; None in a mesh that has none.

    Args:
        vertices: ``[V, 3]``.
        faces: ``[Fc, 3]``.
        jaw: ``[V]`` skinning weight of the jaw.
    """
    rims = [rim for rim in open_rims(faces) if len(rim) >= 6]
    spreads = [float(np.ptp(jaw[rim])) for rim in rims]
    if not rims or max(spreads) < LEAST_JAW_SPREAD:
        return None
    rim = rims[int(np.argmax(spreads))]
    start = int(vertices[rim, 0].argmin())
    rim = np.roll(rim, -start)
    end = int(vertices[rim, 0].argmax())
    one, other = rim[: end + 1], np.concatenate([rim[end:], rim[:1]])[::-1]
    lower_first = jaw[one].mean() > jaw[other].mean()
    return MouthOpening(*((other, one) if lower_first else (one, other)))


def open_rims(faces: np.ndarray) -> list[np.ndarray]:
    """Closed rings of vertices along edges that belong to one face ``[3]`` only, in the faces' direction."""
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    both = {(a, b) for a, b in directed}
    following: dict[int, list[int]] = {}
    for a, b in directed:
        if (b, a) not in both:
            following.setdefault(a, []).append(b)
    rims = []
    while following:
        rim = [next(iter(following))]
        while rim[-1] in following:
            after = following[rim[-1]].pop()
            if not following[rim[-1]]:
                del following[rim[-1]]
            rim.append(after)
            if after == rim[0]:
                rims.append(np.array(rim[:-1]))
                break
    return rims


def closing_faces(vertices: np.ndarray, opening: MouthOpening) -> np.ndarray:
    """``[Fc, 3]`` faces between the lips' edges, seen counter-clockwise from the front."""
    upper, lower = opening.upper, opening.lower
    along = [_shares(vertices, side) for side in (upper, lower)]
    faces, i, j = [], 0, 0
    while i + 1 < len(upper) or j + 1 < len(lower):
        # Advance on the side that lies behind.
        on_upper = j + 1 == len(lower) or (i + 1 < len(upper) and along[0][i + 1] <= along[1][j + 1])
        faces.append([upper[i], lower[j], upper[i + 1] if on_upper else lower[j + 1]])
        i, j = (i + 1, j) if on_upper else (i, j + 1)
    # Both sides share their corners, at which a face has no area.
    return np.array([face for face in faces if len({*face}) == 3]).reshape(-1, 3)


def _shares(vertices: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Place of the vertices of a side between its corners, in [0, 1]."""
    steps = np.linalg.norm(np.diff(vertices[side], axis=0), axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    return travelled / max(travelled[-1], 1e-12)


@dataclass
class Teeth:
    """Two rows of teeth. Vertices are numbered as VHAP numbers them, 15 for each of eight edges.

    Attributes:
        offsets: ``[120, 3]`` added to the linear combination of lip vertices.
        share: ``[120, V]`` of which it is made, rows sum to one.
        faces: ``[168, 3]`` numbering the teeth from 0.
        is_upper: ``[120]`` bool: they turn with the head, the others with the jaw.
    """

    offsets: np.ndarray
    share: np.ndarray
    faces: np.ndarray
    is_upper: np.ndarray


def teeth_behind(vertices: np.ndarray, opening: MouthOpening | None) -> Teeth:
    """Teeth behind the lips of vertices ``[V, 3]``.

    Raises:
        UserError: the mesh has no open mouth.
    """
    if opening is None:
        raise UserError("teeth: the mesh has no open mouth to put them into")
    column = np.linspace(0.5 - 0.5 * TEETH_WIDTH, 0.5 + 0.5 * TEETH_WIDTH, TEETH_COLUMNS)
    share = np.zeros((TEETH_COLUMNS, len(vertices)))
    for side in (opening.upper, opening.lower):
        places = _shares(vertices, side)
        right = np.searchsorted(places, column).clip(1, len(side) - 1)
        weight = (column - places[right - 1]) / np.maximum(places[right] - places[right - 1], 1e-12)
        np.add.at(share, (np.arange(TEETH_COLUMNS), side[right - 1]), 0.5 * (1 - weight))
        np.add.at(share, (np.arange(TEETH_COLUMNS), side[right]), 0.5 * weight)
    width = np.linalg.norm(vertices[opening.upper[-1]] - vertices[opening.upper[0]])
    arch = share @ vertices
    level = np.zeros_like(arch)
    level[:, 1] = arch[:, 1].mean() - arch[:, 1]
    # Edges in VHAP's order: upper root, lower root, upper edge, lower edge, and the same at the back.
    heights = np.array([1.0, -1.0, 0.0, 0.0])[:, None, None] * [0.0, TEETH_HEIGHT, 0.0] * width
    front = level - [0.0, 0.0, TEETH_SETBACK * width] + heights
    offsets = np.concatenate([front, front - [0.0, 0.0, TEETH_THICKNESS * width]]).reshape(-1, 3)
    first = np.arange(TEETH_COLUMNS - 1)

    def strip(above: int, below: int) -> np.ndarray:
        """Quads, as triangles, between two of the eight edges."""
        a, b = above * TEETH_COLUMNS + first, below * TEETH_COLUMNS + first
        return np.concatenate([np.stack([a, b, b + 1], 1), np.stack([a, b + 1, a + 1], 1)])

    upper = [strip(0, 2), strip(2, 6), strip(6, 4)]
    lower = [strip(3, 1), strip(7, 3), strip(5, 7)]
    is_upper = np.repeat([True, False] * 4, TEETH_COLUMNS)
    return Teeth(offsets, np.tile(share, (8, 1)), np.concatenate(upper + lower), is_upper)
