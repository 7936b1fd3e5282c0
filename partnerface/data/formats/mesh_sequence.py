"""Datasets that hold a posed mesh for each frame and no head model: one is made of the meshes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from partnerface.data.formats.foreign_values import ADVICE, LARGEST_VALUE
from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_asset import HeadModelAsset
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.runs.progress import shown_progress

LARGEST_MESH_BYTES = 50_000_000
MOST_COMPONENTS = 256
EXACT_M = 4e-6
"""Components are added until no vertex of any frame is farther off along an axis, or there are too many."""
WRONG_MM = 1.0
"""Meshes that the components hold no better are hardly all of one head."""
BASIS_FRAMES = 300
"""Frames, those that the basis holds worst, of which principal components are taken at a time."""
FRAMES_AT_ONCE = 200
ROUNDS = 3
NECK_SHARE, TORSO_SHARE = 0.25, 0.12
"""Height, as a share of the mesh's, at which the neck turns, and below which the mesh counts as torso."""
JOINTS = ("root", "neck", "jaw", "eye_left", "eye_right")


@dataclass(frozen=True)
class Mesh:
    """Attributes:
    vertices: ``[V, 3]`` float32.
    faces: ``[Fc, 3]`` int32.
    """

    vertices: np.ndarray
    faces: np.ndarray


def read_obj(path: Path, with_faces: bool = True) -> Mesh:
    """Vertices and triangles of a Wavefront OBJ file; all else in it is left out.

    Raises:
        UserError: it is missing, too large, holds no mesh of triangles, or a number that is not finite.
    """
    try:
        if (size := path.stat().st_size) > LARGEST_MESH_BYTES:
            raise ValueError(f"{size / 1e6:,.0f} MB, {LARGEST_MESH_BYTES / 1e6:g} MB at most")
        lines = path.read_bytes().split(b"\n")
        places = [line for line in lines if line.startswith(b"v ")]
        vertices = _numbers(places) if places else np.empty((0, 3))
        corners = [
            [corner.partition(b"/")[0] for corner in line.split()[1:]]
            for line in (lines if with_faces else ())
            if line.startswith(b"f ")
        ]
        if any(len(face) != 3 for face in corners):
            raise ValueError("a face has not three corners")
        faces = np.array(corners, dtype=np.int64).reshape(len(corners), 3) - 1
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {ADVICE}") from error
    except (ValueError, OverflowError) as error:
        raise UserError(f"{path}: is no mesh of triangles ({error}); {ADVICE}") from error
    if not len(vertices) or not (np.abs(vertices) < LARGEST_VALUE).all():
        raise UserError(f"{path}: has no vertices, or some that are not finite; {ADVICE}")
    if faces.size and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise UserError(f"{path}: a face names a vertex that does not exist; {ADVICE}")
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32))


def _numbers(places: list[bytes]) -> np.ndarray:
    try:
        return np.loadtxt(places, usecols=(1, 2, 3), ndmin=2, comments=None, encoding="latin1")
    except ValueError as error:
        raise ValueError("a vertex has fewer than three numbers: was it cut short?") from error


def write_obj(path: Path, mesh: Mesh) -> None:
    """Write a Wavefront OBJ file, places to a tenth of a micrometre."""
    lines = [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in mesh.vertices.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (mesh.faces + 1).tolist()]
    path.write_text("\n".join(lines) + "\n")


