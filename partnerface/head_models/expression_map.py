"""ExpressionMap: the expressions of one head model as those of another, by what they do to the skin.

The mean head of the source is laid over that of the target by a similarity of their landmarks, and then bent
so that the landmarks meet. Each point of the target's face takes the motion of the closest source point.
Expressions of the target are those whose motion is nearest to it, by least squares. Lids that close are to
close there too, however far apart they are at rest: the openings of the eyes count beside the skin.
"""

from __future__ import annotations

import copy
import hashlib
import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor
from torch.nn import functional

from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays, shape_fault, write_arrays
from partnerface.files.downloads import cache_folder
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parts import head_parts, landmark_points
from partnerface.head_models.landmark_geometry import MAX_SPREAD_MM
from partnerface.head_models.landmark_store import require_landmarks
from partnerface.head_models.similarity import similarity_alignment
from partnerface.meshes.normals import SurfacePoints, spread_points, thin_points, vertex_normals

MAP_VERSION = 1
"""Raise it when the same two head models give another map: those on disk are then not used."""
ELSEWHERE = ("scalp", "ears", "neck", "torso")
TARGET_SPACING_M, SOURCE_SPACING_M = 0.003, 0.0015
NORMAL_REACH_M = 0.01
"""Distance that a point is away whose normal is a unit vector off: upper and lower lip lie close together."""
BEND_REACH_M = 0.012
"""Standard deviation of the weights by which landmarks bend the surface around them."""
FEATURE_WEIGHT = 3.0
"""How much more a point of eyes or mouth counts."""
LIDS_WEIGHT = 1.0
"""What the opening of each eye counts beside all of the skin."""
LID_OPENINGS = torch.tensor([[(386, 374), (385, 380), (387, 373)], [(159, 145), (158, 153), (160, 144)]])
"""Landmarks of the upper and the lower lid, pairs of the left and the right eye."""
EFFORT_M = 1e-4
"""Motion, root mean square, that an expression at its greatest must explain to be worth using."""
JAW_STEP = 0.2
"""Radians over which the motion of a jaw joint is taken to be linear."""
JAW_LIMITS = (0.6, 0.2, 0.2)
"""Greatest rotations of a jaw joint about each axis, radians."""
SWEEPS = 60


def num_controls(head_model: HeadModel) -> int:
    """Expression coefficients, and three angles of the jaw where a joint opens the mouth."""
    return head_model.num_expression + (0 if head_model.jaw_joint is None else 3)


@dataclass
class ExpressionMap:
    """Least-squares problem that carries Cs controls of a source over to Ct of a target.

    Controls are expression coefficients, followed by the rotation vector of the jaw, radians, in head models
    that open the mouth by a joint.

    Attributes:
        source_gram: ``[Cs, Cs]`` products of the motions of unit controls over the face, square metres.
        cross: ``[Ct, Cs]`` those of target and source.
        target_gram: ``[Ct, Ct]`` those of the target.
        opening_cross: ``[Ct, Cs]`` products of the changes of the eyes' openings.
        opening_gram: ``[Ct, Ct]``.
        low: ``[Ct]`` least control of the target.
        high: ``[Ct]`` greatest.
        rotation: ``[3, 3]`` and
        scale: ``[]`` and
        offset: ``[3]`` of the similarity that lays the source's rest space over the target's,
            ``scale * rotation @ x + offset``.
    """

    source_gram: Tensor
    cross: Tensor
    target_gram: Tensor
    opening_cross: Tensor
    opening_gram: Tensor
    low: Tensor
    high: Tensor
    rotation: Tensor
    scale: Tensor
    offset: Tensor

    def carry(self, controls: Tensor) -> Tensor:
        """``[T, Ct]`` controls of the target, within their limits, for ``[T, Cs]`` of the source.

        Coordinate descent on the quadratic problem from its clamped free solution; where no limit is met the
        result is linear in ``controls``.
        """
        effort = EFFORT_M / torch.maximum(self.low.abs(), self.high)
        normal = self.target_gram + self.opening_gram + torch.diag(effort.square())
        wanted = controls.double() @ (self.cross + self.opening_cross).T
        found = torch.linalg.solve(normal, wanted.T).T.clamp(self.low, self.high)
        for _ in range(SWEEPS):
            before = found.clone()
            for c in range(len(normal)):
                slope = wanted[:, c] - found @ normal[:, c]
                found[:, c] = (found[:, c] + slope / normal[c, c]).clamp(self.low[c], self.high[c])
            if (found - before).abs().max() < 1e-4:
                break
        return found.to(controls)

    def error_mm(self, source: Tensor, target: Tensor) -> tuple[float, float]:
        """Motion that is lost, and all motion, root mean squares over face and frames, millimetres.

        ``source`` ``[T, Cs]`` are controls and ``target`` ``[T, Ct]`` what they were carried to.
        """
        source, target = source.double(), target.double()
        whole = ((source @ self.source_gram) * source).sum(1)
        fitted = ((target @ self.target_gram) * target).sum(1)
        lost = whole - 2 * ((target @ self.cross) * source).sum(1) + fitted
        return tuple(1e3 * float(value.clamp_min(0).mean().sqrt()) for value in (lost, whole))


