"""NeRFace (Gafni et al. 2021): rays in the rigid head frame, one large field conditioned on the expression.

HeadParameters --rigid pose--> rays in the head's frame, near and far from the head's box
rays --sampler--> 64 samples --coarse field--> weights --inverse CDF--> 64 more
128 samples --fine field (position, direction, expression, frame code)--> density, rgb
density, rgb --volume rendering--> head, over the torso layer
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from partnerface.avatar.method import AvatarMethod
from partnerface.compute.network_types import evaluated_in, network_type
from partnerface.compute.ranges import Between
from partnerface.data.sequence import TrackedSequence
from partnerface.data.view import View
from partnerface.fields.frequency_field import ConditionedField
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.rotations import rotation_vectors
from partnerface.rendering.rendered_rays import MethodOutput
from partnerface.rendering.torso_layer import TorsoLayer
from partnerface.rendering.volume_rendering import CompositedHead, composite_over_torso, render_head
from partnerface.sampling.ray_sampler import MarchedRays
from partnerface.sampling.uniform import RigidFrame, UniformSampler


@dataclass
class ConditionedFrames:
    """F frames, ready for rays.

    Attributes:
        bounds: the rigid head frames, in which rays are sampled.
        condition: ``[F, C]`` expression, joint rotations and frame code.
        torso: motion of the torso ``[F, 2, 3]`` and the head's pose relative to the mean of training
            ``[F, 6]``.
    """

    bounds: RigidFrame
    condition: Tensor
    torso: tuple[Tensor, Tensor]


class NeRFace(AvatarMethod):
    """One field of position, expression and frame code in the rigid head frame.

    The rigid pose is undone exactly; whatever else moves, the field must learn from the expression. It is
    also conditioned on the joints' rotations (gaze, and the jaw of head models that turn it). Each training
    frame has a learned code; evaluation uses their mean, so that nothing is fitted to a test frame.

    Args:
        head_model: parametric head model (3DMM): supplies the box and the width of the expression.
        sampler: samples of the first pass.
        torso: the layer behind the head.
        importance: samples that the second pass adds where the first found density.
        layers: hidden layers of each field.
        hidden_width: their width.
        code_width: length of a frame's code.
        bfloat16: evaluate the fields in bfloat16, several times faster where the processor has it; rays,
            encodings and compositing stay in float32.
        float16: the same in float16, for GPUs without bfloat16.

    Raises:
        UserError: the fields are to be evaluated in both.
    """

    sampler: UniformSampler
    is_training_frame: Tensor

    def __init__(
        self,
        head_model: HeadModel,
        sampler: UniformSampler,
        torso: TorsoLayer,
        importance: Between[int, 1, 4096] = 64,
        layers: Between[int, 1, 64] = 8,
        hidden_width: Between[int, 1, 4096] = 256,
        code_width: Between[int, 0, 4096] = 32,
        bfloat16: bool = False,
        float16: bool = False,
    ) -> None:
        super().__init__(head_model, sampler, torso)
        self.importance, self.network_type = importance, network_type(bfloat16, float16)
        width = head_model.num_expression + 3 * (head_model.num_joints - 1) + code_width
        self.coarse_field = ConditionedField(width, layers, hidden_width)
        self.fine_field = ConditionedField(width, layers, hidden_width)
        self.frame_codes = nn.Parameter(torch.zeros(0, code_width))
        self.register_buffer("is_training_frame", torch.zeros(0, dtype=torch.bool))
        self.register_load_state_dict_pre_hook(_resize_codes_before_loading)

    @torch.no_grad()
    def adapt_to(self, sequence: TrackedSequence) -> None:
        super().adapt_to(sequence)
        train = sequence.head.select(sequence.splits["train"]).to(self.identity.device)
        thickness = sequence.shell_thickness.to(self.identity.device)
        self.sampler.adapt_to(self.head_model, self.surface, thickness, train)
        self._resize_codes(len(sequence))
        self.is_training_frame[sequence.splits["train"]] = True

    def _resize_codes(self, frames: int) -> None:
        self.frame_codes = nn.Parameter(self.frame_codes.new_zeros(frames, self.frame_codes.shape[1]))
        self.is_training_frame = self.is_training_frame.new_zeros(frames)

    def rays_at_once(self, device: torch.device, exact: bool = False) -> int:
        # On a CPU 128 rays are 17 MB a layer, and enough chunks to keep every core busy to the end.
        return 128 if device.type == "cpu" else 4096

    def pose_frames(self, view: View, frame_index: Tensor | None = None) -> ConditionedFrames:
        head = view.head
        joints = rotation_vectors(head.joint_rotations[:, 1:].detach()).flatten(1)
        if frame_index is None:
            codes = self.frame_codes[self.is_training_frame].mean(0).nan_to_num(0.0).expand(len(head), -1)
        else:
            codes = self.frame_codes[frame_index]
        condition = torch.cat([head.expression, joints, codes], 1)
        rigid = RigidFrame(head.rotation, head.translation)
        return ConditionedFrames(rigid, condition, (view.torso_motion, self.relative_pose(head)))

    def shade(
        self, sampled: MarchedRays, frames: ConditionedFrames, with_parts: bool = False
    ) -> MethodOutput:
        """Both passes; the one part of this method takes all of the head's weight."""
        frame = sampled.frame
        world = sampled.of_hit(sampled.rays.origins), sampled.of_hit(sampled.rays.directions)
        rays = frames.bounds.rays(*world, frame)
        torso = self.torso(sampled.rays.image_uv, *frames.torso)
        condition = frames.condition, frame
        first = self._render(self.coarse_field, rays, sampled, condition, with_parts)
        finer = self.sampler.importance_samples(sampled.samples, first.weights, self.importance, rays)
        second = self._render(self.fine_field, rays, replace(sampled, samples=finer), condition, with_parts)
        return MethodOutput(composite_over_torso(second, torso), coarse=composite_over_torso(first, torso))

    def _render(
        self,
        field: ConditionedField,
        rays: tuple[Tensor, Tensor],
        sampled: MarchedRays,
        condition: tuple[Tensor, Tensor],
        with_parts: bool,
    ) -> CompositedHead:
        """Evaluate a field on the samples of rays ``[M, 3]`` in the rigid head frame and composite them."""
        (origins, directions), samples = rays, sampled.samples
        low, high = self.sampler.low, self.sampler.high
        points = origins[:, None] + directions[:, None] * samples.depths[..., None]
        positions = (points - low) / (high - low).max()
        with evaluated_in(self.network_type, positions.device):
            density, rgb = field(positions, directions, *condition)
        every = torch.arange(density.numel(), device=density.device)
        one_part = density.new_ones(len(every), 1) if with_parts else None
        return render_head(density.flatten(), rgb.flatten(0, 1), every, sampled, one_part)


def _resize_codes_before_loading(avatar: NeRFace, state: dict, prefix: str, *args: object) -> None:
    codes = state.get(f"{prefix}frame_codes")
    if codes is not None and len(codes) != len(avatar.frame_codes):
        avatar._resize_codes(len(codes))
