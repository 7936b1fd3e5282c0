"""PartAssigner: the soft partition of canonical space into parts, learned with the avatar."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from partnerface.user_error import UserError


class PartAssigner(nn.Module):
    """Part weights of canonical points.

    ``w = softmax(l / temperature)`` with ``l_p = b_p - |x - c_p|^2 / (s_p d)^2``: centres ``c``, sizes
    ``s`` and biases ``b`` are learned, ``d`` is the mean distance between neighbouring centres at the
    start. The temperature is therefore in units of the spacing and means the same for any number of
    parts. Only the ``top_k`` largest weights are kept, renormalised: the cost hardly grows with P.

    Args:
        parts: number of parts P.
        temperature: softness; towards 0 the partition is hard.
        top_k: parts that act on a point; exact when it equals P.

    Raises:
        UserError: the temperature is not positive.
    """

    def __init__(self, parts: int, temperature: float, top_k: int) -> None:
        super().__init__()
        if temperature <= 0:
            raise UserError(f"part deformation: temperature is {temperature}; choose more than 0")
        self.parts, self.temperature, self.top_k = parts, temperature, min(top_k, parts)
        self.hard = False
        self.centres = nn.Parameter(torch.rand(parts, 3))
        self.log_sizes = nn.Parameter(torch.zeros(parts))
        self.biases = nn.Parameter(torch.zeros(parts))
        self.register_buffer("spacing", torch.ones(()))

    def place(self, centres: Tensor) -> None:
        """Start from centres ``[P, 3]`` in [0, 1]."""
        with torch.no_grad():
            self.centres.copy_(centres)
            if self.parts > 1:
                distance = torch.cdist(centres, centres)
                distance.fill_diagonal_(torch.inf)
                self.spacing.copy_(distance.amin(1).mean())

    def logits(self, positions: Tensor) -> Tensor:
        """``[N, P]`` of positions ``[N, 3]``."""
        # |x - c|^2 multiplied out: one matrix product, where differences would take N * P * 3 numbers. Places
        # are taken from the middle of the centres, so that little cancels.
        middle = self.centres.detach().mean(0)
        places, centres = positions - middle, self.centres - middle
        scale = torch.exp(-2 * self.log_sizes) / self.spacing**2
        constant = self.biases - scale * centres.square().sum(1)
        columns = torch.cat([2 * scale * centres.T, -scale[None]])
        inputs = torch.cat([places, places.square().sum(1, keepdim=True)], 1)
        return torch.addmm(constant, inputs, columns)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Weights ``[N, k]`` and part numbers ``[N, k]``; k is 1 while the assignment is hard."""
        count = 1 if self.hard else self.top_k
        value, index = self.logits(positions).topk(count, dim=1)
        return torch.softmax(value / self.temperature, 1), index
