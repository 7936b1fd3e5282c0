"""DrivingSignal: what the deformation is conditioned on, kept inside the range seen in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from partnerface.compute.threads import thread_generator
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.rotations import rotation_vectors

KNEE = 0.9
"""Share of the half range within which the signal passes unchanged."""

VELOCITY_WIDTH = 3
"""Angular velocity, the last of the signal's numbers."""

MOTION_WIDTH = 3 + VELOCITY_WIDTH
"""Numbers beside the expression: rotation and angular velocity."""


class DrivingSignal(nn.Module):
    """Expression coefficients, the head's rotation against the torso and how fast it turns, as one vector.

    Skin follows the expression; hair hangs as the head is held, and lags behind it as it turns.

    Outside the training range the signal saturates softly (as NeRFBlendShape clamps and NHA clips): a
    network that was never shown such a value would extrapolate at will. Noise in training keeps it
    from reading single frames off the signal.

    Args:
        expressions: number of expression coefficients E.
        noise: standard deviation added in training.
        clamp: whether the signal saturates.
    """

    low: Tensor
    high: Tensor

    def __init__(self, expressions: int, noise: float = 0.03, clamp: bool = True) -> None:
        super().__init__()
        self.noise, self.clamp = noise, clamp
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

    def forward(self, head: HeadParameters) -> Tensor:
        """``[F, D]``."""
        signal = driving_signal(head)
        if self.training and torch.is_grad_enabled():
            noise = torch.randn(signal.shape, device=signal.device, generator=thread_generator())
            signal = signal + self.noise * noise
        if not self.clamp:
            return signal
        centre, half = (self.high + self.low) / 2, (self.high - self.low) / 2 + 0.02
        relative = (signal - centre) / half
        excess = (relative.abs() - KNEE).clamp_min(0)
        limited = KNEE + (1 - KNEE) * torch.tanh(excess / (1 - KNEE))
        return centre + half * torch.where(excess > 0, relative.sign() * limited, relative)


def driving_signal(head: HeadParameters) -> Tensor:
    """``[F, E + 6]``: expression, the axis-angle of the head against the torso in radians, and its angular
    velocity in radians per second (none where it is not known: a head that stands still).
    """
    velocity = head.angular_velocity
    if velocity is None:
        velocity = torch.zeros_like(head.translation)
    return torch.cat([head.expression, rotation_against_torso(head), velocity.detach()], 1)


def rotation_against_torso(head: HeadParameters) -> Tensor:
    """``[F, 3]`` axis-angle in radians, without gradient."""
    rotation = head.rotation
    if head.torso_rotation is not None:
        rotation = head.torso_rotation.transpose(1, 2) @ rotation
    return rotation_vectors(rotation.detach())