def read_meshes(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Vertices ``[T, V, 3]`` of T meshes and the faces of the first ``[Fc, 3]``.

    Raises:
        UserError: see `read_obj`; or a mesh has another number of vertices or faces, all vertices in one
            place, or an end that was cut off.
    """
    first = read_obj(paths[0])
    if not len(first.faces):
        raise UserError(f"{paths[0]}: has no triangles; {ADVICE}")
    vertices = np.empty((len(paths), *first.vertices.shape), np.float32)
    whole = _end(paths[0])
    with shown_progress("Reading meshes", len(paths)) as advance:
        for frame, path in enumerate(paths):
            mesh = read_obj(path, with_faces=False)
            if (count := len(mesh.vertices)) != vertices.shape[1]:
                raise UserError(
                    f"{path}: has {count} vertices, {paths[0].name} {vertices.shape[1]}; {ADVICE}"
                )
            if not np.ptp(mesh.vertices, axis=0).any():
                raise UserError(f"{path}: all vertices lie in one place; {ADVICE}")
            if (end := _end(path)) != whole:
                (less, cut), (more, other) = sorted([(end, path), (whole, paths[0])])
                words = f"has {less[0]} triangles, {other.name} {more[0]}"
                words = words if less[0] < more[0] else f"ends within a line, {other.name} does not"
                raise UserError(f"{cut}: {words}; was it cut short? {ADVICE}")
            vertices[frame] = mesh.vertices
            advance()
    return vertices, first.faces


def _end(path: Path) -> tuple[int, bool]:
    """Number of faces, which come last in an OBJ file, and whether its last line has an end."""
    content = path.read_bytes()
    return content.count(b"\nf "), content.endswith(b"\n")


def head_of_meshes(
    vertices: np.ndarray,
    faces: np.ndarray,
    canonical: np.ndarray | None,
    train: list[int],
    guesses: list[str],
) -> tuple[HeadModel, HeadParameters]:
    """A head model whose expressions are the principal components of meshes, and its parameters.

    Every mesh is a rigid pose of ``canonical + expression``. The components are those of training frames;
    what test frames need beyond them comes last and is zero in training, so that no test frame shapes what
    is trained.

    Args:
        vertices: ``[T, V, 3]`` metres, y up, z out of the face.
        faces: ``[Fc, 3]``.
        canonical: ``[V, 3]`` the mesh at rest; by default the mean of the training meshes.
        train: the training frames.
        guesses: how far meshes lie from what the components hold is added here, in words, where that is more
            than `EXACT_M`.
    """
    rest = vertices[train].mean(0) if canonical is None else canonical
    low, high = rest.min(0), rest.max(0)
    height = high[1] - low[1]
    origin = np.array([rest[:, 0].mean(), low[1] + NECK_SHARE * height, rest[:, 2].mean()], np.float32)
    template = (rest - origin).astype(np.float32)
    rotation, translation = _rigid_poses(vertices.astype(np.float64), template.astype(np.float64), train)
    local = np.matmul(vertices - translation[:, None], rotation)
    offsets = (local - template).reshape(len(vertices), -1)
    basis = _components(offsets, train)
    expression = offsets @ basis.T
    others = sorted({*range(len(vertices))} - {*train})
    off = {
        name: 1000 * _farthest_off(offsets, expression, basis, frames)
        for name, frames in (("training", train), ("other", others))
        if frames
    }
    if max(off.values()) > 2000 * EXACT_M:
        words = f"{len(basis)} principal components of the meshes, which hold " + " and ".join(
            f"{name} meshes to {millimetres:.3g} mm" for name, millimetres in off.items()
        )
        doubt = "; are all of one head, their vertices in one order?" if max(off.values()) > WRONG_MM else ""
        guesses.append(words + doubt)
    # Coefficients of about one, as those of any 3DMM: limits elsewhere are in such units.
    # A floor for what training hardly shows, and test frames do.
    scale = np.maximum(expression[train].std(0), np.abs(expression[train]).max() / 10)
    scale = np.where(scale > 0, scale, 1)
    model = HeadModel(_asset(template, faces, (basis * scale[:, None]).reshape(len(basis), -1, 3)))
    parameters = HeadParameters.neutral(len(vertices), model.num_identity, model.num_expression, len(JOINTS))
    parameters.expression = torch.from_numpy((expression / scale).astype(np.float64))
    parameters.rotation, parameters.translation = torch.from_numpy(rotation), torch.from_numpy(translation)
    return model, parameters.to(torch.float64)


def _rigid_poses(
    vertices: np.ndarray, template: np.ndarray, train: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation ``[T, 3, 3]`` and translation ``[T, 3]`` from the template to each mesh, by what moves least.

    Umeyama's alignment, repeated with the half of the vertices that it leaves nearest in training frames.
    """
    kept = np.ones(len(template), bool)
    for _ in range(ROUNDS):
        chosen = template[kept]
        centre, centres = chosen.mean(0), vertices[:, kept].mean(1)
        covariance = np.einsum("tvi,vj->tij", vertices[:, kept] - centres[:, None], chosen - centre)
        u, _, vt = np.linalg.svd(covariance)
        u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
        rotation = u @ vt
        translation = centres - rotation @ centre
        moved = template @ rotation.swapaxes(1, 2) + translation[:, None]
        left = np.square(moved - vertices)[train].sum(2).mean(0)
        kept = left <= np.median(left)
    return rotation, translation


def _components(offsets: np.ndarray, train: list[int]) -> np.ndarray:
    """Orthonormal rows ``[E, 3V]`` that hold every frame's offsets to `EXACT_M`, training frames' first."""
    # In doubles: rows of single precision are not orthogonal enough to leave out micrometres.
    basis = np.zeros((0, offsets.shape[1]))
    others = [i for i in range(len(offsets)) if i not in set(train)]
    for frames in (train, others):
        for _ in range(ROUNDS):
            left = offsets[frames] - (offsets[frames] @ basis.T) @ basis
            if not left.size or np.abs(left).max() <= EXACT_M or len(basis) >= MOST_COMPONENTS:
                break
            # Of the frames that the basis holds worst, so that rare ones are not lost among the many.
            worst = np.argsort(-np.abs(left).max(1), kind="stable")[:BASIS_FRAMES]
            _, values, rows = np.linalg.svd(left[np.sort(worst)], full_matrices=False)
            count = int((values > EXACT_M / 4).sum())
            basis = np.concatenate([basis, rows[: min(count, MOST_COMPONENTS - len(basis))]])
    # A head that never moves has one component, which is zero.
    return basis if len(basis) else np.zeros((1, offsets.shape[1]))


def _farthest_off(offsets: np.ndarray, expression: np.ndarray, basis: np.ndarray, frames: list[int]) -> float:
    """Metres by which a vertex of some frames lies off its place in the basis; 0 for no frames."""
    parts = [frames[start : start + FRAMES_AT_ONCE] for start in range(0, len(frames), FRAMES_AT_ONCE)]
    left = ((offsets[part] - expression[part] @ basis).reshape(len(part), -1, 3) for part in parts)
    return max((float(np.linalg.norm(values, axis=2).max()) for values in left), default=0.0)


def _asset(template: np.ndarray, faces: np.ndarray, expression: np.ndarray) -> HeadModelAsset:
    height = (template[:, 1] - template[:, 1].min()) / max(float(np.ptp(template[:, 1])), 1e-9)
    weights = np.zeros((len(template), len(JOINTS)), np.float32)
    weights[height < TORSO_SHARE, 0] = weights[height >= TORSO_SHARE, 1] = 1
    joints = np.zeros((len(JOINTS), 3), np.float32)
    joints[0, 1] = template[:, 1].min()
    none = np.zeros((0, 3), np.float32)
    count = len(expression)
    return HeadModelAsset(
        name="meshes",
        version="1",
        template_vertices=template,
        identity_basis=np.zeros((1, *template.shape), np.float32),
        expression_basis=expression.astype(np.float32),
        template_joints=joints,
        joint_identity_basis=np.zeros((1, *joints.shape), np.float32),
        parents=np.array([-1, 0, 1, 1, 1]),
        skinning_weights=weights,
        faces=faces,
        uv=np.zeros((1, 2), np.float32),
        uv_faces=np.zeros_like(faces),
        face_parts=np.zeros(len(faces), np.int8),
        part_names=["skin"],
        joint_names=list(JOINTS),
        expression_names=[f"component_{i:03d}" for i in range(count)],
        expression_range=np.array([-10, 10], np.float32),
        canonical_expression=np.zeros(count, np.float32),
        landmark_faces=none[:, 0].astype(np.int32),
        landmark_barycentric=none,
        landmark_spread=none[:, 0],
    )


def mesh_vertices(head_model: HeadModel, head: HeadParameters, frame: int) -> Tensor:
    """``[V, 3]`` vertices of one frame in the head's own axes, its rigid pose undone."""
    with torch.no_grad():
        posed = head_model(head.select([frame])).vertices[0]
    return (posed - head.translation[frame]) @ head.rotation[frame]
