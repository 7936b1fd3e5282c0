"""VHAP's files of FLAME parameters: one npz a frame, whose identity may differ from sequence to sequence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from partnerface.data.formats.conventions import flame_parameters, split_joint_pose
from partnerface.data.formats.foreign import DatasetFolder, GivenHeadModel
from partnerface.data.formats.foreign_values import ADVICE, arrays_of, checked, radians
from partnerface.errors import UserError
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_asset import HeadModelAsset
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.runs.progress import shown_progress

FRAME_ARRAYS = {"translation": 3, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6}
ANGLES = ("rotation", "neck_pose", "jaw_pose", "eyes_pose")
OTHER_ARRAYS = ("shape", "expr", "static_offset", "dynamic_offset")
COEFFICIENTS = {"shape": "num_identity", "expr": "num_expression"}
"""Keys by which `partnerface convert` says how many of an array's coefficients are not padding."""
SAME = 1e-4
"""Shape coefficients of one identity differ by no more, nor its static offset in millimetres."""
MOST_IDENTITIES = 32
"""A union of sequences has one each at most; a dataset with more was not tracked with a constant identity."""


def read_flame_files(
    folder: DatasetFolder,
    paths: list[Path],
    first: int,
    given: GivenHeadModel,
    guesses: list[str],
    counts: dict[str, int],
) -> tuple[HeadModel, HeadParameters]:
    """The head model and its parameters of T frames.

    Sequences of a union may have been tracked apart, each with a shape and a static offset of its own. Those
    of the frame ``first`` are the person's; what another sequence's add to them is an expression of its own,
    which is 1 in its frames and 0 in all others.

    Args:
        folder: the dataset.
        paths: ``T`` files, of which several may be the same.
        first: the first training frame.
        given: the FLAME file.
        guesses: what had to be assumed is added here, in words.
        counts: numbers of coefficients by array: those behind are left out if all of them are zero.

    Raises:
        UserError: a file or the head model is wrong.
    """
    loaded = {}
    with shown_progress("Reading FLAME parameters", len({*paths})) as advance:
        for path in dict.fromkeys(paths):
            loaded[path] = arrays_of(path, (*FRAME_ARRAYS, *OTHER_ARRAYS))
            advance()
    for name, count in counts.items():
        vectors = {path: _vector(values, name, path) for path, values in loaded.items()}
        if not any(vector[count:].any() for vector in vectors.values()):
            for path, vector in vectors.items():
                loaded[path][name] = vector[:count].numpy()
    if any(np.any(values.get("dynamic_offset", 0) != 0) for values in loaded.values()):
        guesses.append("dynamic_offset, which no head model has, is left out")
    expressions = len(_vector(loaded[paths[0]], "expr", paths[0]))
    identities: list[tuple[Tensor, np.ndarray | None]] = []
    _identity(loaded[paths[first]], paths[first], identities)
    members = torch.tensor([_identity(loaded[path], path, identities) for path in paths])
    rows = {
        name: torch.stack([_vector(loaded[path], name, path, width) for path in paths])
        for name, width in {**FRAME_ARRAYS, "expr": expressions}.items()
    }
    pose = torch.cat([rows["neck_pose"], rows["jaw_pose"], rows["eyes_pose"]], 1)
    joints, root = split_joint_pose(pose), axis_angle_to_matrix(rows["rotation"])
    models: list[FlameHead] = []
    for number, (shape, offset) in enumerate(identities):
        alike = [i for i in range(number) if _farthest_apart(identities[i][1], offset) == 0]
        models.append(models[alike[0]] if alike else given.flame(folder, len(shape), expressions, offset))
    guesses.append(given.assumption)
    heads = []
    for number, (model, (shape, _)) in enumerate(zip(models, identities, strict=True)):
        own = members == number
        turns = {name: values[own] for name, values in joints.items()}
        head = flame_parameters(model, shape, rows["expr"][own], turns, root[own], rows["translation"][own])
        # Rest spaces differ: each has its origin at the neck of the head with its own static offset.
        moved = (models[0].origin - model.origin).expand(len(head), 3)
        shift = (head.rotation @ moved[..., None])[..., 0]
        heads.append(replace(head, identity=identities[0][0], translation=head.translation + shift))
    if len(models) == 1:
        return models[0], heads[0]
    whole = HeadParameters.concatenate(heads).select(members.argsort(stable=True).argsort().tolist())
    own_expression = torch.nn.functional.one_hot(members, len(models))[:, 1:].to(whole.expression)
    asset, most = _with_identities(models, [shape for shape, _ in identities])
    guesses.append(
        f"the identity of {len(models)} sequences, which differ by up to {1000 * most:.1f} mm: it is that of "
        f"{paths[first].parent.parent.name}, the others are expressions of their own"
    )
    return HeadModel(asset, models[0].surface), replace(
        whole, expression=torch.cat([whole.expression, own_expression], 1)
    )


