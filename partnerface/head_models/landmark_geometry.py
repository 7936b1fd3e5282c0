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

# fmt: off
MIRRORED = (
    0, 1, 2, 248, 4, 5, 6, 249, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 250, 251, 252, 253, 254, 255,
    256, 257, 258, 259, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269, 270, 271, 272, 273, 274, 275, 276,
    277, 278, 279, 280, 281, 282, 283, 284, 285, 286, 287, 288, 289, 290, 291, 292, 293, 294, 295, 296, 297,
    298, 299, 300, 301, 302, 303, 304, 305, 306, 307, 308, 309, 310, 311, 312, 313, 314, 315, 316, 317, 318,
    319, 320, 321, 322, 323, 94, 324, 325, 326, 327, 328, 329, 330, 331, 332, 333, 334, 335, 336, 337, 338,
    339, 340, 341, 342, 343, 344, 345, 346, 347, 348, 349, 350, 351, 352, 353, 354, 355, 356, 357, 358, 359,
    360, 361, 362, 363, 364, 365, 366, 367, 368, 369, 370, 371, 372, 373, 374, 375, 376, 377, 378, 379, 151,
    152, 380, 381, 382, 383, 384, 385, 386, 387, 388, 389, 390, 164, 391, 392, 393, 168, 394, 395, 396, 397,
    398, 399, 175, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417,
    418, 195, 419, 197, 420, 199, 200, 421, 422, 423, 424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 434,
    435, 436, 437, 438, 439, 440, 441, 442, 443, 444, 445, 446, 447, 448, 449, 450, 451, 452, 453, 454, 455,
    456, 457, 458, 459, 460, 461, 462, 463, 464, 465, 466, 467, 3, 7, 20, 21, 22, 23, 24, 25, 26, 27, 28,
    29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54,
    55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80,
    81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105,
    106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126,
    127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146, 147,
    148, 149, 150, 153, 154, 155, 156, 157, 158, 159, 160, 161, 162, 163, 165, 166, 167, 169, 170, 171, 172,
    173, 174, 176, 177, 178, 179, 180, 181, 182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193, 194,
    196, 198, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 213, 214, 215, 216, 217, 218, 219,
    220, 221, 222, 223, 224, 225, 226, 227, 228, 229, 230, 231, 232, 233, 234, 235, 236, 237, 238, 239, 240,
    241, 242, 243, 244, 245, 246, 247,
)
# fmt: on
"""``[468]`` the landmark that each is in a mirror, those of the skin; that of the midline is its own."""

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
