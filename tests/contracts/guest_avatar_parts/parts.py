"""The simplest parts that hold their contracts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from partnerface.data.batches.datasets import RayBatch
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.sequence import SequenceReader, TrackedSequence
from partnerface.deformation.deformation import Deformation, DeformedPoints
from partnerface.evaluation.image_metric import ImageMetric
from partnerface.fields.radiance_field import RadianceField
from partnerface.head_models.head_model import HeadModel, PosedHead
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.losses.loss import Loss
from partnerface.rendering.rendered_rays import MethodOutput
from partnerface.sampling.ray_sampler import RaySampler, RaySamples
from partnerface.skinning.inverse_skinning import CanonicalPoints, InverseSkinning


class Flow(Deformation):
    """One hidden layer of position and driving signal."""

    def __init__(self, driving_width: int, size: float = 0.01) -> None:
        super().__init__()
        self.driving_width, self.size = driving_width, size
        self.of_position, self.of_driving = nn.Linear(3, 8), nn.Linear(driving_width, 8, bias=False)
        self.out = nn.Linear(8, 3, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, positions: Tensor, driving: Tensor, frame: Tensor) -> DeformedPoints:
        hidden = torch.tanh(self.of_position(positions) + self.of_driving(driving)[frame])
        one = positions.new_ones(len(positions), 1)
        return DeformedPoints(self.size * self.out(hidden), None, one, torch.zeros_like(one).long())


class Waves(RadianceField):
    """A layer of sines with heads for density and colour."""

    def __init__(self, appearance_width: int, waves: int = 32) -> None:
        super().__init__()
        self.appearance_width = appearance_width
        self.waves, self.density_head = nn.Linear(3, waves), nn.Linear(waves, 1)
        self.colour_head = nn.Linear(waves + 3 + appearance_width, 3)

    def density(self, positions: Tensor) -> Tensor:
        return 100 * functional.softplus(self.density_head(self._features(positions))[:, 0])

    def forward(
        self, positions: Tensor, directions: Tensor, appearance: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        inputs = [self._features(positions), directions] + ([] if appearance is None else [appearance])
        return self.density(positions), self.colour_head(torch.cat(inputs, 1)).sigmoid()

    def _features(self, positions: Tensor) -> Tensor:
        return torch.sin(12 * self.waves(positions))


class Ball(RaySampler):
    """Samples a ball around the heads of the training frames."""

    def __init__(self, samples: int = 12) -> None:
        super().__init__()
        self.samples = samples
        self.register_buffer("centre", torch.zeros(3))
        self.register_buffer("radius", torch.ones(()))

    def adapt_to(
        self, head_model: HeadModel, surface: Tensor, thickness: Tensor, train: HeadParameters
    ) -> None:
        used = head_model.faces[surface].unique()
        rigid = (head_model(train).vertices[:, used] - train.translation[:, None]) @ train.rotation
        self.centre.copy_((rigid.amin((0, 1)) + rigid.amax((0, 1))) / 2)
        self.radius.copy_((rigid - self.centre).norm(dim=-1).max() + thickness.max())

    def bounds(self, head: PosedHead, rotation: Tensor, translation: Tensor) -> Tensor:
        """``[F, 3]`` the centres in the world."""
        return rotation @ self.centre + translation

    def forward(self, origins: Tensor, directions: Tensor, frame: Tensor, bounds: Tensor) -> RaySamples:
        towards = bounds[frame] - origins
        along = (towards * directions).sum(1)
        beside = towards.square().sum(1) - along.square()
        half = (self.radius.square() - beside).clamp_min(0).sqrt()
        near, far = (along - half).clamp_min(0), along + half
        hit = far > near + 1e-6
        within = torch.full((len(origins), self.samples), 0.5, device=origins.device)
        if self.training and torch.is_grad_enabled():
            within = torch.rand_like(within)
        step = (far - near).clamp_min(0)[:, None] / self.samples
        depths = near[:, None] + (torch.arange(self.samples, device=origins.device) + within) * step
        return RaySamples(depths, step.expand_as(depths), torch.zeros_like(hit), hit)


@dataclass
class PosedVertices:
    """The surface's vertices ``[F, U, 3]`` in F frames, with their transforms and displacements."""

    vertices: Tensor
    transforms: Tensor
    displacements: Tensor


