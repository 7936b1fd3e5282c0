"""NeRFace (Gafni et al. 2021): rays in the rigid head frame, one large field that hears the expression.

HeadParameters --rigid pose--> rays in the head's frame, near and far from the head's box
rays --sampler--> 64 samples --coarse field--> weights --inverse CDF--> 64 more
128 samples --fine field (position, direction, expression, frame code)--> density, rgb
density, rgb --volume rendering--> head, over the same torso layer as ours
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pytorch3d.transforms import matrix_to_axis_angle
from torch import Tensor, nn

from partnerface.avatar.avatar import Avatar
from partnerface.avatar.posed_frame import head_pose
from partnerface.cameras.pinhole import Camera
from partnerface.cameras.rays import RayBundle, image_pixels, pixel_rays
from partnerface.compute.chunks import cpu_threads, map_chunks
from partnerface.data.sequence import TrackedSequence
from partnerface.deformation.global_deformation import NoDeformation
from partnerface.fields.conditioned_field import ConditionedField
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.losses.coarse_photometric import HierarchicalRays
from partnerface.rendering.rendered_rays import RenderedRays, join_rays, stack_frames
from partnerface.rendering.torso_layer import POSE_WIDTH, TorsoLayer
from partnerface.rendering.volume_rendering import rendering_weights
from partnerface.sampling.hierarchical import HierarchicalSampler
from partnerface.sampling.ray_samples import RaySamples
from partnerface.skinning.head_surface import head_surface

BOX_MARGIN = 0.02
"""Metres around the shell of the training frames."""


@dataclass
class RigidFrame:
    """One frame, ready for rays.

    Attributes:
        rotation: ``[3, 3]`` rigid head, head to world.
        translation: ``[3]`` metres.
        condition: ``[C]`` expression, joint rotations and frame code.
        torso_motion: ``[2, 3]`` image coordinates to those of the reference torso image.
        pose: ``[POSE_WIDTH]`` the head's pose relative to the mean of training.
    """

    rotation: Tensor
    translation: Tensor
    condition: Tensor
    torso_motion: Tensor
    pose: Tensor


class NeRFace(Avatar):
    """Stands in for an `Avatar` wherever one is trained, evaluated or timed.

    The rigid pose is undone exactly; whatever else moves, one field must learn from the expression. It
    also hears the joints' rotations (gaze, and the jaw of head models that turn it). Each training frame
    has a learned code; evaluation uses their mean, so that nothing is fitted to a test frame.

    Args:
        head_model: parametric head model (3DMM): supplies the box and the width of the expression.
        deformation: none; configurations of head models that size it fit this method too.
        sampler: where rays are evaluated.
        torso: the layer behind the head.
        layers: hidden layers of each field.
        hidden_width: their width.
        code_width: length of a frame's code.
        bfloat16: evaluate the fields in bfloat16, several times faster where the processor has it; rays,
            encodings and compositing stay in float32.
    """

    def __init__(
        self,
        head_model: HeadModel,
        deformation: NoDeformation,
        sampler: HierarchicalSampler,
        torso: TorsoLayer,
        layers: int = 8,
        hidden_width: int = 256,
        code_width: int = 32,
        bfloat16: bool = False,
    ) -> None:
        nn.Module.__init__(self)
        self.bfloat16 = bfloat16
        self.head_model, self.deformation, self.sampler, self.torso = head_model, deformation, sampler, torso
        width = head_model.num_expression + 3 * (head_model.num_joints - 1) + code_width
        self.coarse_field = ConditionedField(width, layers, hidden_width)
        self.fine_field = ConditionedField(width, layers, hidden_width)
        self.frame_codes = nn.Parameter(torch.zeros(0, code_width))
        self.register_buffer("is_training_frame", torch.zeros(0, dtype=torch.bool))
        self.register_buffer("mean_pose", torch.zeros(POSE_WIDTH))
        self.register_load_state_dict_pre_hook(_resize_codes_before_loading)

    @torch.no_grad()
    def adapt_to(self, sequence: TrackedSequence) -> None:
        """Take box, codes and mean pose from a sequence's training frames, before fit."""
        train = sequence.head.select(sequence.splits["train"]).to(self.mean_pose.device)
        used = self.head_model.faces[head_surface(self.head_model)].unique()
        rigid = (self.head_model(train).vertices[:, used] - train.translation[:, None]) @ train.rotation
        margin = sequence.shell_thickness[used.to(sequence.shell_thickness.device)].max() + BOX_MARGIN
        self.sampler.low.copy_(rigid.amin((0, 1)) - margin)
        self.sampler.high.copy_(rigid.amax((0, 1)) + margin)
        self.mean_pose.copy_(head_pose(train).mean(0))
        self.torso.neck_line.fill_(sequence.neck_line)
        self._resize_codes(len(sequence))
        self.is_training_frame[sequence.splits["train"]] = True

    def _resize_codes(self, frames: int) -> None:
        self.frame_codes = nn.Parameter(self.frame_codes.new_zeros(frames, self.frame_codes.shape[1]))
        self.is_training_frame = self.is_training_frame.new_zeros(frames)

    def forward(
        self,
        rays: RayBundle,
        head: HeadParameters,
        torso_motion: Tensor,
        *,
        frame_index: Tensor | None = None,
        with_parts: bool = False,
    ) -> HierarchicalRays:
        """Render R rays in each of F frames, with the codes of training frames ``frame_index`` ``[F]``."""
        frames = self.pose_frames(head, torso_motion, frame_index)
        passes = [self._render_passes(rays.frame(f), frame, with_parts) for f, frame in enumerate(frames)]
        coarse, fine = (stack_frames(list(rendered)) for rendered in zip(*passes, strict=True))
        return HierarchicalRays(**vars(fine), coarse=coarse)

    def pose_frames(
        self, head: HeadParameters, torso_motion: Tensor, frame_index: Tensor | None = None
    ) -> list[RigidFrame]:
        """Prepare frames; without ``frame_index`` they take the mean code of the training frames."""
        joints = matrix_to_axis_angle(head.joint_rotations[:, 1:].detach()).flatten(1)
        if frame_index is None:
            codes = self.frame_codes[self.is_training_frame].mean(0).nan_to_num(0.0).expand(len(head), -1)
        else:
            codes = self.frame_codes[frame_index]
        condition = torch.cat([head.expression, joints, codes], 1)
        pose = head_pose(head) - self.mean_pose
        return [
            RigidFrame(head.rotation[f], head.translation[f], condition[f], torso_motion[f], pose[f])
            for f in range(len(head))
        ]

    def render_rays(self, rays: RayBundle, frame: RigidFrame, with_parts: bool = False) -> RenderedRays:
        """Render rays ``[1, R]`` of one prepared frame."""
        return self._render_passes(rays, frame, with_parts)[1]

    def _render_passes(
        self, rays: RayBundle, frame: RigidFrame, with_parts: bool
    ) -> tuple[RenderedRays, RenderedRays]:
        """Coarse and fine."""
        origins = (rays.origins[0] - frame.translation) @ frame.rotation
        directions = rays.directions[0] @ frame.rotation
        coarse, near, far = self.sampler(origins, directions)
        hit = coarse.hit.nonzero()[:, 0]
        inside = origins[hit], directions[hit]
        coarse = coarse.select(hit)
        torso = self.torso(rays.pixels[0], frame.torso_motion, frame.pose)
        weights, rgb = self._evaluate(self.coarse_field, *inside, coarse, frame)
        first = self._composite(weights, rgb, coarse, hit, torso, with_parts)
        fine = self.sampler.refined(coarse, weights.detach(), near[hit], far[hit])
        weights, rgb = self._evaluate(self.fine_field, *inside, fine, frame)
        return first, self._composite(weights, rgb, fine, hit, torso, with_parts)

    def _evaluate(
        self,
        field: ConditionedField,
        origins: Tensor,
        directions: Tensor,
        samples: RaySamples,
        frame: RigidFrame,
    ) -> tuple[Tensor, Tensor]:
        """Rendering weights ``[R, S]`` and rgb ``[R, S, 3]`` of the samples of rays ``[R, 3]``."""
        low, high = self.sampler.low, self.sampler.high
        points = origins[:, None] + directions[:, None] * samples.depths[..., None]
        positions = (points - low) / (high - low).max()
        with torch.autocast(positions.device.type, torch.bfloat16, enabled=self.bfloat16):
            density, rgb = field(positions, directions, frame.condition)
        return rendering_weights(density, samples), rgb

    def _composite(
        self,
        weights: Tensor,
        rgb: Tensor,
        samples: RaySamples,
        hit: Tensor,
        torso: tuple[Tensor, Tensor],
        with_parts: bool,
    ) -> RenderedRays:
        torso_rgb, torso_opacity = torso

        def per_ray(values: Tensor) -> Tensor:
            return values.new_zeros(len(torso_rgb), *values.shape[1:]).index_copy(0, hit, values)

        head_opacity = per_ray(weights.sum(1))
        behind = (1 - head_opacity) * torso_opacity
        return RenderedRays(
            rgb=(per_ray((weights[..., None] * rgb).sum(1)) + behind[:, None] * torso_rgb)[None],
            opacity=(head_opacity + behind)[None],
            depth=per_ray((weights * samples.depths).sum(1))[None],
            head_opacity=head_opacity[None],
            offset_size=weights.new_zeros(()),
            part_usage=weights.new_ones(1),
            part_weights=head_opacity[None, :, None] if with_parts else None,
        )

    def refresh_occupancy(self, head: HeadParameters, visits: int) -> None:
        """Nothing: the samples follow the coarse field, not a grid."""

    def training_schedule(self, progress: float) -> None:
        """Nothing: there is one stage."""

    @torch.no_grad()
    def render_image(
        self,
        camera: Camera,
        head: HeadParameters,
        torso_motion: Tensor,
        *,
        with_parts: bool = False,
        chunk: int | None = None,
    ) -> RenderedRays:
        """Render all pixels of one frame in chunks of rays, by default as many as the device likes."""
        on_cpu = head.rotation.device.type == "cpu"
        pixels = image_pixels(camera.width, camera.height).to(head.rotation.device)
        rays = pixel_rays(camera, pixels[None])
        frame = self.pose_frames(head, torso_motion)[0]
        # On a CPU 128 rays are 17 MB a layer, and enough chunks to keep every core busy to the end.
        chunk = chunk or (128 if on_cpu else 4096)
        pieces = [rays.select(slice(k, k + chunk)) for k in range(0, len(pixels), chunk)]

        def render(piece: RayBundle) -> RenderedRays:
            return self.render_rays(piece, frame, with_parts)

        return join_rays(map_chunks(render, pieces, cpu_threads(pixels.device)))


def _resize_codes_before_loading(avatar: NeRFace, state: dict, prefix: str, *args: object) -> None:
    codes = state.get(f"{prefix}frame_codes")
    if codes is not None and len(codes) != len(avatar.frame_codes):
        avatar._resize_codes(len(codes))
