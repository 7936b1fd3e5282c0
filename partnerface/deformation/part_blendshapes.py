"""PartBlendshapes: the method. Learned blendshapes of many parts, each driven by what moves that part."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from partnerface.compute.ranges import Between
from partnerface.deformation.blended_matrices import blended_product
from partnerface.deformation.deformation import (
    OFFSET_SCALE,
    CanonicalHead,
    Deformation,
    DeformedPoints,
    dense_part_weights,
)
from partnerface.deformation.driving_signal import MOTION_WIDTH, VELOCITY_WIDTH
from partnerface.deformation.part_assigner import PartAssigner, TemperatureSchedule
from partnerface.deformation.part_placement import (
    DrivingMasks,
    PartPlacement,
    driving_masks,
    placed_centres,
)
from partnerface.errors import UserError
from partnerface.fields.encodings import frequency_encoding

OPEN_GATE, GATE_STRETCH = 1.0, 0.1
"""Logit at which learned gates start, 70 % open, and how far below 0 they would reach if not cut there."""

CODE_HIDDEN_WIDTH = 32


class PartBlendshapes(Deformation):
    """Offsets and appearance codes from blendshapes of P parts over features of space that all parts share.

    The offset of a canonical point u under the expression e and the head's motion r (rotation, velocity) is

        o(u) = 0.02 (sum_p w_p(u) H_p(e) + H_0(r)) phi(u),   H_p(e) = sum_s z_ps(m_p * e) C_ps

    with features phi of an MLP, part weights w, masks m_p and learned matrices C; the local network z_p of a
    part is evaluated once a frame, so that a point costs the same for any P. The appearance code has networks
    and matrices of its own and does not depend on the velocity: hair lags behind a turning head, shading does
    not. One global part H_0 takes the head's motion: hair sways as one, so all points teach the same
    network. Local parts depend on the expression alone.

    Args:
        driving_width: length D of the driving signal.
        parts: number of parts P, without the global one.
        temperature: softness of the part weights, in squared mean spacings of the centres.
        top_k: parts that act on a point.
        hidden_width: width of both layers of the shared MLP, and so the number of features of a point.
        shapes: blendshapes of a part.
        driving_hidden_width: width of the hidden layer of each local network.
        num_frequencies: octaves of the position encoding.
        appearance_width: length of the appearance code, 0 for none.
        move_points: whether points move; without, there is the appearance code alone.
        placement: where the parts start, see `placed_centres`.
        learn_parts: whether the partition is learned or stays as it was placed, as the masks do.
        temperature_schedule: ``constant``, ``annealed`` or ``learned``, see `PartAssigner`.
        start_temperature: where an annealed temperature starts.
        residual_frequencies: octaves of the learned residual of the part logits, 0 for none.
        masks: the expressions that each part depends on, see `driving_masks`; ``learned`` gates them, and the
            loss `DrivingSparsity` closes gates.
        expression_code_width: length of a code of the whole expression, learned by an MLP, on which all local
            parts are conditioned beside their own expressions; 0 for none.

    Raises:
        UserError: neither do points move nor is there an appearance code.
    """

    driving_mask: Tensor

    def __init__(
        self,
        driving_width: int,
        parts: Between[int, 1, 1024] = 64,
        temperature: Between[float, 1e-12, 1e6] = 0.25,
        top_k: Between[int, 1, 1024] = 2,
        hidden_width: Between[int, 1, 4096] = 46,
        shapes: Between[int, 1, 256] = 6,
        driving_hidden_width: Between[int, 1, 4096] = 16,
        num_frequencies: Between[int, 0, 16] = 6,
        appearance_width: Between[int, 0, 256] = 4,
        move_points: bool = True,
        placement: PartPlacement = "expression_motion",
        learn_parts: bool = False,
        temperature_schedule: TemperatureSchedule = "constant",
        start_temperature: Between[float, 1e-12, 1e6] = 1.0,
        residual_frequencies: Between[int, 0, 16] = 0,
        masks: DrivingMasks = "any_vertex",
        expression_code_width: Between[int, 0, 256] = 0,
    ) -> None:
        super().__init__()
        if not move_points and not appearance_width:
            raise UserError(
                "part blendshapes: with move_points false and appearance_width 0 there is nothing to learn; "
                "choose one of them, or NoDeformation"
            )
        self.parts, self.driving_width, self.appearance_width = parts, driving_width, appearance_width
        self.num_frequencies, self.placement, self.masks = num_frequencies, placement, masks
        schedule = temperature_schedule, start_temperature
        self.assigner = PartAssigner(
            parts, temperature, top_k, *schedule, residual_frequencies, learned=learn_parts
        )
        self.features = nn.Sequential(
            *_layer(3 + 6 * num_frequencies, hidden_width), *_layer(hidden_width, hidden_width)
        )
        expressions = driving_width - MOTION_WIDTH
        self.offset_width = 3 if move_points else 0
        self.local, self.whole = nn.ModuleDict(), nn.ModuleDict()
        for name, width, motion in (
            ("offset", self.offset_width, MOTION_WIDTH),
            ("code", appearance_width, MOTION_WIDTH - VELOCITY_WIDTH),
        ):
            if width:
                sizes = driving_hidden_width, shapes, width, hidden_width
                self.local[name] = DrivenMatrices(parts, expressions + expression_code_width, *sizes)
                self.whole[name] = DrivenMatrices(1, motion, *sizes)
        self.register_buffer("driving_mask", torch.ones(parts, expressions))
        if masks == "learned":
            self.gate_logits = nn.Parameter(torch.full((parts, expressions), OPEN_GATE))
        self.expression_code = (
            nn.Sequential(
                *_layer(expressions, CODE_HIDDEN_WIDTH), nn.Linear(CODE_HIDDEN_WIDTH, expression_code_width)
            )
            if expression_code_width
            else None
        )

    def adapt_to(self, head: CanonicalHead) -> None:
        self.assigner.place(head.in_cube(placed_centres(self.placement, head, self.parts)))
        weights, index = self.assigner(head.in_cube(head.vertices[head.used]))
        weights = dense_part_weights(weights, index, self.parts)
        self.driving_mask.copy_(driving_masks(self.masks, head, weights))

    def set_hard(self, hard: bool) -> None:
        self.assigner.hard = hard

    def set_progress(self, progress: float) -> None:
        self.assigner.set_progress(progress)

    def gates(self) -> Tensor:
        """``[P, E]`` learned masks, in [0, 1) with exact zeros (as Louizos et al. 2018, without noise)."""
        return ((1 + GATE_STRETCH) * torch.sigmoid(self.gate_logits) - GATE_STRETCH).clamp_min(0)

    def driving_share(self) -> Tensor | None:
        return self.gates().mean() if self.masks == "learned" and self.gate_logits.numel() else None

    def forward(self, positions: Tensor, driving: Tensor, frame: Tensor) -> DeformedPoints:
        weights, index = self.assigner(positions)
        features = self.features(frequency_encoding(positions, self.num_frequencies))
        output = blended_product(self.matrices(driving), features, frame, weights, index)
        offsets, appearance = output.split([self.offset_width, self.appearance_width], 1)
        return DeformedPoints(
            OFFSET_SCALE * offsets if self.offset_width else torch.zeros_like(positions),
            appearance if self.appearance_width else None,
            weights,
            index,
        )

    def matrices(self, driving: Tensor) -> Tensor:
        """``[P, F, 3 + A, hidden_width]`` of the driving signals ``[F, D]``: `H_p + H_0` of each frame.

        Part weights sum to one, so the global part is added to all others here, once a frame.
        """
        expression, motion = driving.tensor_split([-MOTION_WIDTH], 1)
        mask = self.driving_mask if self.masks != "learned" else self.gates()
        signal = expression * mask[:, None]
        if self.expression_code is not None:
            code = self.expression_code(expression).expand(self.parts, -1, -1)
            signal = torch.cat([signal, code], 2)
        found = []
        for name, local in self.local.items():
            matrices, whole = local(signal), self.whole[name]
            if self.part_gains is not None:
                matrices = matrices * self.part_gains[:, None, None, None]
            found.append(matrices + whole(motion[None, :, : whole.inputs]))
        return torch.cat(found, 2)


class DrivenMatrices(nn.Module):
    """Matrices of G groups, each the sum of S learned ones weighted by a small MLP of the group's signal.

    The learned matrices start at zero.

    Args:
        groups: number of groups G, which share nothing.
        inputs: length D of each group's signal.
        hidden_width: width of the MLPs' hidden layer.
        shapes: learned matrices S of a group.
        rows: rows C of a matrix, one for each output.
        columns: columns R of a matrix, one for each feature.
    """

    def __init__(
        self, groups: int, inputs: int, hidden_width: int, shapes: int, rows: int, columns: int
    ) -> None:
        super().__init__()

        def weight(fan_in: int, fan_out: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(groups, fan_in, fan_out) / math.sqrt(max(fan_in, 1)))

        self.inputs = inputs
        self.weight1, self.bias1 = (
            weight(inputs, hidden_width),
            nn.Parameter(torch.zeros(groups, hidden_width)),
        )
        self.weight2, self.bias2 = weight(hidden_width, shapes), nn.Parameter(torch.zeros(groups, shapes))
        self.shapes = nn.Parameter(torch.zeros(groups, shapes, rows, columns))

    def forward(self, signal: Tensor) -> Tensor:
        """``[G, F, C, R]`` of signals ``[G, F, D]``."""
        hidden = torch.baddbmm(self.bias1[:, None], signal, self.weight1).relu()
        coefficients = torch.baddbmm(self.bias2[:, None], hidden, self.weight2)
        return (coefficients @ self.shapes.flatten(2)).unflatten(2, self.shapes.shape[2:])


def _layer(inputs: int, outputs: int) -> tuple[nn.Linear, nn.ReLU]:
    """A linear layer with ReLU; outputs of a unit signal start with a variance of one."""
    linear = nn.Linear(inputs, outputs)
    nn.init.normal_(linear.weight, std=1 / math.sqrt(max(inputs, 1)))
    nn.init.zeros_(linear.bias)
    return linear, nn.ReLU(inplace=True)
