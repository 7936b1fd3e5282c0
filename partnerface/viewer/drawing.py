"""What a page shows of a picture: colour, parts, depth or normals, the head model's edges, and its frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from partnerface.avatar.picture import Picture, image_bytes
from partnerface.data.view import View
from partnerface.evaluation.pictures import depth_map, part_colours
from partnerface.head_models.head_model import HeadModel

CHANNELS = ("Colour", "Parts", "Depth", "Normals")
PART_TINT = 0.7
"""Share of a part's colour; the rest is the grey of the picture, so that the face can be recognised."""

EDGE_COLOUR = (20, 90, 200, 110)
HIDDEN_M = 0.012
"""Metres behind the rendered surface beyond which a vertex is hidden by it."""


def channel_image(
    picture: Picture, channel: str, background: Tensor, highlighted: Sequence[int] = ()
) -> np.ndarray:
    """``[H, W, 3]`` uint8 of one of `CHANNELS`, over a colour ``[3]`` in [0, 1].

    Of the parts only the ``highlighted`` ones have their colour, if there are any.
    """
    colour = picture.over(background)
    if channel == "Parts" and picture.part_weights is not None:
        weights = picture.part_weights
        colours = part_colours(weights.shape[-1]).to(weights)
        if highlighted:
            shown = torch.zeros_like(colours[:, 0])
            shown[list(highlighted)] = 1
            weights = weights * shown
        covered = PART_TINT * weights.sum(-1).clamp(0, 1)
        grey = colour.mean(0)
        tint = (weights @ colours).permute(2, 0, 1) * (0.5 + 0.5 * grey)
        return image_bytes(PART_TINT * tint + (1 - covered) * colour)
    if channel == "Depth":
        return image_bytes(
            torch.where(picture.depth > 0, depth_map(picture.depth), background[:, None, None])
        )
    if channel == "Normals":
        # The colours of normal maps: x right, y up, z towards the camera.
        normals = picture.normals
        axes = normals.new_tensor([1.0, -1.0, -1.0])[:, None, None]
        seen = normals.square().sum(0) > 0
        return image_bytes(torch.where(seen, (axes * normals + 1) / 2, background[:, None, None]))
    return image_bytes(colour)


@dataclass
class Frame:
    """Where a picture stands in the part of a browser's window that the page has for it.

    Attributes:
        canvas: width and height of that part in pixels.
        box: left, top, right and bottom of the picture in it.
    """

    canvas: tuple[int, int]
    box: tuple[int, int, int, int]

    @classmethod
    def around(cls, width: int, height: int, aspect: float) -> Frame:
        """The largest picture of an aspect (width by height) in the middle of a canvas.

        At the top of an upright one: on a phone the controls cover what is below.
        """
        wide, high = min(width, round(height * aspect)), min(height, round(width / aspect))
        left, top = (width - wide) // 2, (height - high) // 2 if width > height else 0
        return cls((width, height), (left, top, left + max(wide, 1), top + max(high, 1)))

    def pixel(self, place: tuple[float, float], size: tuple[int, int]) -> tuple[int, int] | None:
        """Column and row in a picture of a width and height of a place in the canvas, both from 0 to 1.

        None outside the picture.
        """
        left, top, right, bottom = self.box
        across = (place[0] * self.canvas[0] - left) / (right - left)
        down = (place[1] * self.canvas[1] - top) / (bottom - top)
        inside = 0 <= across < 1 and 0 <= down < 1
        return (int(across * size[0]), int(down * size[1])) if inside else None

    def filled(self, image: np.ndarray, background: tuple[int, int, int]) -> Image.Image:
        """The canvas with a picture ``[H, W, 3]`` in its box and a colour around it."""
        left, top, right, bottom = self.box
        shown = Image.fromarray(image).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
        canvas = Image.new("RGB", self.canvas, background)
        canvas.paste(shown, (left, top))
        return canvas

    def draw_edges(self, canvas: Image.Image, pixels: np.ndarray, size: tuple[int, int]) -> None:
        """Draw lines ``[N, 2, 2]`` given in pixels of a picture of a width and height."""
        left, top, right, bottom = self.box
        lines = pixels * ((right - left) / size[0], (bottom - top) / size[1]) + (left, top)
        inside = ((lines >= (left, top)) & (lines < (right, bottom))).all((1, 2))
        draw = ImageDraw.Draw(canvas, "RGBA")
        for line in lines[inside].round().astype(int).reshape(-1, 4).tolist():
            draw.line(line, fill=EDGE_COLOUR)


@torch.no_grad()
def visible_edges(head_model: HeadModel, view: View, depth: Tensor) -> np.ndarray:
    """``[N, 2, 2]`` both ends, in pixels of the view, of the posed head model's edges that are seen.

    Edges of faces that look away are hidden, and those behind the rendered surface.

    Args:
        head_model: the avatar's.
        view: F = 1.
        depth: ``[H, W]`` metres along the rays, 0 where there is no head.
    """
    faces = head_model.faces[head_model.part_faces("skin", "eye_left", "eye_right")]
    if not len(faces):
        faces = head_model.faces
    vertices = head_model(view.head).vertices
    pixels = view.camera.project(vertices)[0][0]
    local = view.camera.world_to_camera(vertices)[0]
    corners = local[faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    seen = faces[(normals * corners.mean(1)).sum(1) < 0]
    height, width = depth.shape
    column, row = pixels.long().unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (local[:, 2] > 0)
    surface = depth[row.clamp(0, height - 1), column.clamp(0, width - 1)]
    front = inside & ((surface == 0) | (local.norm(dim=1) < surface + HIDDEN_M))
    edges = torch.cat([seen[:, [0, 1]], seen[:, [1, 2]], seen[:, [2, 0]]]).sort(1).values.unique(dim=0)
    return pixels[edges[front[edges].all(1)]].cpu().numpy()
