"""Avatar: the whole method on one page: `pose_frames`, then `sample`, then `shade`. Read this first.

HeadParameters --head_model--> PosedHead
rays --sampler--> samples in the occupied shell around the posed head, up to an opaque backstop
samples --canonical map: skinning--> canonical points      (inverse skinning by the closest surface point)
        --canonical map: deformation--> moved points       (P parts, each with a local network, blended)
moved points --field--> density, rgb                       (canonical radiance field)
density, rgb --volume rendering--> head, over the torso layer
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from partnerface.avatar.canonical_map import ExactMap, PreparedFrames, canonical_points_of_pixels, first_frame
from partnerface.avatar.method import AvatarMethod
from partnerface.avatar.voxel_map import picture_map
from partnerface.compute.ranges import Between
from partnerface.data.sequence import TrackedSequence
from partnerface.data.view import View
from partnerface.deformation.deformation import CanonicalCube, CanonicalHead, Deformation
from partnerface.deformation.driving_signal import Damping, DrivingSignal, rotation_against_torso
from partnerface.deformation.surface_shape import PosedNormals
from partnerface.fields.lit_field import SHAPE_WIDTH
from partnerface.fields.radiance_field import RadianceField
from partnerface.head_models.head_model import HeadModel
from partnerface.rendering.rendered_rays import MethodOutput
from partnerface.rendering.torso_layer import TorsoLayer
from partnerface.rendering.volume_rendering import composite_over_torso, render_head
from partnerface.sampling.ray_sampler import MarchedRays, RaySampler
from partnerface.skinning.inverse_skinning import InverseSkinning

THINNEST_SHELL = 0.005
"""Metres: in a shell as thin as the samples' spacing a ray can slip between two samples."""


