"""What a film shows of each picture: colours, depth, normals or parts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from partnerface.avatar.background import Background
from partnerface.avatar.method import AvatarMethod
from partnerface.avatar.picture import Picture, image_bytes
from partnerface.cameras.pinhole import Camera, image_pixels, pixel_rays
from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.evaluation.pictures import part_map

CHANNELS = ("rgb", "depth", "normals", "parts")

DEPTH_BEFORE_M, DEPTH_BEHIND_M = 0.15, 0.05
"""The colours of depth are spread over so many metres before and behind the head's origin."""

FARTHEST_MM = 65535

LARGEST_STEP_M = 0.03
"""Metres between neighbours of a pixel: more is an outline, not a slope."""


def parse_channels(text: str) -> tuple[str, ...]:
    """The channels of a list with commas between them.

    Raises:
        UserError: there is no such channel, or one is named twice.
    """
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in CHANNELS:
            meant = difflib.get_close_matches(name, CHANNELS, 1)
            ending = f"; did you mean {meant[0]}?" if meant else ""
            raise UserError(
                f"--channels {text}: no channel {name!r}; choose from {', '.join(CHANNELS)}{ending}"
            )
    if len(set(names)) < len(names):
        raise UserError(f"--channels {text}: a channel is named twice")
    return names


def require_parts(channels: Sequence[str], avatar: AvatarMethod) -> None:
    """Refuse the part map of a method without parts.

    Raises:
        UserError: it is requested and there are none.
    """
    if "parts" in channels and avatar.parts < 2:
        raise UserError("--channels parts: this avatar's method has no parts; leave that channel out")


def channel_image(
    channel: str, picture: Picture, view: View, background: Background, as_data: bool
) -> np.ndarray:
    """One channel of a picture as pixels to write.

    Args:
        channel: ``rgb``, ``depth``, ``normals`` or ``parts``.
        picture: what was rendered.
        view: what it shows (F = 1).
        background: behind ``rgb``.
        as_data: depth as numbers rather than as colours.

    Returns:
        uint8 ``[H, W, 3]``, or ``[H, W, 4]`` before a transparent background. Depth as data is uint16
        ``[H, W]`` millimetres along the ray, 0 where there is no head. Normals n are (n + 1) / 2, in the
        camera's axes (x right, y down, z away from it).
    """
    if channel == "rgb":
        return background.behind(picture)
    if channel == "normals":
        return image_bytes((depth_normals(picture.depth, view.camera) + 1) / 2)
    if channel == "parts":
        assert picture.part_weights is not None
        return image_bytes(part_map(picture.part_weights))
    if as_data:
        millimetres = (1000 * picture.depth).round().clamp(0, FARTHEST_MM)
        return millimetres.cpu().numpy().astype(np.uint16)
    return depth_colours(picture, view)


def depth_normals(depth: Tensor, camera: Camera) -> Tensor:
    """``[3, H, W]`` unit normals of a depth picture, in the camera's axes, towards the camera.

    They are those of the plane through a pixel's four neighbours; zero where one of them has no head, or lies
    more than `LARGEST_STEP_M` before or behind another.

    Args:
        depth: ``[H, W]`` metres along the rays, 0 where there is no head.
        camera: F = 1, of the picture.
    """
    height, width = depth.shape
    pixels = image_pixels(width, height, depth.device)
    local = pixel_rays(camera, pixels[None]).directions[0] @ camera.camera_to_world[0, :, :3]
    points = local.view(height, width, 3) * depth[..., None]
    right, left = points[1:-1, 2:], points[1:-1, :-2]
    below, above = points[2:, 1:-1], points[:-2, 1:-1]
    found = functional.normalize(torch.linalg.cross(below - above, right - left), dim=-1)
    around = torch.stack([depth[1:-1, 2:], depth[1:-1, :-2], depth[2:, 1:-1], depth[:-2, 1:-1]])
    surface = (around > 0).all(0) & (around.amax(0) - around.amin(0) < LARGEST_STEP_M)
    normals = depth.new_zeros(height, width, 3)
    normals[1:-1, 1:-1] = found * surface[..., None]
    return normals.permute(2, 0, 1)


def depth_colours(picture: Picture, view: View) -> np.ndarray:
    """``[H, W, 3]`` uint8: near is red, far is blue, no head is black.

    The colours belong to distances from the head's origin, so that they do not flicker from frame to frame.
    """
    centre = view.camera.camera_to_world[0, :, 3]
    origin = (view.head.translation[0] - centre).norm()
    near = ((origin + DEPTH_BEHIND_M - picture.depth) / (DEPTH_BEFORE_M + DEPTH_BEHIND_M)).clamp(0, 1)
    colours = matplotlib.colormaps["turbo"](near.cpu().numpy())[..., :3]
    seen = (picture.depth > 0).cpu().numpy()[..., None]
    return np.where(seen, np.round(255 * colours), 0).astype(np.uint8)


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two uint8 pictures in one, the left one scaled to the height of the other; opaque where it must be."""
    height = right.shape[0]
    width = max(round(left.shape[1] * height / left.shape[0]), 1)
    scaled = np.array(Image.fromarray(left).resize((width, height), Image.Resampling.LANCZOS))
    if right.shape[2] == 4:
        scaled = np.concatenate([scaled, np.full_like(scaled[..., :1], 255)], 2)
    return np.concatenate([scaled, right], 1)
