"""PartAssigner: which points belong to which part, softly; and where the parts start."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from partnerface.deformation.deformation import CanonicalHead
from partnerface.deformation.local_networks import annealing_factor
from partnerface.errors import UserError
from partnerface.fields.encodings import frequency_encoding
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parts import head_parts, landmark_points

TemperatureSchedule = Literal["constant", "annealed", "learned"]

FEW = 4
"""Up to as many maxima, one after the other, are faster on a CPU than a partial sort: 3 times for 2 of 64."""


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

    Raises:
        UserError: a temperature is not positive, or octaves are negative.
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
    ) -> None:
        super().__init__()
        for name, value in (("temperature", temperature), ("start_temperature", start_temperature)):
            if value <= 0:
                raise UserError(f"part deformation: {name} is {value}; choose more than 0")
        if residual_frequencies < 0:
            raise UserError(
                f"part deformation: residual_frequencies is {residual_frequencies}; choose 0 or more"
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
        from_centres = torch.addmm(constant, inputs, columns)
        if not self.residual_frequencies:
            return from_centres
        encoded = frequency_encoding(positions, self.residual_frequencies)
        return torch.addmm(from_centres, encoded, self.residual)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Weights ``[N, k]`` and part numbers ``[N, k]``; k is 1 while the assignment is hard."""
        count = 1 if self.hard else self.top_k
        value, index = strongest(self.logits(positions), count)
        return torch.softmax(value / self.current_temperature(), 1), index


def strongest(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of ``[N, P]``, falling, and their parts, both ``[N, count]``."""
    if count > FEW:
        return logits.topk(count, dim=1)
    rest, parts = logits.detach(), []
    for _ in range(count):
        parts.append(rest.max(1, keepdim=True).indices)
        rest = rest.scatter(1, parts[-1], -torch.inf)
    index = torch.cat(parts, 1)
    return logits.gather(1, index), index


PartPlacement = Literal["expression_motion", "farthest_points", "landmarks", "head_regions"]

_REGIONS = (
    ("mouth", False),
    ("eyes", True),
    ("scalp", False),
    ("brows", True),
    ("jaw", False),
    ("nose", False),
    ("cheeks", True),
    ("ears", True),
    ("neck", False),
)
"""Named regions of `HeadParts`, and whether left and right are two: what expressions need most is first."""


def placed_centres(placement: PartPlacement, head: CanonicalHead, parts: int) -> Tensor:
    """Centres ``[P, 3]`` in canonical space, metres.

    Args:
        placement: ``expression_motion`` gathers them where the training expressions move the surface,
            ``farthest_points`` spreads them evenly, ``landmarks`` puts them on P landmarks of the face
            that are far from one another, ``head_regions`` on the first P of the head's named regions: mouth,
            eyes, scalp, brows, jaw, nose, cheeks, ears, neck, where pairs are two.
        head: the head that is divided.
        parts: number of parts P.

    Raises:
        UserError: the head model has fewer landmarks or regions than parts.
    """
    if placement == "landmarks":
        # A landmark that the detector never placed on the model has no weights.
        embedded = torch.as_tensor(head.head_model.asset.landmark_barycentric.sum(1) > 0.5)
        places = landmark_points(head.head_model, head.vertices)[embedded.to(head.vertices.device)]
        _check_enough(len(places), "landmarks", parts)
        return part_centres(places, torch.ones_like(places[:, 0]), parts, rounds=0)
    if placement == "head_regions":
        places = region_centres(head)
        _check_enough(len(places), "named regions", parts)
        return places[:parts]
    surface = head.vertices[head.used]
    if placement == "farthest_points":
        return part_centres(surface, torch.ones_like(surface[:, 0]), parts)
    return part_centres(surface, expression_motion(head.head_model, head.expression)[head.used], parts)


def _check_enough(places: int, kind: str, parts: int) -> None:
    if places < parts:
        raise UserError(
            f"--model.avatar.deformation.init_args.parts is {parts}, but the head model has "
            f"{places} {kind} to put them on: choose fewer, or another placement"
        )


def region_centres(head: CanonicalHead) -> Tensor:
    """``[13, 3]`` weighted means of the named regions' surfaces, each side of a pair by itself."""
    surface = head.vertices[head.used]
    weights = head_parts(head.head_model).weights
    centres = []
    for name, paired in _REGIONS:
        weight = weights[name][head.used]
        middle = (weight @ surface)[0] / weight.sum().clamp_min(1e-9)
        left = (surface[:, 0] > middle).to(weight)
        for side in (weight * left, weight * (1 - left)) if paired else (weight,):
            centres.append((side @ surface) / side.sum().clamp_min(1e-9))
    return torch.stack(centres)


def expression_motion(head_model: HeadModel, expression: Tensor) -> Tensor:
    """``[V]`` root mean square displacement of each vertex in metres over expressions ``[F, E]``."""
    offsets = head_model.expression_offsets(expression - expression.mean(0))
    return offsets.square().sum(-1).mean(0).sqrt()


def part_centres(vertices: Tensor, motion: Tensor, parts: int, rounds: int = 8) -> Tensor:
    """Spread centres over the moving surface.

    Farthest points of the whole bust would put the entire face into one part; weighted by motion they
    gather at mouth, eyes and brows.

    Args:
        vertices: ``[V, 3]``.
        motion: ``[V]`` root mean square displacement of each vertex over the training expressions.
        parts: number of parts P, at most V.
        rounds: rounds of Lloyd's algorithm after the weighted farthest-point start.

    Returns:
        ``[P, 3]``.
    """
    weight = (motion / motion.max().clamp_min(1e-9)).clamp_min(0.03)
    chosen = [int(weight.argmax())]
    nearest = torch.full((len(vertices),), torch.inf, device=vertices.device)
    for _ in range(parts - 1):
        nearest = torch.minimum(nearest, (vertices - vertices[chosen[-1]]).square().sum(1))
        chosen.append(int((nearest * weight).argmax()))
    centres = vertices[chosen]
    for _ in range(rounds):
        owner = torch.cdist(vertices, centres).argmin(1)
        total = torch.zeros(parts, device=vertices.device).index_add(0, owner, weight)
        moment = torch.zeros_like(centres).index_add(0, owner, vertices * weight[:, None])
        centres = torch.where(total[:, None] > 0, moment / total.clamp_min(1e-9)[:, None], centres)
    return centres