class Avatar(AvatarMethod):
    """An animatable head: inverse skinning, part deformation and a canonical radiance field.

    Args:
        head_model: parametric head model (3DMM).
        skinning: observation space to canonical space.
        deformation: makes the fine motion in canonical space, from the length of the driving signal.
        field: makes the canonical radiance field, from the length of the deformation's appearance code.
        sampler: where rays are evaluated.
        torso: the layer behind the head.
        warm_up: share of training with hard part assignment (stage 1).
        driving_noise: standard deviation of the noise on the driving signal in training.
        clamp_driving: keep each number of the driving signal inside the range of the training frames.
        damp_driving: keep several of them together near the training frames, see `DrivingSignal`.
        shading: give the field the shape of the skin under the fine motion before the appearance code, see
            `surface_shape`; for a `LitField`.
    """

    thickness: Tensor

    def __init__(
        self,
        head_model: HeadModel,
        skinning: InverseSkinning,
        deformation: Callable[[int], Deformation],
        field: Callable[[int], RadianceField],
        sampler: RaySampler,
        torso: TorsoLayer,
        warm_up: Between[float, 0, 1] = 0.15,
        driving_noise: Between[float, 0, 10] = 0.03,
        clamp_driving: bool = True,
        damp_driving: Damping = "none",
        shading: bool = False,
    ) -> None:
        super().__init__(head_model, sampler, torso)
        self.skinning, self.warm_up, self.cube = skinning, warm_up, CanonicalCube()
        self.driving = DrivingSignal(head_model.num_expression, driving_noise, clamp_driving, damp_driving)
        self.deformation = deformation(self.driving.width)
        self.shading = shading
        self.field = field(self.deformation.appearance_width + SHAPE_WIDTH * shading)
        self.register_buffer("thickness", torch.full((len(head_model.template_vertices),), 0.01))

    @torch.no_grad()
    def adapt_to(self, sequence: TrackedSequence) -> None:
        super().adapt_to(sequence)
        train = sequence.head.select(sequence.splits["train"]).to(self.identity.device)
        self.thickness.copy_(sequence.shell_thickness.clamp_min(THINNEST_SHELL))
        canonical = self.place_surface()
        used = self.skinning.faces.unique()
        self.cube.enclose(canonical[used], self.thickness[used].max() + 0.01)
        self.driving.set_range(train)
        head = CanonicalHead(self.head_model, canonical, used, train.expression, self.cube)
        self.deformation.adapt_to(head)
        self.sampler.adapt_to(self.head_model, self.surface, self.thickness, train)

    @torch.no_grad()
    def place_surface(self) -> Tensor:
        canonical = super().place_surface()
        self.skinning.set_surface(self.head_model.faces[self.surface], self.thickness)
        self.sampler.set_surface(self.head_model, canonical, self.surface, self.thickness)
        return canonical

    def pose_frames(self, view: View, frame_index: Tensor | None = None) -> PreparedFrames:
        head, posed, turn = view.head, self.head_model(view.head), rotation_against_torso(view.head)
        bounds = self.sampler.bounds(posed, head.rotation, head.translation)
        surface = self.skinning.posed_surface(posed)
        normals = PosedNormals.of(posed, self.head_model.faces, view.camera) if self.shading else None
        driving = self.driving(head, turn)
        exact = ExactMap(self.skinning, self.deformation, surface, driving, self.cube, normals)
        pose = head.rotation.detach(), head.translation.detach()
        torso = view.torso_motion, self.relative_pose(head, turn)
        return PreparedFrames(bounds, exact, exact, pose, posed.head_rotation.detach(), torso)

    def shade(self, sampled: MarchedRays, frames: PreparedFrames, with_parts: bool = False) -> MethodOutput:
        directions = sampled.of_hit(torch.bmm(sampled.rays.directions, frames.view_rotation))
        moved = frames.canonical_map(sampled, with_parts)
        directions = sampled.of_samples(self.field.encode_directions(directions), moved.kept)
        density, rgb = self.field.in_pieces(moved.positions, directions, moved.appearance)
        density = density if moved.solid is None else density * moved.solid
        head = render_head(density, rgb, moved.kept, sampled, moved.part_weights)
        torso = self.torso(sampled.rays.image_uv, *frames.torso)
        return MethodOutput(composite_over_torso(head, torso), moved.statistics)

    def for_picture(
        self, frames: PreparedFrames, bundles: Sequence[MarchedRays], with_parts: bool
    ) -> PreparedFrames:
        if self.shading:
            return frames  # voxels are coarser than folds
        pose = frames.pose[0][0], frames.pose[1][0]
        faster = picture_map(frames.exact, bundles, pose, self.sampler.occupancy, with_parts)
        return replace(frames, canonical_map=faster)

    def rays_at_once(self, device: torch.device, exact: bool = False) -> int:
        return super().rays_at_once(device, exact or self.shading)

    def scale_parts(self, gains: Tensor | None) -> None:
        self.deformation.scale_parts(gains)

    def training_schedule(self, progress: float) -> bool:
        """Stage 1 (hard parts, true) in the first share of training, then stage 2 (soft, joint)."""
        self.deformation.set_hard(progress < self.warm_up)
        self.deformation.set_progress(progress)
        return progress < self.warm_up and self.parts > 1

    @torch.no_grad()
    def refresh_occupancy(self, view: View, visits: int) -> None:
        frames, grid = self.pose_frames(view), self.sampler.occupancy
        if grid is not None:
            grid.update(visits, lambda points: self.density_at(points, frames))

    def density_at(self, points: Tensor, frames: PreparedFrames) -> Tensor:
        """``[N]`` density per metre at points ``[N, 3]`` of the rigid head (F = 1), without fine motion."""
        world = points @ frames.pose[0][0].T + frames.pose[1][0]
        canonical = self.skinning(world, first_frame(world), frames.exact.surface)
        inside, density = canonical.valid.nonzero()[:, 0], points.new_zeros(len(points))
        density[inside] = self.field.density(self.cube(canonical.points[inside]))
        return density

    def canonical_surface(self, view: View, depth: Tensor) -> Tensor:
        return canonical_points_of_pixels(self.pose_frames(view).exact, view, depth)

    def canonical_offsets(self, view: View, points: Tensor) -> Tensor:
        return self.pose_frames(view).exact.offsets(points)

    def grid_parameters(self) -> Iterable[torch.nn.Parameter]:
        return self.field.grid_parameters()

    @property
    def parts(self) -> int:
        return self.deformation.parts
