"""MediaPipe's landmarks on a head model: their numbers, and a linear model of those few hundred points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from partnerface.head_models.head_model import HeadModel

FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""A closed ring."""
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
"""A closed ring."""
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
"""A closed ring."""
LIPS = OUTER_LIPS + INNER_LIPS
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
"""A closed ring."""
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
"""A closed ring."""
EYES = RIGHT_EYE + LEFT_EYE
BROWS = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
NOSE = (1, 2, 98, 327, 4, 5, 6, 168, 197, 195, 48, 278, 64, 294, 219, 439)
"""Ridge, tip and wings."""
WHOLE_NOSE = (1, 2, 4, 5, 6, 19, 48, 64, 94, 97, 98, 168, 195, 197, 278, 294, 326, 327)
"""Ridge, tip, wings and nostrils."""
CHEEKS = (36, 50, 101, 117, 118, 123, 187, 205, 207, 266, 280, 330, 346, 347, 352, 411, 425, 427)
FOREHEAD_RING = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(284, 332, 297, 338, 10, 109, 67, 103, 54),
)
"""A ring round the forehead: along the upper edge of the brows, back along the hairline."""
LEFT_IRIS, RIGHT_IRIS = 473, 468
FOREHEAD_TOP, CHIN = 10, 152
"""The ends of the face's midline."""
TEMPLES, EAR_FRONTS = (127, 356), (234, 454)
"""Right and left."""
OUTER_EYE_CORNERS = (33, 263)
OPENINGS = (
    *((159, 145), (386, 374), (158, 153), (385, 380), (160, 144), (387, 373)),
    *((13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (61, 291)),
)
"""Pairs whose distance is the opening of a lid or of the lips."""
LID_PAIRS = (((263, 362), OPENINGS[1:6:2]), ((33, 133), OPENINGS[0:6:2]))
"""Corners of the left and the right eye, and the pairs of `OPENINGS` on its lids."""
LIP_PAIRS = OPENINGS[6:9]
"""The pairs of `OPENINGS` in the middle of the inner lips."""

MIDLINE = (0, 1, 2, 4, 5, 6, *range(8, 20), 94, 151, 152, 164, 168, 175, 195, 197, 199, 200)
_RIGHT_SIDE = [k for k in range(248) if k not in MIDLINE]
MIRRORED = (*(248 + _RIGHT_SIDE.index(k) if k in _RIGHT_SIDE else k for k in range(248)), *_RIGHT_SIDE)
"""``[468]`` the landmark that each is in a mirror, those of the skin: the left side's, from 248 on, come in
the order of the right side's; a landmark of the midline is its own."""

REGIONS = {"lips": LIPS, "eyes": EYES, "brows": BROWS, "nose": NOSE, "oval": FACE_OVAL}


MAX_SPREAD_MM = 3.0
"""Landmarks whose place on the head model scatters more are not used."""

OVAL_WEIGHT, LIPS_AND_EYES_WEIGHT = 0.6, 3.0


@dataclass
class JawMotion:
    """How N points turn with the jaw joint of a head model that opens its mouth by it.

    Attributes:
        weights: ``[N]`` their skinning weight of the jaw.
        joint: the jaw joint as a point (N = 1) that depends on identity and expression.
        correctives: ``[9, N, 3]`` offsets by the jaw's rotation matrix minus identity, or None.
    """

    weights: Tensor
    joint: LinearPoints
    correctives: Tensor | None


@dataclass
class LinearPoints:
    """N points of a head model as a linear function of identity and expression, in head rest space.

    Attributes:
        template: ``[N, 3]`` metres.
        identity_basis: ``[I, N, 3]``.
        expression_basis: ``[E, N, 3]``.
        jaw: how they turn with the jaw, None where no joint opens the mouth.
    """

    template: Tensor
    identity_basis: Tensor
    expression_basis: Tensor
    jaw: JawMotion | None = None

    def positions(self, identity: Tensor, expression: Tensor, jaw: Tensor | None = None) -> Tensor:
        """``[F, N, 3]`` for an identity ``[<=I]``, expressions ``[F, E]`` and jaw rotations ``[F, 3, 3]``.

        Without jaw rotations the jaw is at rest; on points that do not turn with it they are ignored.
        """
        neutral = self.template + torch.tensordot(identity, self.identity_basis[: len(identity)], 1)
        flat = expression @ self.expression_basis.flatten(1)
        rest = neutral + flat.unflatten(1, (-1, 3))
        if jaw is None or self.jaw is None:
            return rest
        turn = jaw - torch.eye(3).to(jaw)
        if self.jaw.correctives is not None:
            rest = rest + torch.tensordot(turn.flatten(1), self.jaw.correctives, 1)
        # Linear blend skinning of a chain in which the jaw alone turns.
        arm = rest - self.jaw.joint.positions(identity, expression)
        return rest + self.jaw.weights[:, None] * (arm @ turn.mT)

    def select(self, index: Tensor) -> LinearPoints:
        """The points at ``index``."""
        jaw = self.jaw
        if jaw is not None:
            correctives = None if jaw.correctives is None else jaw.correctives[:, index]
            jaw = JawMotion(jaw.weights[index], jaw.joint, correctives)
        return LinearPoints(
            self.template[index], self.identity_basis[:, index], self.expression_basis[:, index], jaw
        )


@dataclass
class LandmarkGeometry:
    """Landmarks whose place on the head model is well known.

    Attributes:
        numbers: ``[K]`` the detector's landmark numbers, increasing.
        points: their positions on the head.
        weights: ``[K]`` weights in the fit, sum to one.
    """

    numbers: np.ndarray
    points: LinearPoints
    weights: Tensor

    def rows(self, numbers: tuple[int, ...]) -> list[int]:
        """Rows of the given landmark numbers, in their order; numbers that are not here are left out."""
        row = {int(number): i for i, number in enumerate(self.numbers)}
        return [row[number] for number in numbers if number in row]


def vertex_points(head_model: HeadModel, vertices: Tensor) -> LinearPoints:
    """Vertices of the head model, joints at rest."""
    return _points(head_model, lambda attributes: attributes[..., vertices, :])


def _points(head_model: HeadModel, at: Callable[[Tensor], Tensor]) -> LinearPoints:
    """Points whose attributes ``at`` gives from those of all vertices, ``[..., V, C]``."""
    jaw, number, rest = None, head_model.jaw_joint, at(head_model.template_vertices)
    if number is not None:
        correctives = head_model.pose_correctives
        if correctives is not None:
            correctives = at(correctives[9 * (number - 1) : 9 * number])
        moves = head_model.joint_expression_basis
        if moves is None:
            moves = head_model.template_joints.new_zeros(head_model.num_expression, head_model.num_joints, 3)
        joint = LinearPoints(
            head_model.template_joints[[number]].to(rest),
            head_model.joint_identity_basis[:, [number]].to(rest),
            moves[:, [number]].to(rest),
        )
        jaw = JawMotion(at(head_model.skinning_weights[:, [number]])[:, 0], joint, correctives)
    return LinearPoints(
        rest,
        at(head_model.identity_basis),
        at(head_model.expression_basis),
        jaw,
    )


def landmark_geometry(head_model: HeadModel) -> LandmarkGeometry:
    """Landmarks of a head model's embedding whose spread is 3 mm or less, on the CPU.

    Weights fall with the spread; lips and eyes count three times, the face oval, which slides over
    the cheek as the head turns, 0.6 times.
    """
    asset = head_model.asset
    numbers = np.flatnonzero(asset.landmark_spread <= MAX_SPREAD_MM)
    corners = head_model.faces.cpu()[torch.as_tensor(asset.landmark_faces[numbers].astype(np.int64))]
    share = torch.as_tensor(asset.landmark_barycentric[numbers], dtype=torch.float32)[..., None]

    def interpolate(attributes: Tensor) -> Tensor:
        return (attributes.cpu()[..., corners, :] * share).sum(-2)

    points = _points(head_model, interpolate)
    weights = 1 / (1 + asset.landmark_spread[numbers] ** 2 / 2)
    weights[np.isin(numbers, FACE_OVAL)] *= OVAL_WEIGHT
    weights[np.isin(numbers, LIPS + EYES)] *= LIPS_AND_EYES_WEIGHT
    return LandmarkGeometry(numbers, points, torch.as_tensor(weights / weights.sum(), dtype=torch.float32))