class NearestVertex(InverseSkinning):
    """A point goes with its nearest vertex."""

    def __init__(self, margin_m: float = 0.002, at_once: int = 1024) -> None:
        super().__init__()
        self.margin_m, self.at_once = margin_m, at_once
        self.register_buffer("used", torch.zeros(0, dtype=torch.long), persistent=False)
        self.register_buffer("corner", torch.zeros(0, dtype=torch.long), persistent=False)

    def set_surface(self, faces: Tensor, thickness: Tensor) -> None:
        super().set_surface(faces, thickness)
        self.used, number = faces.unique(return_inverse=True)
        corner = torch.arange(faces.numel(), device=faces.device)
        self.corner = torch.zeros_like(self.used).scatter(0, number.reshape(-1), corner)

    def posed_surface(self, head: PosedHead) -> PosedVertices:
        values = (head.vertices, head.vertex_transforms, head.displacements)
        return PosedVertices(*(value[:, self.used] for value in values))

    @torch.no_grad()
    def forward(self, points: Tensor, frame: Tensor, surface: PosedVertices) -> CanonicalPoints:
        distance = points.new_zeros(len(points))
        vertex = torch.zeros(len(points), dtype=torch.long, device=points.device)
        for number, vertices in enumerate(surface.vertices):
            for piece in (frame == number).nonzero()[:, 0].split(self.at_once):
                gaps = torch.cdist(points[piece], vertices, compute_mode="donot_use_mm_for_euclid_dist")
                distance[piece], vertex[piece] = gaps.min(1)
        reach = self.thickness[self.used[vertex]]
        near = distance <= reach + self.margin_m
        corner = self.corner[vertex]
        barycentric = functional.one_hot(corner % 3, 3).to(points)
        return CanonicalPoints(
            points=torch.where(near[:, None], self._carried(points, vertex, frame, surface), 0.0),
            valid=distance <= reach,
            distance=torch.where(near, distance, torch.inf),
            faces=torch.where(near, torch.div(corner, 3, rounding_mode="floor"), -1),
            barycentric=torch.where(near[:, None], barycentric, 0.0),
        )

    def with_gradient(
        self, canonical: CanonicalPoints, points: Tensor, frame: Tensor, surface: PosedVertices
    ) -> Tensor:
        if not surface.transforms.requires_grad:
            return canonical.points
        vertex = self.faces[canonical.faces, canonical.barycentric.argmax(1)]
        return self._carried(points, torch.searchsorted(self.used, vertex), frame, surface)

    def _carried(self, points: Tensor, vertex: Tensor, frame: Tensor, surface: PosedVertices) -> Tensor:
        number = frame * len(self.used) + vertex
        transform = surface.transforms.flatten(2).flatten(0, 1).index_select(0, number).view(-1, 3, 4)
        rest = torch.linalg.solve(transform[..., :3], points - transform[..., 3])
        return rest - surface.displacements.flatten(0, 1).index_select(0, number)


class SquaredOpacity(Loss):
    """Mean squared difference of opacity and matte."""

    def forward(self, rendered: MethodOutput, batch: RayBatch) -> Tensor:
        return (rendered.rays.opacity - batch.alpha).square().mean()


class MedianError(ImageMetric):
    """Median absolute error."""

    higher_is_better = False
    ideal = 0.0
    definition = "median absolute error over the region's pixels and channels"

    def per_image(self, rendered: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        error = (rendered - target).abs()
        return (error if mask is None else error[:, mask]).median()


class EverySecondFrame(SequenceReader):
    """Every second frame of a dataset."""

    def __init__(self, folder: str) -> None:
        self.root = Path(folder)

    def read(self) -> TrackedSequence:
        whole = PartnerfaceReader(self.root).read()
        frames = list(range(0, len(whole), 2))
        files = {
            name: [getattr(whole, name)[f] for f in frames]
            for name in ("image_paths", "matte_paths", "label_paths")
        }
        splits = {name: [f // 2 for f in members if f % 2 == 0] for name, members in whole.splits.items()}
        changed = {
            "camera": whole.camera.select(frames),
            "head": whole.head.select(frames),
            "frame_weights": whole.frame_weights[frames],
            "torso_motion": whole.torso_motion[frames],
            "splits": {name: members for name, members in splits.items() if members},
            "fps": whole.fps / 2,
        }
        return TrackedSequence(**{**vars(whole), **files, **changed})
