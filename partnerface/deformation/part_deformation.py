"""PartDeformation: the method. Local networks, softly weighted, move canonical points."""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.compute.ranges import Between
from partnerface.deformation.deformation import CanonicalHead, Deformation, DeformedPoints, dense_part_weights
from partnerface.deformation.driving_signal import VELOCITY_WIDTH
from partnerface.deformation.local_networks import LocalNetworks, settled_share
from partnerface.deformation.parts import PartAssigner, PartPlacement, TemperatureSchedule, placed_centres
from partnerface.fields.encodings import frequency_encoding, frequency_window

LEAST_PART_WEIGHT = 0.1
"""A vertex belongs to every part that has at least this weight there."""

LEAST_MOTION_M = 5e-4
"""Metres: a part is conditioned on the expressions that move a vertex of it by more, at their strongest in
training."""

LEAST_STRENGTH = 0.3
"""Coefficient that an expression is assumed to reach, if training shows it more weakly."""


def expression_masks(head: CanonicalHead, part_weights: Tensor) -> Tensor:
    """``[P, E]``: 1 where an expression moves a part and 0 elsewhere.

    ``part_weights`` ``[U, P]`` are those of the vertices ``head.used``. A part without a vertex of its own is
    conditioned on all that moves the head.
    """
    strongest = head.expression.abs().amax(0).clamp_min(LEAST_STRENGTH)
    motion = head.head_model.expression_basis[:, head.used].norm(dim=-1) * strongest[:, None]
    members = part_weights > LEAST_PART_WEIGHT
    reach = [motion[:, of_part].amax(1) if of_part.any() else motion.amax(1) for of_part in members.T]
    return (torch.stack(reach) > LEAST_MOTION_M).to(motion)


OFFSET_SCALE = 0.02
"""An output of one moves a point by this share of the canonical cube's side (about 8 mm)."""


class PartDeformation(Deformation):
    """Offsets of canonical points as the weighted sum of P local networks (the abstract of PartNerFace).

    Hair lags behind a turning head, but shading does not: the appearance code comes from a branch of each
    network that is not conditioned on the angular velocity. A shared network let the velocity leak into
    shading; that cost 1 dB of the face on unseen expressions.

    Args:
        driving_width: length D of the driving signal.
        parts: number of parts P.
        temperature: softness of the part weights, in squared mean spacings of the centres.
        top_k: parts that act on a point.
        hidden_width: width of each local network; of its branch for the appearance code half of that.
        num_frequencies: octaves of the position encoding.
        appearance_width: length of the appearance code that accompanies the offset, 0 for none: what a
            wrinkle does to shading cannot be written as a motion of points.
        placement: where the parts start, see `placed_centres`.
        learn_parts: whether the partition is learned or stays as it was placed.
        temperature_schedule: ``constant``, ``annealed`` or ``learned``, see `PartAssigner`.
        start_temperature: where an annealed temperature starts.
        residual_frequencies: octaves of the learned residual of the part logits, 0 for none.
        windowed_frequencies: let the octaves of the position encoding in one after the other over the
            first half of training, see `frequency_window`.
        local_driving: condition each local network on the head's motion and on the expressions that move its
            part, as it was placed at the start, only: a combination of expressions that training never showed
            is nothing new, as long as each part has seen its share of it.
    """

    window: Tensor
    driving_mask: Tensor

    def __init__(
        self,
        driving_width: int,
        parts: Between[int, 1, 1024] = 8,
        temperature: Between[float, 1e-12, 1e6] = 0.25,
        top_k: Between[int, 1, 1024] = 2,
        hidden_width: Between[int, 1, 4096] = 32,
        num_frequencies: Between[int, 0, 16] = 4,
        appearance_width: Between[int, 0, 256] = 4,
        placement: PartPlacement = "expression_motion",
        learn_parts: bool = True,
        temperature_schedule: TemperatureSchedule = "constant",
        start_temperature: Between[float, 1e-12, 1e6] = 1.0,
        residual_frequencies: Between[int, 0, 16] = 0,
        windowed_frequencies: bool = False,
        local_driving: bool = True,
    ) -> None:
        super().__init__()
        self.placement = placement
        self.parts, self.driving_width, self.appearance_width = parts, driving_width, appearance_width
        self.num_frequencies, self.windowed_frequencies = num_frequencies, windowed_frequencies
        self.assigner = PartAssigner(
            parts, temperature, top_k, temperature_schedule, start_temperature, residual_frequencies
        ).requires_grad_(learn_parts)
        inputs, code_driving = 3 + 6 * num_frequencies, driving_width - VELOCITY_WIDTH
        self.networks = LocalNetworks(
            parts, inputs, driving_width, hidden_width, appearance_width, code_driving
        )
        if windowed_frequencies:
            self.register_buffer("window", torch.ones(inputs))
        self.local_driving = local_driving
        if local_driving:
            self.register_buffer("driving_mask", torch.ones(parts, driving_width))

    def adapt_to(self, head: CanonicalHead) -> None:
        self.place_parts(head.in_cube(placed_centres(self.placement, head, self.parts)))
        if self.local_driving:
            positions = head.in_cube(head.vertices[head.used])
            weights, index = self.assigner(positions)
            weights = dense_part_weights(weights, index, self.parts)
            expressions = expression_masks(head, weights)
            self.driving_mask.fill_(1.0)[:, : expressions.shape[1]] = expressions

    def place_parts(self, centres: Tensor) -> None:
        """Move the parts to ``centres`` ``[P, 3]`` in [0, 1]."""
        self.assigner.place(centres)

    def set_hard(self, hard: bool) -> None:
        self.assigner.hard = hard

    def set_progress(self, progress: float) -> None:
        self.assigner.set_progress(progress)
        if self.windowed_frequencies:
            reach = settled_share(progress) * self.num_frequencies
            self.window.copy_(frequency_window(self.num_frequencies, reach))

    def forward(self, positions: Tensor, driving: Tensor) -> DeformedPoints:
        weights, index = self.assigner(positions)
        features = frequency_encoding(positions, self.num_frequencies)
        if self.windowed_frequencies:
            features = features * self.window
        if self.local_driving:
            driving = driving * self.driving_mask
        output = self.networks(features, driving, weights, index)
        offsets, appearance = output.split([3, self.appearance_width], 1)
        return DeformedPoints(
            OFFSET_SCALE * offsets, appearance if self.appearance_width else None, weights, index
        )
