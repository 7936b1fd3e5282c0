"""The texture of an avatar's head: colours of the radiance field at its texels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from partnerface.avatar.avatar import Avatar
from partnerface.avatar.picture import image_bytes
from partnerface.export.head_colours import HeadColours, revealing_views
from partnerface.export.head_mesh import HeadMesh
from partnerface.export.surface_colours import Progress
from partnerface.meshes.normals import SurfacePoints


def baked_texture(avatar: Avatar, mesh: HeadMesh, size: int, progress: Progress = iter) -> np.ndarray:
    """``[size, size, 3]`` uint8 texture of an avatar's head for the mesh's texture coordinates."""
    texels, device = mesh.texels(size), avatar.identity.device
    mask = texels.mask
    corners = mesh.model_faces[texels.faces[mask]].to(device)
    points = SurfacePoints(corners, texels.barycentric[mask].to(device))
    rgb = HeadColours(avatar, revealing_views(avatar)).at(points, progress).rgb.cpu()
    image = torch.zeros(3, size, size)
    image[:, mask] = rgb.T
    return image_bytes(filled(image, mask[None].float()))


def filled(image: Tensor, known: Tensor) -> Tensor:
    """Fill unknown pixels, between the charts of a texture, smoothly from the known ones.

    Pull-push (Gortler et al. 1996).

    Args:
        image: ``[C, H, W]``.
        known: ``[1, H, W]`` 1 where it is known, else 0, or a share in between.
    """
    height, width = known.shape[1:]
    if min(height, width) <= 1 or bool((known >= 1).all()):
        return image
    smaller = functional.avg_pool2d(torch.cat([image * known, known])[None], 2, ceil_mode=True)[0]
    share = smaller[-1:]
    colour = smaller[:-1] / share.clamp_min(1e-9)
    coarse = filled(colour, (4 * share).clamp_max(1))
    coarse = functional.interpolate(coarse[None], (height, width), mode="bilinear", align_corners=False)[0]
    return known * image + (1 - known) * coarse