def expression_map(source: HeadModel, target: HeadModel) -> ExpressionMap:
    """The map between two head models: from the cache, or fitted (seconds) and kept there.

    Raises:
        UserError: one of them has no landmark embedding.
    """
    for head_model in (source, target):
        require_landmarks(head_model.asset, "its expressions cannot be compared with another head's")
    path = cache_folder() / "expression_maps" / f"{_key(source, target)}.npz"
    sizes = {"S": num_controls(source), "T": num_controls(target)}
    if path.is_file():
        try:
            arrays = read_arrays(path, _SHAPES)
        except UserError:
            arrays = {}
        whole = arrays.keys() == _SHAPES.keys() and shape_fault(arrays, _SHAPES, sizes) is None
        if whole and all(array.dtype == np.float64 and np.isfinite(array).all() for array in arrays.values()):
            return ExpressionMap(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    found = fit_expression_map(*(copy.deepcopy(head_model).cpu() for head_model in (source, target)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, {field.name: getattr(found, field.name).numpy() for field in fields(found)})
    return found


_SHAPES = {
    "source_gram": "SS",
    "cross": "TS",
    "target_gram": "TT",
    "opening_cross": "TS",
    "opening_gram": "TT",
    "low": "T",
    "high": "T",
    "rotation": "33",
    "scale": "",
    "offset": "3",
}


def _key(source: HeadModel, target: HeadModel) -> str:
    digest = hashlib.sha256(f"{MAP_VERSION}".encode())
    for head_model in (source, target):
        asset = head_model.asset
        digest.update(asset.checksum().encode())
        digest.update(np.ascontiguousarray(asset.landmark_faces).tobytes())
        digest.update(np.ascontiguousarray(asset.landmark_barycentric).tobytes())
    return f"{source.asset.name}_{target.asset.name}_{digest.hexdigest()[:16]}"


@torch.no_grad()
def fit_expression_map(source: HeadModel, target: HeadModel) -> ExpressionMap:
    """Fit the map on corresponding points of the two mean faces."""
    known = (source.asset.landmark_spread <= MAX_SPREAD_MM) & (target.asset.landmark_spread <= MAX_SPREAD_MM)
    ours, theirs = (
        landmark_points(head_model, head_model.template_vertices)[torch.as_tensor(known)]
        for head_model in (target, source)
    )
    rotation, scale, offset = (
        value[0] for value in similarity_alignment(theirs.double(), ours[None].double())
    )
    points = _face_points(target, TARGET_SPACING_M)
    candidates = _face_points(source, SOURCE_SPACING_M)
    places = scale.float() * candidates.of(source.template_vertices) @ rotation.float().T + offset.float()
    aligned = scale.float() * theirs @ rotation.float().T + offset.float()
    places = places + _bend(places, aligned, ours - aligned)
    nearest = _nearest(
        (points.of(target.template_vertices), _normals(target, points)),
        (places, _normals(source, candidates) @ rotation.float().T),
    )
    matched = SurfacePoints(candidates.corners[nearest], candidates.barycentric[nearest])
    parts = head_parts(target).weights
    weight = 1 + (FEATURE_WEIGHT - 1) * points.of(torch.maximum(parts["eyes"], parts["mouth"])[:, None])
    weight = (weight / weight.sum()).double().sqrt()
    own = (weight * _motions(target, points)).flatten(1)
    other = (weight * (scale * (_motions(source, matched) @ rotation.T))).flatten(1)
    own_openings, other_openings = _openings(source, target)
    low, high = (float(value) for value in target.asset.expression_range)
    limits = torch.tensor([(low, high)] * target.num_expression).reshape(-1, 2)
    if target.jaw_joint is not None:
        limits = torch.cat([limits, torch.tensor([(-value, value) for value in JAW_LIMITS])])
    return ExpressionMap(
        source_gram=other @ other.T,
        cross=own @ other.T,
        target_gram=own @ own.T,
        opening_cross=own_openings @ other_openings.T,
        opening_gram=own_openings @ own_openings.T,
        low=limits[:, 0].double(),
        high=limits[:, 1].double(),
        rotation=rotation,
        scale=scale,
        offset=offset,
    )


def _openings(source: HeadModel, target: HeadModel) -> tuple[Tensor, Tensor]:
    """``[Ct, 2]`` and ``[Cs, 2]`` how a unit of each control opens both eyes, weighted.

    Those of the source are scaled as if its eyes were as far open at rest as the target's.
    """
    gaps, changes = [], []
    for head_model in (target, source):
        corners = head_model.faces[torch.as_tensor(head_model.asset.landmark_faces.astype("int64"))]
        points = SurfacePoints(corners, torch.as_tensor(head_model.asset.landmark_barycentric).float())
        known = torch.as_tensor(head_model.asset.landmark_spread <= MAX_SPREAD_MM)[LID_OPENINGS].all(2)
        share = known / known.sum(1, keepdim=True).clamp_min(1)
        across = points.of(head_model.template_vertices)[LID_OPENINGS].diff(dim=2)[:, :, 0]
        gap = across.norm(dim=-1)
        motion = _motions(head_model, points)[:, LID_OPENINGS].diff(dim=3)[:, :, :, 0]
        opened = (motion * (across / gap.clamp_min(1e-6)[..., None])).sum(-1)
        changes.append((share * opened).sum(-1))
        gaps.append((share * gap).sum(1).double())
        # Landmarks may lie beside the edges of the lids; a blink is certain to close them.
        for number, name in enumerate(head_model.asset.expression_names):
            if name.startswith("eyeBlink"):
                closed = -changes[-1][number]
                gaps[-1] = torch.where(closed > 0.5 * gaps[-1], closed, gaps[-1])
    weight = math.sqrt(LIDS_WEIGHT)
    return weight * changes[0], weight * changes[1] * gaps[0] / gaps[1].clamp_min(1e-6)


def _face_points(head_model: HeadModel, spacing: float) -> SurfacePoints:
    """Points on the skin of the face, lips and lids too."""
    weights = head_parts(head_model).weights
    elsewhere = torch.stack([weights[name] for name in ELSEWHERE]).amax(0)
    on_face = (elsewhere < 0.3) & (head_model.head_weights() > 0.9)
    skin = head_model.faces[head_model.part_faces("skin")]
    points = spread_points(head_model.template_vertices, skin[on_face[skin].all(1)], spacing)
    return thin_points(points, head_model.template_vertices, spacing)


def _normals(head_model: HeadModel, points: SurfacePoints) -> Tensor:
    skin = head_model.faces[head_model.part_faces("skin")]
    return functional.normalize(points.of(vertex_normals(head_model.template_vertices, skin)), dim=-1)


def _bend(places: Tensor, landmarks: Tensor, moved: Tensor) -> Tensor:
    """``[Q, 3]`` displacements of places ``[Q, 3]``: those of the landmarks ``[K, 3]`` around, averaged."""
    shares = torch.softmax(-0.5 * (torch.cdist(places, landmarks) / BEND_REACH_M).square(), 1)
    return shares @ moved


def _nearest(points: tuple[Tensor, Tensor], candidates: tuple[Tensor, Tensor]) -> Tensor:
    """``[N]`` closest candidate of each point by place and normal, ``[N, 3]`` and ``[Q, 3]``."""
    ours, theirs = (torch.cat([place, NORMAL_REACH_M * normal], 1) for place, normal in (points, candidates))
    return torch.cat([torch.cdist(some, theirs).argmin(1) for some in ours.split(500)])


def _motions(head_model: HeadModel, points: SurfacePoints) -> Tensor:
    """``[C, N, 3]`` motion of points by a unit of each control, in double precision."""
    motions = [points.of(basis) for basis in head_model.expression_basis]
    if (jaw := head_model.jaw_joint) is not None:
        turned = head_model.neutral_parameters(3)
        turned.joint_rotations[:, jaw] = axis_angle_to_matrix(JAW_STEP * torch.eye(3))
        moved = head_model.rest_space_vertices(turned) - head_model.template_vertices
        motions += [points.of(frame) / JAW_STEP for frame in moved]
    return torch.stack(motions).double()
