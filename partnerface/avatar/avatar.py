"""Avatar: the whole method on one page, in the steps that `forward` takes. Read this first.

HeadParameters --head_model--> PosedHead
rays --sampler--> samples in the occupied shell around the posed head, up to an opaque backstop
samples --canonical map: skinning--> canonical points      (inverse skinning by the closest surface point)
        --canonical map: deformation--> moved points       (P local networks, softly weighted by part)
moved points --field--> density, rgb                       (canonical radiance field)
density, rgb --volume rendering--> head, over the torso layer
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from partnerface.avatar.canonical_map import ExactMap, PreparedFrame, canonical_points_of_pixels
from partnerface.avatar.method import AvatarMethod
from partnerface.avatar.voxel_map import picture_map
from partnerface.compute.ranges import Between
from partnerface.data.sequence import TrackedSequence
from partnerface.data.view import View
from partnerface.deformation.deformation import CanonicalCube, CanonicalHead, Deformation
from partnerface.deformation.driving_signal import DrivingSignal
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
        clamp_driving: keep the driving signal inside the range of the training frames.
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
    ) -> None:
        super().__init__(head_model, sampler, torso)
        self.skinning, self.warm_up, self.cube = skinning, warm_up, CanonicalCube()
        self.driving = DrivingSignal(head_model.num_expression, driving_noise, clamp_driving)
        self.deformation = deformation(self.driving.width)
        self.field = field(self.deformation.appearance_width)
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

    def pose_frames(self, view: View, frame_index: Tensor | None = None) -> list[PreparedFrame]:
        head, posed, driving = view.head, self.head_model(view.head), self.driving(view.head)
        relative_pose, frames = self.relative_pose(head), []
        for f in range(len(view)):
            bounds = self.sampler.bounds(posed, head.rotation[f], head.translation[f], f)
            surface = self.skinning.posed_surface(posed, f)
            exact = ExactMap(self.skinning, self.deformation, surface, driving[f], self.cube)
            pose = head.rotation[f].detach(), head.translation[f].detach()
            torso = view.torso_motion[f], relative_pose[f]
            frames.append(PreparedFrame(bounds, exact, exact, pose, posed.head_rotation[f].detach(), torso))
        return frames

    def shade(self, sampled: MarchedRays, frame: PreparedFrame, with_parts: bool = False) -> MethodOutput:
        samples, hit = sampled.samples, sampled.hit
        moved = frame.canonical_map(sampled, with_parts)
        directions = self.field.encode_directions(sampled.rays.directions[0, hit] @ frame.view_rotation)
        directions = directions[torch.div(moved.kept, samples.count, rounding_mode="floor")]
        density, rgb = self.field(moved.positions, directions, moved.appearance)
        head = render_head(density, rgb, moved.kept, samples, moved.part_weights)
        torso = self.torso(sampled.rays.image_uv[0], *frame.torso)
        return MethodOutput(composite_over_torso(head, samples, hit, torso), moved.statistics)

    def for_picture(
        self, frame: PreparedFrame, bundles: Sequence[MarchedRays], with_parts: bool
    ) -> PreparedFrame:
        faster = picture_map(frame.exact, bundles, frame.pose, self.sampler.occupancy, with_parts)
        return replace(frame, canonical_map=faster)

    def training_schedule(self, progress: float) -> None:
        """Stage 1 (hard parts) in the first share of training, then stage 2 (soft, joint)."""
        self.deformation.set_hard(progress < self.warm_up)
        self.deformation.set_progress(progress)

    @torch.no_grad()
    def refresh_occupancy(self, view: View, visits: int) -> None:
        frame, grid = self.pose_frames(view)[0], self.sampler.occupancy
        if grid is not None:
            grid.update(visits, lambda points: self.density_at(points, frame))

    def density_at(self, points: Tensor, frame: PreparedFrame) -> Tensor:
        """``[N]`` density per metre at points ``[N, 3]`` of the rigid head frame, without the fine motion."""
        canonical = self.skinning(points @ frame.pose[0].T + frame.pose[1], frame.exact.surface)
        inside = canonical.valid.nonzero()[:, 0]
        density = points.new_zeros(len(points))
        density[inside] = self.field.density(self.cube(canonical.points[inside]))
        return density

    def canonical_surface(self, view: View, depth: Tensor) -> Tensor:
        return canonical_points_of_pixels(self.pose_frames(view)[0].exact, view, depth)

    def grid_parameters(self) -> Iterable[torch.nn.Parameter]:
        return self.field.grid_parameters()

    @property
    def parts(self) -> int:
        return self.deformation.parts
