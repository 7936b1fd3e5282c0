"""Writes files in FLAME's layout with random bases; the real one is never used."""

from __future__ import annotations

import numpy as np


def flame_arrays(vertices: int = 60, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a FLAME file. The last six vertices are two eyeballs of one face each."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(3), vertices) @ np.eye(3, 5)
    weights[:5] = np.eye(5)[0]
    weights[5:10] = np.eye(5)[1]
    weights[-6:-3], weights[-3:] = np.eye(5)[3], np.eye(5)[4]
    regressor = rng.dirichlet(np.ones(vertices) * 0.2, 5)
    faces = [[i, i + 1, i + 2] for i in range(0, vertices - 8)]
    faces += [[vertices - 6, vertices - 5, vertices - 4], [vertices - 3, vertices - 2, vertices - 1]]
    return {
        "v_template": 0.1 * rng.standard_normal((vertices, 3)),
        "shapedirs": 0.01 * rng.standard_normal((vertices, 3, 400)),
        "posedirs": 0.01 * rng.standard_normal((vertices, 3, 36)),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "f": np.array(faces, np.uint32),
    }
