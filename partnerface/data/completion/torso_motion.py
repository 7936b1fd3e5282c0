"""The torso's motion: an affine map per frame, found by aligning the picture directly, and a pose in space.

Inverse-compositional Gauss-Newton (Baker and Matthews 2004): the reference's gradients serve every
frame. Steps of all frames are solved together with a prior towards no motion and a smooth path.
Shoulders that rise and turn stretch and shear the picture of a shirt: a similarity transform left a
collar three pixels off, and its residual was 2.5 to 3.5 dB larger.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import OPENGL_TO_OPENCV, Camera, image_pixels
from partnerface.head_models.head_parameters import HeadParameters

TORSO_SIZE = 96
ITERATIONS = 24
TORSO_FRAMES_AT_ONCE = 200
CHUNKS_KEPT = 10
"""Long clips do not fit in memory as floats; so many chunks of frames do, 0.3 GB, and are made once."""
NOISE = 0.1
"""Standard deviation of a pixel's mismatch that is no motion, colours in [0, 1].

A smaller one takes a collar that has moved by its own width for something else.
"""
PIXELS_PER_OBSERVATION = 12.0
"""Neighbouring pixels err together: this many count as one."""
MOTION_SIGMA = 0.05
"""Expected size of the motion in image widths."""
MIN_CONTRAST = 0.02
"""Change per pixel of a colour in [0, 1] below which a place says nothing about motion."""
ACCELERATION_SIGMA = 0.005
"""Expected second difference at 25 frames per second, image widths."""
PARAMETERS = 6
REFERENCE_INTERVAL_S = 1 / 25
"""Frame interval for which weights of second differences are stated, here and in the tracker's fit."""


@dataclass
class TorsoMotion:
    """Attributes:
    matrices: ``[T, 2, 3]`` from a frame's image coordinates to the reference's, both in [0, 1].
    reference: frame that is the reference torso image.
    mismatch_still: mean absolute difference of torso pixels to the reference without motion.
    mismatch: mean absolute difference of torso pixels to the reference after the motion is undone.
    """

    matrices: Tensor
    reference: int
    mismatch_still: float
    mismatch: float


def estimate_torso_motion(
    frames: np.ndarray,
    mattes: np.ndarray,
    torso: np.ndarray,
    reference: int,
    frame_weights: Tensor,
    times: Tensor,
) -> TorsoMotion:
    """Align the torso of every frame with a reference frame.

    Args:
        frames: ``[T, h, w, 3]`` uint8 small pictures, see `partnerface.files.images.shrink`.
        mattes: ``[T, h, w]`` uint8.
        torso: ``[h, w]`` bool, the torso's pixels in the reference.
        reference: index of the reference frame; its motion is exactly the identity.
        frame_weights: ``[T]``; frames of weight 0 are bridged.
        times: ``[T]`` seconds.
    """

    def pictures(chosen: slice) -> Tensor:
        # The matte is a channel of its own: shoulders show against any background.
        alpha = torch.as_tensor(mattes[chosen])[:, None].float() / 255
        images = torch.as_tensor(frames[chosen]).permute(0, 3, 1, 2).float() / 255 * alpha
        return _blurred(torch.cat([images, alpha], 1))

    if not torso.any():
        return TorsoMotion(torch.eye(2, 3).repeat(len(frames), 1, 1), reference, 0.0, 0.0)
    view = _TorsoView.of(pictures(slice(reference, reference + 1))[0], torch.as_tensor(torso))
    starts = range(0, len(frames), TORSO_FRAMES_AT_ONCE)
    chunks = [slice(start, min(start + TORSO_FRAMES_AT_ONCE, len(frames))) for start in starts]
    kept = [pictures(chunk) for chunk in chunks[:CHUNKS_KEPT]]
    motion = torch.zeros(len(frames), PARAMETERS)
    mismatches = []
    for _ in range(ITERATIONS + 1):
        blurred = chain(kept, map(pictures, chunks[CHUNKS_KEPT:]))
        parts = [
            view.quadratic_form(images, motion[c], frame_weights[c])
            for images, c in zip(blurred, chunks, strict=True)
        ]
        hessian, gradient, mismatch = (torch.cat(values) for values in zip(*parts, strict=True))
        mismatches.append(float(mismatch[frame_weights > 0].mean()))
        if len(mismatches) > ITERATIONS:
            break
        motion = _smooth_solution(hessian, (hessian @ motion[..., None])[..., 0] - gradient, times)
        motion = motion - motion[reference]
    return TorsoMotion(_frame_to_reference(motion), reference, mismatches[0], mismatches[-1])


