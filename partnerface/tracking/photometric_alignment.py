"""Photometric alignment: sub-pixel head poses that agree on one texture of the face.

A landmark detector errs with the pose (its points creep by more than a pixel as the head nods), and its
residual does not show it. The skin itself does: points of the surface must look the same in every
frame. Each round averages a texture over the clip and moves every frame's rigid pose towards it
(Gauss-Newton on the inverse problem of Lucas and Kanade 1981, over a head model instead of a window).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from kornia.filters import gaussian_blur2d, spatial_gradient
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.head_parts import head_parts
from partnerface.rendering.mesh_rasterizer import vertex_normals
from partnerface.rendering.surface_points import SurfacePoints, spread_points

WORKING_SIZE = 256
DETAIL_SIGMA = 1.0
LIGHT_SIGMA = 6.0
"""Pixels at the working size: structure between the two is compared, light and shade are not."""

GRAZING_COSINE = 0.3
OUTLIER = 0.5
"""Residual, in local standard deviations of the image, beyond which a point loses weight."""

CHUNK_FRAMES = 50
CONTRAST_LEVELS = 30.0

SAMPLES_PER_INDEPENDENT = 8.0
"""Neighbouring points share image structure: this many count as one measurement."""


@dataclass(frozen=True)
class AlignmentSettings:
    """How far and how often poses are moved.

    Attributes:
        rounds: averages of the texture.
        steps: Gauss-Newton steps in each round.
        spacing_m: distance between the surface points.
        rotation_sigma: standard deviation of the correction, in radians.
        shift_sigma: the same across the view, in metres.
        depth_sigma: the same along the view: the picture says little about it.
    """

    rounds: int = 4
    steps: int = 2
    spacing_m: float = 0.005
    rotation_sigma: float = 0.03
    shift_sigma: float = 0.004
    depth_sigma: float = 0.0015


def local_contrast(luminance: Tensor) -> Tensor:
    """Images ``[T, H, W]`` without light and shade: band-passed and divided by the local deviation."""
    images = luminance[:, None]

    def blur(values: Tensor, sigma: float) -> Tensor:
        size = 2 * round(2.5 * sigma) + 1
        return gaussian_blur2d(values, (size, size), (sigma, sigma), "replicate")

    detail = blur(images, DETAIL_SIGMA) - blur(images, LIGHT_SIGMA)
    deviation = (blur(detail.square(), LIGHT_SIGMA) + 1e-4).sqrt()
    return (detail / deviation)[:, 0]


@torch.no_grad()
def align_poses(
    luminance: Tensor,
    camera: Camera,
    head: HeadParameters,
    frame_weights: Tensor,
    head_model: HeadModel,
    settings: AlignmentSettings | None = None,
    on_round: Callable[[int], None] | None = None,
) -> HeadParameters:
    """Correct the rigid pose of every tracked frame.

    Args:
        luminance: ``[T, H, W]`` uint8.
        camera: ``T`` cameras at the size of these images.
        head: ``T`` fitted head parameters.
        frame_weights: ``[T]``; frames of weight 0 keep their pose.
        head_model: the fitted head model.
        settings: see `AlignmentSettings`.
        on_round: called with the number of each finished round.
    """
    settings = settings or AlignmentSettings()
    points = _stable_skin(head_model, head.identity, settings.spacing_m)
    chunks = [
        _Chunk.of(frames, luminance, camera, head, frame_weights, head_model, points)
        for frames in torch.arange(len(head)).split(CHUNK_FRAMES)
    ]
    for number in range(settings.rounds):
        totals = [chunk.texture_sums() for chunk in chunks]
        weight = sum(total[1] for total in totals)
        texture = sum(total[0] for total in totals) / weight.clamp_min(1e-6)
        seen_often = (weight > 0.1 * frame_weights.sum()).float()
        for chunk in chunks:
            chunk.move_towards(texture, seen_often, settings)
        if on_round is not None:
            on_round(number + 1)
    return replace(
        head,
        rotation=torch.cat([chunk.rotation for chunk in chunks]),
        translation=torch.cat([chunk.translation for chunk in chunks]),
    )


@dataclass
class _Chunk:
    """Some frames of the clip. Long clips do not fit in memory as floats with gradients.

    Attributes:
        contrast: ``[T, H, W]`` int8, in units of 1 / `CONTRAST_LEVELS`.
        camera: their cameras.
        local: ``[T, Q, 3]`` points with expression in the head's rest space.
        normals: ``[T, Q, 3]``.
        weights: ``[T]``.
        first_rotation, first_translation: the poses of the landmark fit.
        rotation, translation: the poses now.
    """

    contrast: Tensor
    camera: Camera
    local: Tensor
    normals: Tensor
    weights: Tensor
    first_rotation: Tensor
    first_translation: Tensor
    rotation: Tensor
    translation: Tensor

    @classmethod
    def of(
        cls,
        frames: Tensor,
        luminance: Tensor,
        camera: Camera,
        head: HeadParameters,
        frame_weights: Tensor,
        head_model: HeadModel,
        points: SurfacePoints,
    ) -> _Chunk:
        contrast = local_contrast(luminance[frames].float() / 255)
        some = head.select(frames)
        local, normals = _rest_points(head_model, some, points)
        return cls(
            contrast=(contrast * CONTRAST_LEVELS).clamp(-127, 127).to(torch.int8),
            camera=camera.select(frames),
            local=local,
            normals=normals,
            weights=frame_weights[frames, None],
            first_rotation=some.rotation,
            first_translation=some.translation,
            rotation=some.rotation,
            translation=some.translation,
        )

    def planes(self) -> Tensor:
        """Contrast and its gradients per pixel ``[T, 3, H, W]``."""
        images = self.contrast[:, None].float() / CONTRAST_LEVELS
        return torch.cat([images, spatial_gradient(images, "diff")[:, 0]], 1)

    def texture_sums(self) -> tuple[Tensor, Tensor]:
        """Weighted sum ``[Q]`` of what the points show, and the weight ``[Q]``."""
        planes = self.contrast[:, None].float() / CONTRAST_LEVELS
        pixels, _, visible = _project(self.camera, self.local, self.normals, self.rotation, self.translation)
        weight = visible * self.weights
        shown = _sample(planes, pixels)[..., 0]
        return (weight * shown).sum(0), weight.sum(0)

    def move_towards(self, texture: Tensor, seen_often: Tensor, settings: AlignmentSettings) -> None:
        """Gauss-Newton steps of each pose towards the texture ``[Q]``."""
        planes = self.planes()
        for _ in range(settings.steps):
            pixels, world, visible = _project(
                self.camera, self.local, self.normals, self.rotation, self.translation
            )
            shown = _sample(planes, pixels)
            residual = shown[..., 0] - texture
            weight = visible * seen_often / (1 + (residual / OUTLIER).square())
            jacobian = _pose_jacobian(self.camera, shown[..., 1:], world, self.translation)
            turned = self.rotation @ self.first_rotation.transpose(1, 2)
            moved = (turned, self.translation - self.first_translation)
            turn, shift = _solve(jacobian, residual, weight, moved, settings)
            self.rotation = axis_angle_to_matrix(turn * self.weights) @ self.rotation
            self.translation = self.translation + shift * self.weights


def _stable_skin(head_model: HeadModel, identity: Tensor, spacing: float) -> SurfacePoints:
    """Points on the skin of the face that neither blinks nor speaks."""
    weights = head_parts(head_model, identity).weights
    restless = torch.stack([weights[name] for name in ("eyes", "mouth", "scalp", "ears", "neck", "torso")])
    stable = (restless.amax(0) < 0.3) & (head_model.head_weights() > 0.99)
    faces = head_model.faces[head_model.part_faces("skin")]
    return spread_points(head_model.identity_vertices(identity), faces[stable[faces].all(1)], spacing)


def _rest_points(head_model: HeadModel, head: HeadParameters, points: SurfacePoints) -> tuple[Tensor, Tensor]:
    """Points ``[T, Q, 3]`` with expression in the head's rest space, and their normals ``[T, Q, 3]``."""
    neutral = head_model.identity_vertices(head.identity)
    local, normals = [], []
    for frame in range(len(head)):
        vertices = neutral + head_model.expression_offsets(head.expression[frame : frame + 1])[0]
        local.append(points.of(vertices))
        normals.append(points.of(vertex_normals(vertices, head_model.faces)))
    return torch.stack(local), functional.normalize(torch.stack(normals), dim=-1)