def facing(path: Path) -> tuple[Tensor, Tensor]:
    """``[3]`` the direction in which the head of a file looks, and its place, metres.

    Raises:
        UserError: the file is wrong.
    """
    arrays = arrays_of(path, ("rotation", "neck_pose", "translation"))
    root, neck, place = (_vector(arrays, name, path, 3) for name in ("rotation", "neck_pose", "translation"))
    return (axis_angle_to_matrix(root) @ axis_angle_to_matrix(neck))[:, 2], place


def _identity(
    arrays: dict[str, np.ndarray], path: Path, identities: list[tuple[Tensor, np.ndarray | None]]
) -> int:
    """Which of the identities a file has; a new one is added to them."""
    shape, offset = _vector(arrays, "shape", path), arrays.get("static_offset")
    if not len(shape):
        raise UserError(f"{path}: 'shape' is empty; {ADVICE}")
    if offset is not None:
        offset = offset[0] if offset.ndim == 3 and len(offset) == 1 else offset
        offset = checked(offset, (-1, 3), "static_offset", path).numpy()
        offset = offset if np.abs(offset).max(initial=0) > 0 else None
    for number, (known, known_offset) in enumerate(identities):
        if known.shape != shape.shape:
            raise UserError(f"{path}: 'shape' has {len(shape)} values, other files {len(known)}; {ADVICE}")
        sizes = {len(o) for o in (offset, known_offset) if o is not None}
        if len(sizes) > 1:
            raise UserError(f"{path}: 'static_offset' is of another size than in other files; {ADVICE}")
        apart = 1000 * _farthest_apart(offset, known_offset)
        if (known - shape).abs().max() <= SAME and apart <= SAME:
            return number
    if len(identities) == MOST_IDENTITIES:
        raise UserError(
            f"{path}: 'shape' or 'static_offset' changes from frame to frame, which no avatar has; track "
            "with one identity for all frames"
        )
    identities.append((shape, offset))
    return len(identities) - 1


def _farthest_apart(one: np.ndarray | None, other: np.ndarray | None) -> float:
    """Metres along an axis between two static offsets; None is no offset."""
    between = (np.zeros(3) if one is None else one) - (np.zeros(3) if other is None else other)
    return float(np.abs(between).max(initial=0))


def _with_identities(models: list[FlameHead], shapes: list[Tensor]) -> tuple[HeadModelAsset, float]:
    """The first head with an expression for each other identity, and the farthest that one moves, metres."""
    asset = models[0].asset
    rest = []
    for model, shape in zip(models, shapes, strict=True):
        weights, own, origin = shape.numpy(), model.asset, model.origin.numpy()
        vertices = own.template_vertices + np.tensordot(weights, own.identity_basis, 1) + origin
        joints = own.template_joints + np.tensordot(weights, own.joint_identity_basis, 1) + origin
        rest.append((vertices, joints))
    vertices, joints = (np.stack([r[k] - rest[0][k] for r in rest[1:]]).astype(np.float32) for k in (0, 1))
    assert asset.joint_expression_basis is not None
    extended = replace(
        asset,
        # FLAME's own file no longer holds all expressions.
        name="flame_identities",
        expression_basis=np.concatenate([asset.expression_basis, vertices]),
        joint_expression_basis=np.concatenate([asset.joint_expression_basis, joints]),
        expression_names=[*asset.expression_names, *(f"identity_{i + 1:02d}" for i in range(len(vertices)))],
        canonical_expression=np.append(asset.canonical_expression, np.zeros(len(vertices), np.float32)),
    )
    return extended, float(np.linalg.norm(vertices, axis=2).max())


def _vector(arrays: dict[str, np.ndarray], name: str, path: Path, width: int = -1) -> Tensor:
    if name not in arrays:
        raise UserError(f"{path}: has no {name!r}; {ADVICE}")
    values = checked(arrays[name].reshape(-1), (-1,), name, path)
    if width not in (-1, len(values)):
        raise UserError(f"{path}: {name!r} has {len(values)} values, expected {width}; {ADVICE}")
    return radians(values, name, path) if name in ANGLES else values