@dataclass
class _TorsoView:
    """The reference torso: what its N pixels show and how that changes with the motion.

    Attributes:
        target: ``[C, N]`` channels.
        jacobian: ``[C, N, 6]``.
        points: ``[N, 2]`` places in [0, 1].
    """

    target: Tensor
    jacobian: Tensor
    points: Tensor

    @classmethod
    def of(cls, template: Tensor, torso: Tensor) -> _TorsoView:
        """The view of a template ``[C, h, w]`` whose torso is ``[h, w]`` bool."""
        channels, height, width = template.shape
        padded = functional.pad(template[None], (1, 1, 1, 1), mode="replicate")[0]
        dx = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) * (width / 2)
        dy = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) * (height / 2)
        pixels = torch.where(torso.flatten())[0]
        points = (image_pixels(width, height) / torch.tensor([width, height]))[pixels]
        gradient = torch.stack([dx, dy], -1).reshape(channels, -1, 2)[:, pixels]
        # Camera noise has gradients too; as texture they would lock the torso to nothing.
        per_pixel = gradient / gradient.new_tensor([width, height])
        gradient = gradient * (per_pixel.square().sum((0, 2)).sqrt() > MIN_CONTRAST)[:, None]
        jacobian = torch.einsum("cnk,nkp->cnp", gradient, _generators(points))
        return cls(template.flatten(1)[:, pixels], jacobian, points)

    def quadratic_form(
        self, images: Tensor, motion: Tensor, frame_weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Hessian ``[F, 6, 6]`` and gradient ``[F, 6]`` of the mismatch, and its mean size ``[F]``."""
        residual = _sample(images, self.points, motion) - self.target
        weight = 1 / (1 + residual.square().sum(1) / (2 * NOISE) ** 2) ** 2
        weight = weight * frame_weights[:, None] / (NOISE**2 * PIXELS_PER_OBSERVATION)
        outer = torch.einsum("cni,cnj->nij", self.jacobian, self.jacobian)
        hessian = (weight @ outer.flatten(1)).unflatten(1, (PARAMETERS, PARAMETERS))
        gradient = (residual * weight[:, None]).flatten(1) @ self.jacobian.flatten(0, 1)
        return hessian, gradient, residual.abs().mean((1, 2))


def _blurred(images: Tensor) -> Tensor:
    """Binomial filter of width 3: noise down to a third, shoulders and folds stay."""
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    rows = 0.5 * padded[:, :, 1:-1] + 0.25 * (padded[:, :, :-2] + padded[:, :, 2:])
    return 0.5 * rows[..., 1:-1] + 0.25 * (rows[..., :-2] + rows[..., 2:])


def _generators(points: Tensor) -> Tensor:
    """``[N, 2, 6]`` motion of points ``[N, 2]`` in [0, 1]: shifts, rotation, scaling, stretch, shear."""
    centred = points - points.new_tensor([0.5, 0.75])
    x, y = centred.unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    across = torch.stack([one, zero, -y, x, x, y], -1)
    return torch.stack([across, torch.stack([zero, one, x, y, -y, x], -1)], -2)


def _frame_to_reference(motion: Tensor) -> Tensor:
    """``[T, 2, 3]`` inverse of the map ``x + generators(x) @ motion`` from reference to frame."""
    corners = motion.new_tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    moved = corners + (_generators(corners) @ motion[:, None, :, None])[..., 0]
    forward = torch.stack([moved[:, 1] - moved[:, 0], moved[:, 2] - moved[:, 0], moved[:, 0]], -1)
    inverse = torch.linalg.inv(forward[..., :2])
    return torch.cat([inverse, -inverse @ forward[..., 2:]], -1)


def _sample(images: Tensor, points: Tensor, motion: Tensor) -> Tensor:
    """``[T, C, N]`` the frames at the places where the reference's points have moved to."""
    moved = points + (_generators(points) @ motion[:, None, :, None])[..., 0]
    grid = (moved * 2 - 1)[:, None]
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)[:, :, 0]


