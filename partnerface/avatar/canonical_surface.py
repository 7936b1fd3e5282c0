"""Where the surface that an avatar shows lies in canonical space."""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.avatar.avatar import Avatar
from partnerface.avatar.voxel_map import SampleBySample
from partnerface.cameras.pinhole import Camera
from partnerface.cameras.rays import image_pixels, pixel_rays
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.skinning.nearest_surface import BEYOND_SEARCH


@torch.no_grad()
def canonical_surface(
    avatar: Avatar, camera: Camera, head: HeadParameters, torso_motion: Tensor, depth: Tensor
) -> Tensor | None:
    """``[H, W, 3]`` canonical place of each pixel, metres: inverse skinning and fine motion of the point
    at its depth.

    NaN where there is no head, and where that point lies far outside the shell: at an inner outline, such
    as between nose and cheek, the depth of a pixel is a mean of both. None for a method that has no
    canonical head (NeRFace).

    Args:
        avatar: in evaluation mode.
        camera: camera of the frame.
        head: parameters of the frame.
        torso_motion: ``[1, 2, 3]``.
        depth: ``[H, W]`` metres along the ray, 0 where there is no head.
    """
    if not hasattr(avatar, "skinning"):
        return None
    seen = depth.reshape(-1) > 0
    rays = pixel_rays(camera, image_pixels(camera.width, camera.height).to(depth)[None]).select(seen)
    points = rays.origins[0] + rays.directions[0] * depth.reshape(-1)[seen, None]
    frame = avatar.pose_frames(head, torso_motion)[0]
    cube = avatar.cube_low, avatar.cube_extent
    exact = SampleBySample(avatar.skinning, avatar.deformation, frame.surface, frame.driving, cube)
    values, _ = exact.values(points)
    places = torch.full((depth.numel(), 3), torch.nan, device=depth.device)
    places[seen] = torch.where(values[:, 3:4] > BEYOND_SEARCH, values[:, :3], torch.nan)
    return places.view(*depth.shape, 3)
