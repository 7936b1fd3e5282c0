"""DrivingSignal: what the deformation is conditioned on, kept inside the range seen in training."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from partnerface.compute.threads import thread_generator
from partnerface.deformation.part_placement import part_centres
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.rotations import rotation_vectors

KNEE = 0.9
"""Share of the half range within which the signal passes unchanged."""

VELOCITY_WIDTH = 3
"""Angular velocity, the last of the signal's numbers."""

MOTION_WIDTH = 3 + VELOCITY_WIDTH
"""Numbers beside the expression: rotation and angular velocity."""


LEAST_SPREAD = 0.02
"""Least half range and standard deviation that a number of the signal is assumed to have in training."""

ANCHORS = 64
"""Training frames that stand for all of them in the range of several numbers at once."""

Damping = Literal["none", "motion", "all"]


class DrivingSignal(nn.Module):
    """Expression coefficients, the head's rotation against the torso and how fast it turns, as one vector.

    Skin follows the expression; hair hangs as the head is held, and lags behind it as it turns.

    Outside the training range the signal saturates softly (as NeRFBlendShape clamps and NHA clips): a
    network that was never shown such a value would extrapolate at will. Noise in training keeps it
    from reading single frames off the signal.

    That bounds each number by itself. Damping bounds several at once, such as all rotations and velocities: a
    signal that is far from every training frame is drawn to the nearest ones.

    Args:
        expressions: number of expression coefficients E.
        noise: standard deviation added in training.
        clamp: whether each number of the signal saturates.
        damp: the numbers that are bounded together: ``none``, the head's ``motion`` (rotation and velocity),
            or ``all``, which keeps combinations of expressions near those of training too.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, expressions: int, noise: float = 0.03, clamp: bool = True, damp: Damping = "none"
    ) -> None:
        super().__init__()
        self.noise, self.clamp = noise, clamp
        width = {"none": 0, "motion": MOTION_WIDTH, "all": expressions + MOTION_WIDTH}[damp]
        self.near_training = NearTraining(width) if width else None
        self.register_buffer("low", torch.zeros(expressions + MOTION_WIDTH))
        self.register_buffer("high", torch.ones(expressions + MOTION_WIDTH))

    @property
    def width(self) -> int:
        return len(self.low)

    def set_range(self, head: HeadParameters) -> None:
        """Learn the range from the training frames."""
        signal = driving_signal(head)
        self.low.copy_(signal.amin(0))
        self.high.copy_(signal.amax(0))
        if self.near_training is not None:
            self.near_training.set_range(signal[:, -self.near_training.width :])

    def forward(self, head: HeadParameters, turn: Tensor | None = None) -> Tensor:
        """``[F, D]``; ``turn`` is `rotation_against_torso` of the head where it is known already."""
        signal = driving_signal(head, turn)
        if self.training and torch.is_grad_enabled():
            noise = torch.randn(signal.shape, device=signal.device, generator=thread_generator())
            signal = torch.add(signal, noise, alpha=self.noise)
        if self.clamp:
            centre = torch.lerp(self.low, self.high, 0.5)
            half = self.high - centre + LEAST_SPREAD
            signal = torch.addcmul(centre, half, saturated((signal - centre) / half))
        if self.near_training is None:
            return signal
        free, bounded = signal.tensor_split([-self.near_training.width], 1)
        return torch.cat([free, self.near_training(bounded)], 1)


class NearTraining(nn.Module):
    """Draws signals that are far from all training frames to the nearest ones, softly; others pass unchanged.

    Distances are in standard deviations of training. A signal may be as far from the mean of the training
    frames around it (by a Gaussian of their spacing) as any training frame is from its own, and saturates
    there.

    Args:
        width: length D of the signals.
    """

    spread: Tensor
    anchors: Tensor
    spacing: Tensor
    radius: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("anchors", torch.zeros(ANCHORS, width))
        self.register_buffer("spacing", torch.ones(()))
        self.register_buffer("radius", torch.ones(()))

    def set_range(self, signals: Tensor) -> None:
        """Learn the range from those of the training frames, ``[F, D]``."""
        self.spread.copy_(signals.std(0, correction=0).clamp_min(LEAST_SPREAD))
        scaled = signals / self.spread
        repeated = torch.arange(ANCHORS, device=signals.device) % len(signals)
        # Farthest points: frames that are alike, of which a clip has many, count once.
        many = len(signals) > ANCHORS
        self.anchors.copy_(
            part_centres(scaled, torch.ones_like(scaled[:, 0]), ANCHORS, rounds=0)
            if many
            else scaled[repeated]
        )
        self.spacing.copy_(torch.cdist(scaled, self.anchors).amin(1).max().clamp_min(1.0))
        away = (scaled - self._nearest(scaled)).norm(dim=1).max()
        self.radius.copy_((away / KNEE).clamp_min(1.0))

    def forward(self, signals: Tensor) -> Tensor:
        """``[F, D]`` of signals ``[F, D]``."""
        scaled = signals / self.spread
        nearest = self._nearest(scaled)
        away = (scaled - nearest) / self.radius
        distance = away.square().sum(1, keepdim=True).add(1e-12).sqrt()
        return self.spread * (nearest + self.radius * away * (saturated(distance) / distance))

    def _nearest(self, scaled: Tensor) -> Tensor:
        """``[F, D]`` mean of the anchors around each signal."""
        square = (scaled[:, None] - self.anchors).square().sum(2)
        return torch.softmax(-square / (2 * self.spacing**2), 1) @ self.anchors


def saturated(relative: Tensor) -> Tensor:
    """Values that pass unchanged up to `KNEE` and never reach 1, smooth and odd."""
    within = relative.clamp(-KNEE, KNEE)
    excess = torch.tanh((relative - within) / (1 - KNEE))
    return torch.add(within, excess, alpha=1 - KNEE)


def driving_signal(head: HeadParameters, turn: Tensor | None = None) -> Tensor:
    """``[F, E + 6]``: expression, the axis-angle of the head against the torso in radians, and its angular
    velocity in radians per second (none where it is not known: a head that stands still).
    """
    velocity = head.angular_velocity
    if velocity is None:
        velocity = torch.zeros_like(head.translation)
    turn = rotation_against_torso(head) if turn is None else turn
    return torch.cat([head.expression, turn, velocity.detach()], 1)


def rotation_against_torso(head: HeadParameters) -> Tensor:
    """``[F, 3]`` axis-angle in radians, without gradient."""
    rotation = head.rotation
    if head.torso_rotation is not None:
        rotation = torch.bmm(head.torso_rotation.transpose(1, 2), rotation)
    return rotation_vectors(rotation.detach())
