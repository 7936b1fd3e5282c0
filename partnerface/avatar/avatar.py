"""Avatar: the whole method on one page. Read this first.

HeadParameters --head_model--> PosedHead
rays --sampler--> samples in the occupied shell around the posed head, up to an opaque backstop
sample points --skinning--> canonical points        (inverse skinning by the closest surface point)
canonical points --deformation--> fine motion        (P local networks, softly weighted by part)
moved points --field--> density, rgb                 (canonical radiance field)
density, rgb --volume rendering--> head, over the torso layer
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from partnerface.avatar.canonical_map import MovedSamples, moved_samples
from partnerface.avatar.posed_frame import PosedFrame, head_pose
from partnerface.avatar.voxel_map import SampleBySample, voxels_of_picture
from partnerface.cameras.pinhole import Camera
from partnerface.cameras.rays import RayBundle, image_pixels, pixel_rays
from partnerface.compute.chunks import (
    cpu_threads,
    evenly_spread,
    in_smaller_chunks,
    map_chunks,
    rays_at_once,
)
from partnerface.data.sequence import TrackedSequence
from partnerface.deformation.deformation import CanonicalHead, Deformation
from partnerface.deformation.driving_signal import DrivingSignal
from partnerface.errors import UserError
from partnerface.fields.encodings import spherical_harmonics
from partnerface.fields.hash_field import HashField
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.rendering.rendered_rays import RenderedRays, join_rays, put_in_order, stack_frames
from partnerface.rendering.torso_layer import POSE_WIDTH, TorsoLayer
from partnerface.rendering.volume_rendering import accumulate, rendering_weights, scatter_samples
from partnerface.sampling.head_sampler import HeadRaySampler
from partnerface.sampling.occupancy import place_candidates
from partnerface.sampling.ray_samples import SampledRays
from partnerface.skinning.head_surface import head_surface
from partnerface.skinning.inverse_skinning import CanonicalPoints
from partnerface.skinning.nearest_surface import NearestSurface, PosedSurface

THINNEST_SHELL = 0.005
"""Metres: in a shell as thin as the samples' spacing a ray can slip between two samples."""


