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

    def forward(self, head: HeadParameters, turn: Tensor | None = None) -> Tensor:
        """``[F, D]``; ``turn`` is `rotation_against_torso` of the head where it is known already."""
        signal = driving_signal(head, turn)
        if self.training and torch.is_grad_enabled():
            noise = torch.randn(signal.shape, device=signal.device, generator=thread_generator())
            signal = torch.add(signal, noise, alpha=self.noise)
        if not self.clamp:
            return signal
        centre = torch.lerp(self.low, self.high, 0.5)
        half = self.high - centre + 0.02
        relative = (signal - centre) / half
        within = relative.clamp(-KNEE, KNEE)
        excess = torch.tanh((relative - within) / (1 - KNEE))
        return torch.addcmul(centre, half, torch.add(within, excess, alpha=1 - KNEE))


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
