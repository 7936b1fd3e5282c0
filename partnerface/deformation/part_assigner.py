"""PartAssigner: the soft partition of canonical space into parts, learned, and its schedules."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from partnerface.deformation.strongest_parts import strongest_parts
from partnerface.errors import UserError
from partnerface.fields.encodings import frequency_encoding

TemperatureSchedule = Literal["constant", "annealed", "learned"]

SETTLED = 0.5
"""Share of training after which a schedule has reached its end: the rest trains what will be rendered."""


class PartAssigner(nn.Module):
    """Part weights of canonical points.

    ``w = softmax(l / temperature)`` with ``l_p = b_p - |x - c_p|^2 / (s_p d)^2 + a_p . g(x)``: centres
    ``c``, sizes ``s``, biases ``b`` and the residual ``a`` over an encoding ``g`` of the position are
    learned, ``d`` is the mean distance between neighbouring centres at the start. The temperature is
    therefore in squared spacings and means the same for any number of parts: at 0.25, weights fall as a
    Gaussian of 0.35 spacings. Only the ``top_k`` largest are kept, renormalised: the cost then hardly grows
    with P.

    Args:
        parts: number of parts P.
        temperature: softness; towards 0 the partition is hard.
        top_k: parts that act on a point; exact when it equals P.
        temperature_schedule: ``constant``; ``annealed`` from ``start_temperature`` to ``temperature``, see
            `annealing_factor`; ``learned`` from ``temperature`` on.
        start_temperature: where annealing starts.
        residual_frequencies: octaves of ``g``; 0 for no residual. It starts at zero and lets borders bend
            where those between centres cannot.
        learned: whether any of it is; else the parts stay as they are placed.

    Raises:
        UserError: a temperature is not positive, octaves are negative, or something is to be learned that is
            not.
    """

    spacing: Tensor
    temperature_factor: Tensor

    def __init__(
        self,
        parts: int,
        temperature: float,
        top_k: int,
        temperature_schedule: TemperatureSchedule = "constant",
        start_temperature: float = 1.0,
        residual_frequencies: int = 0,
        learned: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("temperature", temperature), ("start_temperature", start_temperature)):
            if value <= 0:
                raise UserError(f"part deformation: {name} is {value}; choose more than 0")
        if residual_frequencies < 0:
            raise UserError(
                f"part deformation: residual_frequencies is {residual_frequencies}; choose 0 or more"
            )
        if not learned and (residual_frequencies or temperature_schedule == "learned"):
            raise UserError(
                "part deformation: with learn_parts false neither a temperature nor borders are learned; "
                "choose learn_parts true, or another temperature_schedule and residual_frequencies 0"
            )
        self.parts, self.temperature, self.top_k = parts, temperature, min(top_k, parts)
        self.start_temperature, self.residual_frequencies = start_temperature, residual_frequencies
        self.hard = False
        self.centres = nn.Parameter(torch.rand(parts, 3))
        self.log_sizes = nn.Parameter(torch.zeros(parts))
        self.biases = nn.Parameter(torch.zeros(parts))
        self.register_buffer("spacing", torch.ones(()))
        if residual_frequencies:
            self.residual = nn.Parameter(torch.zeros(3 + 6 * residual_frequencies, parts))
        self.temperature_schedule = temperature_schedule
        if temperature_schedule == "learned":
            self.log_temperature_factor = nn.Parameter(torch.zeros(()))
        elif temperature_schedule == "annealed":
            # In the checkpoint, so that a test sees the partition as training left it.
            self.register_buffer("temperature_factor", torch.ones(()))
        self.requires_grad_(learned)

    def place(self, centres: Tensor) -> None:
        """Start from centres ``[P, 3]`` in [0, 1]."""
        with torch.no_grad():
            self.centres.copy_(centres)
            if self.parts > 1:
                distance = torch.cdist(centres, centres)
                distance.fill_diagonal_(torch.inf)
                self.spacing.copy_(distance.amin(1).mean())

    def set_progress(self, progress: float) -> None:
        """Follow the temperature's schedule to a share of training in [0, 1]."""
        if self.temperature_schedule == "annealed":
            self.temperature_factor.fill_(
                annealing_factor(self.start_temperature, self.temperature, progress)
            )

    def current_temperature(self) -> Tensor | float:
        """The temperature at this point of training."""
        if self.temperature_schedule == "learned":
            return self.temperature * self.log_temperature_factor.exp()
        if self.temperature_schedule == "annealed":
            return self.temperature * self.temperature_factor
        return self.temperature

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Weights ``[N, k]`` and part numbers ``[N, k]``; k is 1 while the assignment is hard."""
        scales = (self.log_sizes.exp() * self.spacing) ** -2
        residual = positions.new_empty(0, self.parts)
        if self.residual_frequencies:
            residual = frequency_encoding(positions, self.residual_frequencies) @ self.residual
        parts = self.centres, scales, self.biases, residual
        value, index = strongest_parts(positions.contiguous(), *parts, 1 if self.hard else self.top_k)
        return torch.softmax(value / self.current_temperature(), 1), index


def settled_share(progress: float) -> float:
    """Share of a schedule that is done, in [0, 1].

    >>> [settled_share(p) for p in (0.0, 0.25, 0.5, 1.0)]
    [0.0, 0.5, 1.0, 1.0]
    """
    return min(max(progress / SETTLED, 0.0), 1.0)


def annealing_factor(start: float, end: float, progress: float) -> float:
    """Ratio of a value that goes from ``start`` to ``end`` in equal ratios to its end.

    >>> [annealing_factor(4.0, 1.0, p) for p in (0.0, 0.25, 0.5, 1.0)]
    [4.0, 2.0, 1.0, 1.0]
    """
    return math.exp((1 - settled_share(progress)) * math.log(start / end))