def _project(
    camera: Camera, local: Tensor, normals: Tensor, rotation: Tensor, translation: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels ``[T, Q, 2]``, world points ``[T, Q, 3]`` and visibility ``[T, Q]`` in [0, 1]."""
    world = local @ rotation.transpose(1, 2) + translation[:, None]
    pixels, _ = camera.project(world)
    towards = functional.normalize(camera.camera_to_world[:, None, :, 3] - world, dim=-1)
    cosine = ((normals @ rotation.transpose(1, 2)) * towards).sum(-1)
    size = torch.tensor([camera.width, camera.height]).to(pixels)
    inside = ((pixels >= 0) & (pixels < size)).all(-1)
    return pixels, world, ((cosine - GRAZING_COSINE) / (1 - GRAZING_COSINE)).clamp(0, 1) * inside


def _sample(planes: Tensor, pixels: Tensor) -> Tensor:
    """Planes ``[T, C, H, W]`` at pixels ``[T, Q, 2]`` as ``[T, Q, C]``."""
    size = torch.tensor([planes.shape[3], planes.shape[2]]).to(pixels)
    grid = (2 * pixels / size - 1)[:, None]
    values = functional.grid_sample(planes, grid, align_corners=False, padding_mode="border")
    return values[:, :, 0].transpose(1, 2)


def _pose_jacobian(camera: Camera, gradient: Tensor, world: Tensor, translation: Tensor) -> Tensor:
    """Derivative ``[T, Q, 6]`` of the image under each point by the pose, in world axes.

    The first three columns are a rotation about the head's origin, the others a translation;
    ``gradient`` ``[T, Q, 2]`` is the image's, per pixel.
    """
    seen = camera.world_to_camera(world)
    slope = gradient * camera.intrinsics[:, None, :2] / seen[..., 2:]
    along = -(slope * seen[..., :2]).sum(-1, keepdim=True) / seen[..., 2:]
    by_place = torch.cat([slope, along], -1) @ camera.camera_to_world[:, :, :3].transpose(1, 2)
    by_turn = torch.linalg.cross(world - translation[:, None], by_place)
    return torch.cat([by_turn, by_place], -1)


def _solve(
    jacobian: Tensor,
    residual: Tensor,
    weight: Tensor,
    moved: tuple[Tensor, Tensor],
    settings: AlignmentSettings,
) -> tuple[Tensor, Tensor]:
    """One damped Gauss-Newton step per frame: rotation ``[T, 3]`` and translation ``[T, 3]``."""
    # The residual's own spread scales the prior, so that a blurred clip leans on the landmarks.
    count = weight.sum(1).clamp_min(1e-6)
    variance = ((weight * residual.square()).sum(1) / count).clamp_min(1e-4)
    normal = torch.einsum("tq,tqi,tqj->tij", weight, jacobian, jacobian) / variance[:, None, None]
    slope = torch.einsum("tq,tqi,tq->ti", weight, jacobian, residual) / variance[:, None]
    sigma = torch.tensor([settings.rotation_sigma] * 3 + [settings.shift_sigma] * 2 + [settings.depth_sigma])
    precision = sigma.to(jacobian).square().reciprocal() * SAMPLES_PER_INDEPENDENT
    turned, shifted = moved
    skew = 0.5 * (turned - turned.transpose(1, 2))
    so_far = torch.cat([torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], -1), shifted], 1)
    step = torch.linalg.solve(normal + torch.diag(precision), -(slope + precision * so_far))
    return step[:, :3], step[:, 3:]
