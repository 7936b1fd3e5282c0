"""PartNetworks: parts, softly weighted, with a local network each, move canonical points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from partnerface.compute.ranges import Between
from partnerface.deformation.deformation import (
    OFFSET_SCALE,
    CanonicalHead,
    Deformation,
    DeformedPoints,
    dense_part_weights,
)
from partnerface.deformation.driving_signal import VELOCITY_WIDTH
from partnerface.deformation.part_assigner import PartAssigner, TemperatureSchedule, settled_share
from partnerface.deformation.part_placement import PartPlacement, expression_masks, placed_centres
from partnerface.fields.encodings import frequency_encoding, frequency_window

EVALUATE_ALL = 16
"""On a GPU, up to as many parts are all evaluated at every point: how many points each part has only the
device knows, and for the host to wait for the answer takes longer."""


class PartNetworks(Deformation):
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
        schedule = temperature_schedule, start_temperature
        self.assigner = PartAssigner(
            parts, temperature, top_k, *schedule, residual_frequencies, learned=learn_parts
        )
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

    def forward(self, positions: Tensor, driving: Tensor, frame: Tensor) -> DeformedPoints:
        weights, index = self.assigner(positions)
        features = frequency_encoding(positions, self.num_frequencies)
        if self.windowed_frequencies:
            features = features * self.window
        signal = driving[:, None].expand(-1, self.parts, -1)
        if self.local_driving:
            signal = signal * self.driving_mask
        acting = weights if self.part_gains is None else weights * self.part_gains[index]
        output = self.networks(features, signal, frame, acting, index)
        offsets, appearance = output.split([3, self.appearance_width], 1)
        return DeformedPoints(
            OFFSET_SCALE * offsets, appearance if self.appearance_width else None, weights, index
        )


class LocalNetworks(nn.Module):
    """P MLPs that share no weights: an offset from two hidden layers, and a code from a branch of one.

    The driving signal is the same for all points of a frame, so it enters as a bias of the first
    layer, one for each frame: as weights of inputs that are 1 in that frame and 0 in the others. Points are
    sorted by part and each network runs on its segment: on CPU this is faster than batched or vmapped forms.
    The output starts at zero.

    Args:
        parts: number of networks P.
        inputs: width of the point features.
        driving_width: width D of the driving signal.
        hidden_width: width of the hidden layers of an offset; that of a code has half of it.
        code_width: width of the code, 0 for none.
        code_driving_width: numbers of the driving signal, from the first on, that the code is conditioned on.
    """

    def __init__(
        self,
        parts: int,
        inputs: int,
        driving_width: int,
        hidden_width: int,
        code_width: int,
        code_driving_width: int,
    ) -> None:
        super().__init__()

        def weight(fan_in: int, fan_out: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(parts, fan_in, fan_out) / math.sqrt(fan_in))

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(parts, *shape))

        self.branch_width = (hidden_width + 1) // 2 if code_width else 0
        self.code_driving_width = code_driving_width
        first_width = hidden_width + self.branch_width
        self.weight1, self.bias1 = weight(inputs, first_width), zeros(first_width)
        self.driving_weight = weight(driving_width, hidden_width)
        self.weight2, self.bias2 = weight(hidden_width, hidden_width), zeros(hidden_width)
        self.weight3, self.bias3 = zeros(hidden_width, 3), zeros(3)
        if code_width:
            self.code_driving_weight = weight(code_driving_width, self.branch_width)
            self.code_weight, self.code_bias = zeros(self.branch_width, code_width), zeros(code_width)

    def forward(
        self, features: Tensor, driving: Tensor, frame: Tensor, weights: Tensor, index: Tensor
    ) -> Tensor:
        """Weighted sum of the routed networks' outputs.

        Args:
            features: ``[N, inputs]``.
            driving: ``[F, P, D]`` driving signal of each frame for each network.
            frame: ``[N]`` int32 frame of each point.
            weights: ``[N, k]`` part weights.
            index: ``[N, k]`` part numbers.

        Returns:
            ``[N, 3 + code_width]``.
        """
        frames = torch.arange(len(driving), dtype=torch.int32, device=features.device)
        features = torch.cat([features, (frame[:, None] == frames).to(features)], 1)
        first = torch.cat([self.weight1, self._first_biases(driving)], 1)
        if features.device.type != "cpu" and len(first) <= EVALUATE_ALL:
            return self.of_all_parts(features, first, weights, index)
        return self.of_routed_parts(features, first, weights, index)

    def of_routed_parts(self, features: Tensor, first: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        """The sum with each network on the points that are routed to it.

        Args:
            features: ``[N, inputs + F]``, the frame of each point among them.
            first: ``[P, inputs + F, first layer]`` weights of the first layer.
            weights: ``[N, k]`` part weights.
            index: ``[N, k]`` part numbers.
        """
        routes = index.shape[1]
        flat = index.reshape(-1)
        # A CPU sorts by each byte in turn; there are 1024 parts at most.
        order = flat.short().argsort()
        point = torch.div(order, routes, rounding_mode="floor")
        counts = torch.bincount(flat, minlength=len(first)).tolist()
        tensors = [first, self.bias2, self.weight2, self.bias3, self.weight3]
        if self.branch_width:
            tensors += [self.code_bias, self.code_weight]
        # One unbind, not an index for each part: its gradient is one stack, where indexing would fill and
        # add a tensor as large as all parts together for every one of them.
        layers = zip(*(tensor.unbind(0) for tensor in tensors), strict=True)
        segments = features.index_select(0, point).split(counts)
        outputs = [self._of_one_part(*part) for part in zip(segments, layers, strict=True)]
        weighted = torch.cat(outputs) * weights.reshape(-1).index_select(0, order)[:, None]
        total = weighted.new_zeros(len(features), weighted.shape[1])
        return total.index_add(0, point, weighted)

    def of_all_parts(self, features: Tensor, first: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        """The sum with every network at every point, see `of_routed_parts`: nothing has to be counted."""
        hidden = torch.bmm(features.expand(len(first), -1, -1), first).relu()
        hidden, of_code = hidden.split([self.bias2.shape[1], self.branch_width], 2)
        offset = torch.baddbmm(self.bias2[:, None], hidden, self.weight2).relu()
        output = torch.baddbmm(self.bias3[:, None], offset, self.weight3)
        if self.branch_width:
            code = torch.baddbmm(self.code_bias[:, None], of_code, self.code_weight)
            output = torch.cat([output, code], 2)
        return torch.einsum("pnc,np->nc", output, dense_part_weights(weights, index, len(first)))

    def _first_biases(self, driving: Tensor) -> Tensor:
        """``[P, F, first layer]``, the driving signal in it."""
        signal = driving.transpose(0, 1)
        of_driving = torch.bmm(signal, self.driving_weight)
        if self.branch_width:
            of_code = torch.bmm(signal[:, :, : self.code_driving_width], self.code_driving_weight)
            of_driving = torch.cat([of_driving, of_code], 2)
        return of_driving + self.bias1[:, None]

    def _of_one_part(self, segment: Tensor, layers: Sequence[Tensor]) -> Tensor:
        weight1, bias2, weight2, bias3, weight3, *code_layer = layers
        hidden = torch.mm(segment, weight1).relu_()
        offset = torch.addmm(bias2, hidden[:, : len(bias2)], weight2).relu_()
        offset = torch.addmm(bias3, offset, weight3)
        if not code_layer:
            return offset
        code_bias, code_weight = code_layer
        return torch.cat([offset, torch.addmm(code_bias, hidden[:, len(bias2) :], code_weight)], 1)
