"""HeadParts: named soft regions of a head model, found from its actions, landmarks and joints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.landmark_geometry import (
    BROWS,
    CHEEKS,
    CHIN,
    EAR_FRONTS,
    EYES,
    FOREHEAD_TOP,
    LIPS,
    MAX_SPREAD_MM,
    TEMPLES,
    WHOLE_NOSE,
)
from partnerface.head_models.landmark_store import require_landmarks


@dataclass(frozen=True)
class _FacePart:
    """Which vertices make a part of the face.

    Attributes:
        landmarks: MediaPipe's numbers; vertices near one of them belong to the part.
        reach: how near, in distances between the eyes.
        actions: vertices that one of these expressions moves belong to it up to twice as far away.
        surfaces: surfaces of the mesh that belong to it whole.
        around: surfaces whose vertices count as landmarks.
    """

    landmarks: tuple[int, ...]
    reach: float
    actions: tuple[str, ...] = ()
    surfaces: tuple[str, ...] = ()
    around: tuple[str, ...] = ()


_FACE_PARTS = {
    "eyes": _FacePart(
        EYES,
        0.14,
        ("eyeBlinkLeft", "eyeBlinkRight"),
        surfaces=("eye_left", "eye_right", "lashes"),
        around=("eye_left", "eye_right"),
    ),
    "mouth": _FacePart(
        LIPS,
        0.16,
        ("mouthPucker", "mouthFunnel"),
        ("mouth_cavity", "teeth_upper", "teeth_lower", "tongue"),
    ),
    "brows": _FacePart(BROWS, 0.14, ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")),
    "nose": _FacePart(WHOLE_NOSE, 0.20, ("noseSneerLeft", "noseSneerRight")),
    "cheeks": _FacePart(CHEEKS, 0.22, ("cheekPuff", "cheekSquintLeft", "cheekSquintRight")),
}
PART_NAMES = (*_FACE_PARTS, "jaw", "scalp", "ears", "neck", "torso")


@dataclass
class HeadParts:
    """Soft regions of the surface. They overlap: a lip vertex is mouth and jaw.

    Attributes:
        weights: by name of `PART_NAMES`, ``[V]`` in [0, 1].
    """

    weights: dict[str, Tensor]

    def centre(self, name: str, vertices: Tensor) -> Tensor:
        """``[3]`` weighted mean of vertices ``[V, 3]``."""
        weight = self.weights[name]
        return (weight[:, None] * vertices).sum(0) / weight.sum().clamp_min(1e-9)


def head_parts(head_model: HeadModel, identity: Tensor | None = None) -> HeadParts:
    """Find the parts of a head model by its landmarks, joints and the vertices that its expressions move.

    Args:
        head_model: a model with a landmark embedding; of unnamed expressions the motion is not used.
        identity: ``[I]`` the identity to measure, the mean by default.

    Raises:
        UserError: the head model has no landmark embedding.
    """
    require_landmarks(head_model.asset, "its parts cannot be found")
    if identity is None:
        identity = head_model.template_vertices.new_zeros(head_model.num_identity)
    vertices = head_model.identity_vertices(identity)
    joints = head_model.identity_joints(identity)
    eyes = joints[[head_model.joint("eye_left"), head_model.joint("eye_right")]]
    unit = (eyes[0] - eyes[1]).norm()
    landmarks = landmark_points(head_model, vertices)
    inner = surface_vertices(head_model, *(n for part in _FACE_PARTS.values() for n in part.surfaces))
    weights = {}
    for name, part in _FACE_PARTS.items():
        weight = _face_part_weight(head_model, part, vertices, landmarks, unit) * ~inner
        weights[name] = weight.maximum(surface_vertices(head_model, *part.surfaces).to(vertices))
    weights["torso"] = head_model.skinning_weights[:, head_model.joint("root")].clone()
    weights["ears"] = _ear_weight(vertices, landmarks, unit) * ~inner * (1 - weights["torso"])
    weights["neck"] = _neck_weight(vertices, landmarks, unit) * ~inner * (1 - weights["torso"])
    head = (1 - weights["neck"]) * (1 - weights["torso"]) * ~inner
    # The scalp lies above and behind the plane through the upper forehead and the temples.
    temples = landmarks[list(TEMPLES)].mean(0)
    beyond = _plane_distance(vertices, landmarks[FOREHEAD_TOP], temples) / unit
    weights["scalp"] = _ramp(beyond, -0.05, 0.3) * head * (1 - weights["ears"])
    jaw = _action_motion(head_model, ("jawOpen",))
    if "jaw" in head_model.asset.joint_names:
        jaw = jaw.maximum(head_model.skinning_weights[:, head_model.joint("jaw")])
    weights["jaw"] = _ramp(jaw, 0.1, 0.7) * head
    return HeadParts({name: weights[name] for name in PART_NAMES})


def neck_share(head_model: HeadModel) -> Tensor:
    """``[V]`` in [0, 1]: how much of a vertex is neck or torso and not head.

    By skinning weights; where one joint turns neck and head, as in FLAME, by shape too, if the head model has
    a landmark embedding.
    """
    share = 1 - head_model.head_weights()
    if head_model.joint("neck") == head_model.joint("head") and len(head_model.asset.landmark_faces):
        share = share.maximum(head_parts(head_model).weights["neck"])
    return share


def landmark_points(head_model: HeadModel, vertices: Tensor) -> Tensor:
    """``[K, 3]`` the embedded landmarks on vertices ``[V, 3]``."""
    faces = head_model.faces[torch.as_tensor(head_model.asset.landmark_faces.astype("int64"))]
    barycentric = torch.as_tensor(head_model.asset.landmark_barycentric).to(vertices)
    return (vertices[faces] * barycentric[..., None]).sum(1)


def surface_vertices(head_model: HeadModel, *names: str) -> Tensor:
    """``[V]`` bool: the vertices of the named surfaces."""
    mask = torch.zeros(len(head_model.template_vertices), dtype=torch.bool, device=head_model.faces.device)
    mask[head_model.faces[head_model.part_faces(*names)].reshape(-1)] = True
    return mask


def _ramp(values: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """Smooth step from 0 at low to 1 at high."""
    t = ((values - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _face_part_weight(
    head_model: HeadModel, part: _FacePart, vertices: Tensor, landmarks: Tensor, unit: Tensor
) -> Tensor:
    spread = head_model.asset.landmark_spread
    found = [k for k in part.landmarks if spread[k] <= MAX_SPREAD_MM]
    anchors = torch.cat([landmarks[found], vertices[surface_vertices(head_model, *part.around)]])
    if not len(anchors):
        return torch.zeros_like(vertices[:, 0])
    distance = torch.cdist(vertices, anchors).amin(1) / unit
    near = 1 - _ramp(distance, part.reach, 1.8 * part.reach)
    if not (motion := _action_motion(head_model, part.actions)).any():
        return near
    around = 1 - _ramp(distance, 2 * part.reach, 3 * part.reach)
    return near.maximum(_ramp(motion, 0.2, 0.6) * around)


def _action_motion(head_model: HeadModel, actions: tuple[str, ...]) -> Tensor:
    """``[V]`` the largest motion under the named actions, each relative to its own maximum."""
    names = head_model.asset.expression_names
    motion = torch.zeros_like(head_model.template_vertices[:, 0])
    for action in actions:
        if action in names:
            moved = head_model.expression_basis[names.index(action)].norm(dim=1)
            motion = motion.maximum(moved / moved.max().clamp_min(1e-9))
    return motion


def _ear_weight(vertices: Tensor, landmarks: Tensor, unit: Tensor) -> Tensor:
    """Ears are what stands out sideways behind the cheeks, at the height of the nose."""
    weight = torch.zeros_like(vertices[:, 0])
    for front in EAR_FRONTS:
        side, start = landmarks[front, 0].sign(), landmarks[front]
        outward = side * (vertices[:, 0] - start[0]) / unit
        behind = (start[2] - vertices[:, 2]) / unit
        height = (vertices[:, 1] - start[1]) / unit + 0.15
        box = _ramp(outward, 0.0, 0.1) * (1 - _ramp(height.abs(), 0.45, 0.65))
        weight = weight.maximum(box * _ramp(behind, 0.05, 0.25) * (1 - _ramp(behind, 0.95, 1.15)))
    return weight


def _neck_weight(vertices: Tensor, landmarks: Tensor, unit: Tensor) -> Tensor:
    """Below the plane through the chin and the jaw's angles, and below the ear lobes."""
    angles = landmarks[list(EAR_FRONTS)].mean(0) - unit * unit.new_tensor([0.0, 0.55, 0.15])
    above = _plane_distance(vertices, landmarks[CHIN], angles) / unit
    low = (angles[1] - vertices[:, 1]) / unit
    return _ramp(-above, 0.05, 0.35) * _ramp(low, -0.1, 0.25)


def _plane_distance(points: Tensor, front: Tensor, back: Tensor) -> Tensor:
    """Distance above the plane that holds the x axis and the line from back to front."""
    along = torch.nn.functional.normalize((front - back)[1:], dim=0)
    return (points[:, 1:] - back[1:]) @ torch.stack([along[1], -along[0]])