class Avatar(nn.Module):
    """An animatable head.

    Args:
        head_model: parametric head model (3DMM).
        skinning: observation space to canonical space.
        deformation: fine motion in canonical space.
        field: canonical radiance field; its appearance width must be the deformation's.
        sampler: where rays are evaluated.
        torso: the layer behind the head.
        warm_up: share of training with hard part assignment (stage 1).
        driving_noise: standard deviation of the noise on the driving signal in training.
        clamp_driving: keep the driving signal inside the range of the training frames.

    Raises:
        UserError: parts that do not fit together.
    """

    def __init__(
        self,
        head_model: HeadModel,
        skinning: NearestSurface,
        deformation: Deformation,
        field: HashField,
        sampler: HeadRaySampler,
        torso: TorsoLayer,
        warm_up: float = 0.15,
        driving_noise: float = 0.03,
        clamp_driving: bool = True,
    ) -> None:
        super().__init__()
        self.warm_up = warm_up
        self.head_model, self.skinning, self.deformation = head_model, skinning, deformation
        self.field, self.sampler, self.torso = field, sampler, torso
        self.driving = DrivingSignal(head_model.num_expression, driving_noise, clamp_driving)
        if deformation.driving_width != self.driving.width:
            raise UserError(
                f"--model.avatar.deformation.init_args.driving_width is {deformation.driving_width}, "
                f"but the head model gives {self.driving.width} values: set that"
            )
        if deformation.appearance_width != field.appearance_width:
            raise UserError(
                f"--model.avatar.field.init_args.appearance_width is {field.appearance_width}, "
                f"the deformation's is {deformation.appearance_width}: give both the same"
            )
        self.register_buffer("identity", torch.zeros(head_model.num_identity))
        self.register_buffer("thickness", torch.full((len(head_model.template_vertices),), 0.01))
        self.register_buffer("mean_pose", torch.zeros(POSE_WIDTH))
        self.register_buffer("cube_low", torch.zeros(3))
        self.register_buffer("cube_extent", torch.ones(()))
        self.register_load_state_dict_post_hook(_place_surface_after_loading)

    @torch.no_grad()
    def adapt_to(self, sequence: TrackedSequence) -> None:
        """Take identity, shell, part places and bounds from a sequence's training frames, before fit."""
        train = sequence.head.select(sequence.splits["train"]).to(self.identity.device)
        self.identity.zero_()[: len(train.identity)] = train.identity
        self.thickness.copy_(sequence.shell_thickness.clamp_min(THINNEST_SHELL))
        canonical = self._place_surface()
        used = self.skinning.faces.unique()
        surface, margin = canonical[used], self.thickness[used].max() + 0.01
        self.cube_low.copy_(surface.amin(0) - margin)
        self.cube_extent.copy_((surface.amax(0) - surface.amin(0)).max() + 2 * margin)
        self.driving.set_range(train)
        self.mean_pose.copy_(head_pose(train).mean(0))
        self.torso.neck_line.fill_(sequence.neck_line)
        cube = self.cube_low, self.cube_extent
        self.deformation.adapt_to(CanonicalHead(self.head_model, canonical, used, train.expression, *cube))
        place_candidates(self.sampler.occupancy, self.head_model, self.skinning, train)

    @torch.no_grad()
    def _place_surface(self) -> Tensor:
        """Rebuild what follows from identity and shell; returns canonical vertices ``[V, 3]``."""
        neutral = self.head_model.neutral_parameters().to(self.identity.device)
        neutral.identity = self.identity
        canonical = self.head_model(neutral).canonical_vertices
        surface = head_surface(self.head_model)
        self.skinning.set_surface(self.head_model.faces[surface], self.thickness)
        self.sampler.set_surface(self.head_model, canonical, surface, self.thickness)
        return canonical

    def forward(
        self,
        rays: RayBundle,
        head: HeadParameters,
        torso_motion: Tensor,
        *,
        frame_index: Tensor | None = None,
        with_parts: bool = False,
    ) -> RenderedRays:
        """Render R rays in each of F frames; ``torso_motion`` is ``[F, 2, 3]``.

        ``frame_index`` ``[F]`` names the training frames for methods that learn a code for each; here
        nothing belongs to a frame.
        """
        del frame_index
        frames = self.pose_frames(head, torso_motion)
        return stack_frames(
            [
                self.shade(self.sample(rays.frame(f), frame), frame, with_parts)
                for f, frame in enumerate(frames)
            ]
        )

    def pose_frames(self, head: HeadParameters, torso_motion: Tensor) -> list[PosedFrame]:
        """Pose and prepare frames; a thread must be done with them before it poses others."""
        posed, driving, pose = self.head_model(head), self.driving(head), head_pose(head)
        return [
            PosedFrame(
                bounds=self.sampler.bounds(posed, head.rotation[f], head.translation[f], f),
                surface=self.skinning.posed_surface(posed, f),
                head_rotation=posed.head_rotation[f].detach(),
                driving=driving[f],
                torso_motion=torso_motion[f],
                pose=pose[f] - self.mean_pose,
            )
            for f in range(len(head))
        ]

    def sample(self, rays: RayBundle, frame: PosedFrame) -> SampledRays:
        """Place samples on rays ``[1, R]`` of one posed frame."""
        return SampledRays.of(rays, self.sampler(rays.origins[0], rays.directions[0], frame.bounds))

    def carry(self, sampled: SampledRays, frame: PosedFrame, with_parts: bool = False) -> MovedSamples:
        """Carry samples to canonical space and give them their fine motion there."""
        canonical = self.skinning(sampled.points, frame.surface)
        kept = sampled.samples.evaluated(canonical.valid, canonical.faces >= 0).nonzero()[:, 0]
        points = self._canonical_points(canonical.select(kept), sampled.points[kept], frame.surface)
        positions = (points - self.cube_low) / self.cube_extent
        deformed = self.deformation(positions, frame.driving)
        return moved_samples(
            kept, sampled.samples.count, positions, deformed, self.deformation.parts, with_parts
        )

    def shade(self, sampled: SampledRays, frame: PosedFrame, with_parts: bool = False) -> RenderedRays:
        """Colour sampled rays of one posed frame."""
        rays, hit, samples = sampled.rays, sampled.hit, sampled.samples
        if frame.voxels is None or with_parts:
            moved = self.carry(sampled, frame, with_parts)
        else:
            moved = frame.voxels.carry(sampled)
        ray = torch.div(moved.kept, samples.count, rounding_mode="floor")
        view = spherical_harmonics(rays.directions[0, hit] @ frame.head_rotation)[ray]
        density, rgb = self.field(moved.positions, view, moved.appearance)
        weights = rendering_weights(scatter_samples(density, moved.kept, samples), samples)
        used = weights.reshape(-1)[moved.kept, None]
        torso_rgb, torso_opacity = self.torso(rays.pixels[0], frame.torso_motion, frame.pose)

        def per_ray(values: Tensor) -> Tensor:
            return values.new_zeros(len(rays.origins[0]), *values.shape[1:]).index_copy(0, hit, values)

        head_opacity = per_ray(weights.sum(1))
        head_rgb = per_ray(accumulate(used * rgb, ray, len(hit)))
        behind = (1 - head_opacity) * torso_opacity
        parts = moved.part_weights
        return RenderedRays(
            rgb=(head_rgb + behind[:, None] * torso_rgb)[None],
            opacity=(head_opacity + behind)[None],
            depth=per_ray((weights * samples.depths).sum(1))[None],
            head_opacity=head_opacity[None],
            offset_size=moved.offset_square * (1000 * self.cube_extent) ** 2,
            part_usage=moved.part_usage,
            part_entropy=moved.part_entropy,
            offset_roughness=moved.offset_roughness,
            part_weights=None if parts is None else per_ray(accumulate(used * parts, ray, len(hit)))[None],
        )

    def _canonical_points(self, canonical: CanonicalPoints, world: Tensor, surface: PosedSurface) -> Tensor:
        if surface.transforms.requires_grad:
            return self.skinning.follow_parameters(canonical, world, surface)
        return canonical.points

    @torch.no_grad()
    def refresh_occupancy(self, head: HeadParameters, visits: int) -> None:
        """Prune the learned grid: look at the density of ``visits`` random cells under one frame's pose."""
        grid = self.sampler.occupancy
        index, points = grid.draw_candidates(visits)
        frame = self.pose_frames(head, torch.eye(2, 3, device=points.device)[None])[0]
        canonical = self.skinning(points @ head.rotation[0].T + head.translation[0], frame.surface)
        inside = canonical.valid.nonzero()[:, 0]
        positions = (canonical.points[inside] - self.cube_low) / self.cube_extent
        density = torch.zeros(visits, device=points.device)
        density[inside] = self.field.density(positions)
        grid.visit(index, density)
        grid.refresh()

    def training_schedule(self, progress: float) -> None:
        """Stage 1 (hard parts) in the first share of training, then stage 2 (soft, joint)."""
        self.deformation.set_hard(progress < self.warm_up)
        self.deformation.set_progress(progress)

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
        """Render all pixels of one frame, listed row by row, ``chunk`` rays at once (what fits if None)."""
        pixels = image_pixels(camera.width, camera.height).to(head.rotation.device)
        rays = pixel_rays(camera, pixels[None])
        frame = self.pose_frames(head, torso_motion)[0]
        threads = cpu_threads(pixels.device)

        def in_chunks(size: int) -> RenderedRays:
            pieces = evenly_spread(len(pixels), size, threads)
            sampled = map_chunks(lambda piece: self.sample(rays.select(piece), frame), pieces, threads)
            if not with_parts:
                cube = self.cube_low, self.cube_extent
                exact = SampleBySample(self.skinning, self.deformation, frame.surface, frame.driving, cube)
                frame.voxels = voxels_of_picture(sampled, exact, frame.bounds, self.sampler.occupancy)
            shaded = map_chunks(lambda piece: self.shade(piece, frame, with_parts), sampled, threads)
            return put_in_order(join_rays(shaded), torch.cat(pieces))

        return in_smaller_chunks(in_chunks, chunk or rays_at_once(pixels.device))


def _place_surface_after_loading(avatar: Avatar, incompatible_keys: object) -> None:
    # torch takes a hook's return value for a mistake.
    avatar._place_surface()