def _smooth_solution(hessian: Tensor, right: Tensor, times: Tensor) -> Tensor:
    """Minimise the frames' quadratic forms plus the priors, by conjugate gradients over all frames."""
    step = times.diff().clamp_min(1e-3)[:, None] / REFERENCE_INTERVAL_S

    def prior(x: Tensor) -> Tensor:
        pulled = x / MOTION_SIGMA**2
        if len(x) < 3:
            return pulled
        velocity = x.diff(dim=0) / step
        mean_step = (step[1:] + step[:-1]) / 2
        bend = velocity.diff(dim=0) / (mean_step * ACCELERATION_SIGMA) ** 2
        slope = _difference_adjoint(bend) / step
        return pulled + _difference_adjoint(slope)

    def apply(x: Tensor) -> Tensor:
        return (hessian @ x[..., None])[..., 0] + prior(x)

    solution = torch.zeros_like(right)
    residual = right - apply(solution)
    direction = residual
    squared = residual.square().sum()
    for _ in range(200):
        if squared < 1e-10:
            break
        product = apply(direction)
        rate = squared / (direction * product).sum()
        solution = solution + rate * direction
        residual = residual - rate * product
        squared, previous = residual.square().sum(), squared
        direction = residual + squared / previous * direction
    return solution


def _difference_adjoint(values: Tensor) -> Tensor:
    """Transpose of ``diff(dim=0)``."""
    return functional.pad(values, (0, 0, 1, 0)) - functional.pad(values, (0, 0, 0, 1))


TORSO_CENTRE = (0.5, 0.85)
"""Column and row in [0, 1] of the point whose motion the torso follows."""


def median_frame(head: HeadParameters, frame_weights: Tensor) -> int:
    """The tracked frame whose head pose is nearest to the clip's median."""
    tracked = torch.where(frame_weights > 0)[0]
    # Ten centimetres count as much as one radian.
    pose = torch.cat([head.rotation.flatten(1), head.translation * 10], 1)[tracked]
    return int(tracked[(pose - pose.median(0).values).square().sum(1).argmin()])


def with_torso_pose(head: HeadParameters, frame_weights: Tensor, camera: Camera) -> HeadParameters:
    """Hold the torso at the clip's median head position, upright in the picture and facing the camera.

    A torso pose that they have is replaced; frames of weight 0 in ``frame_weights`` ``[T]`` do not count.
    """
    median = head.translation[frame_weights > 0].median(0).values
    upright = camera.camera_to_world[:, :, :3] @ torch.diag(torch.tensor(OPENGL_TO_OPENCV))
    return replace(head, torso_rotation=upright, torso_translation=median.repeat(len(head), 1))


def move_torso(
    head: HeadParameters, frame_weights: Tensor, camera: Camera, matrices: Tensor
) -> HeadParameters:
    """Shift the torso pose parallel to the image plane as the torso's centre moves in the pictures.

    The median over frames whose weight in ``frame_weights`` ``[T]`` is not 0 stays where it was: which frame
    is the reference of ``matrices`` ``[T, 2, 3]``, frame to reference (see `TrackedSequence`), says nothing.
    """
    assert head.torso_translation is not None
    centre = torch.tensor(TORSO_CENTRE)
    inverse = torch.linalg.inv(matrices[..., :2])
    place = (inverse @ (centre - matrices[..., 2])[..., None])[..., 0]
    shift = (place - centre) * torch.tensor([camera.width, camera.height])
    depth = camera.world_to_camera(head.torso_translation[:, None])[:, 0, 2:]
    metres = shift * depth / camera.intrinsics[:, :2]
    metres = metres - metres[frame_weights > 0].median(0).values
    moved = (camera.camera_to_world[:, :, :2] @ metres[..., None])[..., 0]
    return replace(head, torso_translation=head.torso_translation + moved)


def row_in_frame(matrix: Tensor, row: float) -> float:
    """Where a row of the reference torso image lies in a frame, at the torso's centre column; both in [0, 1].

    ``matrix`` ``[2, 3]`` is the frame's torso motion, frame to reference.
    """
    point = torch.tensor([TORSO_CENTRE[0], row])
    return float(torch.linalg.solve(matrix[:, :2], point - matrix[:, 2])[1])
