"""The texture of the face, averaged over a clip, and each frame's residuals to it.

Without light and shade a point of the skin looks alike in every frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parts import head_parts
from partnerface.meshes.normals import SurfacePoints, spread_points
from partnerface.tracking.alignment.pose_step import project_points, sample_planes

DETAIL_SIGMA = 1.0
LIGHT_SIGMA = 6.0
"""Pixels at the working size: structure between the two is compared, light and shade are not."""
OUTLIER = 0.5
"""Residual, in local standard deviations of the image, beyond which a point loses weight."""
CONTRAST_LEVELS = 30.0


def local_contrast(luminance: Tensor) -> Tensor:
    """Images ``[T, H, W]`` without light and shade: band-passed and divided by the local deviation."""
    images = luminance[:, None]

    def blur(values: Tensor, sigma: float) -> Tensor:
        size = 2 * round(2.5 * sigma) + 1
        return gaussian_blur2d(values, (size, size), (sigma, sigma), "replicate")

    detail = blur(images, DETAIL_SIGMA) - blur(images, LIGHT_SIGMA)
    deviation = (blur(detail.square(), LIGHT_SIGMA) + 1e-4).sqrt()
    return (detail / deviation)[:, 0]


def stable_skin(head_model: HeadModel, identity: Tensor, spacing: float) -> SurfacePoints:
    """Points, ``spacing`` metres apart, on the skin of the face that neither blinks nor speaks."""
    weights = head_parts(head_model, identity).weights
    restless = torch.stack([weights[name] for name in ("eyes", "mouth", "scalp", "ears", "neck", "torso")])
    stable = (restless.amax(0) < 0.3) & (head_model.head_weights() > 0.99)
    faces = head_model.faces[head_model.part_faces("skin")]
    return spread_points(head_model.identity_vertices(identity), faces[stable[faces].all(1)], spacing)


def contrast_images(luminance: Tensor) -> Tensor:
    """Local contrast ``[T, H, W]`` int8 of uint8 images, in units of 1 / `CONTRAST_LEVELS`."""
    contrast = local_contrast(luminance.float() / 255)
    return (contrast * CONTRAST_LEVELS).clamp(-127, 127).to(torch.int8)


def texture_sums(
    contrast: Tensor,
    camera: Camera,
    points: Tensor,
    normals: Tensor,
    rotation: Tensor,
    translation: Tensor,
    frame_weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """Weighted sum ``[Q]`` of what points show in T frames, and the weight ``[Q]``.

    ``contrast`` ``[T, H, W]`` is from `contrast_images`; points and normals ``[T, Q, 3]`` are in the head's
    rest space, rotation ``[T, 3, 3]`` and translation ``[T, 3]`` head to world.
    """
    pixels, _, visible = project_points(camera, points, normals, rotation, translation)
    weight = visible * frame_weights[:, None]
    shown = sample_planes(contrast[:, None].float() / CONTRAST_LEVELS, pixels)[..., 0]
    return (weight * shown).sum(0), weight.sum(0)


@dataclass
class TextureResiduals:
    """What points show against what they show on average.

    Attributes:
        values: ``[T, Q]`` difference.
        weights: ``[T, Q]`` inverse variances, 0 where a point is not seen. The residual's own spread in a
            frame scales them, so that a blurred clip leans on its landmarks.
        gradient: ``[T, Q, 2]`` the image's, per pixel.
        world: ``[T, Q, 3]`` the points.
    """

    values: Tensor
    weights: Tensor
    gradient: Tensor
    world: Tensor

    def equations(self, jacobian: Tensor) -> tuple[Tensor, Tensor]:
        """Normal matrix ``[T, n, n]`` and slope ``[T, n]`` of the squares, by ``jacobian`` ``[T, Q, n]``."""
        weighted = self.weights[..., None] * jacobian
        return weighted.transpose(1, 2) @ jacobian, (weighted * self.values[..., None]).sum(1)


def texture_residuals(
    planes: Tensor,
    camera: Camera,
    points: Tensor,
    normals: Tensor,
    rotation: Tensor,
    translation: Tensor,
    texture: Tensor,
    seen_often: Tensor,
) -> TextureResiduals:
    """Compare T frames with a texture ``[Q]``.

    ``planes`` are those of `with_gradient`, ``seen_often`` ``[Q]`` is 1 where the texture can be trusted;
    the other arguments are those of `texture_sums`.
    """
    pixels, world, visible = project_points(camera, points, normals, rotation, translation)
    shown = sample_planes(planes, pixels)
    residual = shown[..., 0] - texture
    weight = visible * seen_often / (1 + (residual / OUTLIER).square())
    count = weight.sum(1).clamp_min(1e-6)
    variance = ((weight * residual.square()).sum(1) / count).clamp_min(1e-4)
    return TextureResiduals(residual, weight / variance[:, None], shown[..., 1:], world)


def average_texture(sums: list[tuple[Tensor, Tensor]], frame_weights: Tensor) -> tuple[Tensor, Tensor]:
    """What each point shows ``[Q]``, and 1 where enough frames saw it ``[Q]``, from their `texture_sums`."""
    weight = sum(total[1] for total in sums)
    texture = sum(total[0] for total in sums) / weight.clamp_min(1e-6)
    return texture, (weight > 0.1 * frame_weights.sum()).float()


def with_gradient(contrast: Tensor) -> Tensor:
    """Contrast and its central differences per pixel along x and y: ``[T, 3, H, W]``, edges 0."""
    planes = torch.zeros(len(contrast), 3, *contrast.shape[1:])
    images = contrast.float() / CONTRAST_LEVELS
    planes[:, 0] = images
    torch.sub(images[:, :, 2:], images[:, :, :-2], out=planes[:, 1, :, 1:-1]).mul_(0.5)
    torch.sub(images[:, 2:], images[:, :-2], out=planes[:, 2, 1:-1]).mul_(0.5)
    return planes
