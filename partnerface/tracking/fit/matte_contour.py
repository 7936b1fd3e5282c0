"""The matte's contour as a target for cheeks and jaw, where the face itself is the outline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.landmark_geometry import CHIN, OUTER_EYE_CORNERS, LandmarkGeometry, vertex_points
from partnerface.tracking.fit.terms import geman_mcclure, pseudo_huber
from partnerface.tracking.fit.variables import FitVariables

ROWS = 24
SEARCH_PX = 18.0
CONTOUR_DEPTH_M = 0.083
"""The contour of the face reaches this far behind the outer eye corners: it stops short of the ears."""
BAND_MARGIN_M = 0.06
CONTOUR_FRAMES_AT_ONCE = 50


@dataclass
class ContourTargets:
    """Where the matte's edge lies beside the outermost vertex of each row.

    Attributes:
        frames: ``[M]`` frame of each target.
        points: ``[M]`` row of `MatteContour.points`.
        pixels: ``[M, 2]`` the matte's edge.
        normals: ``[M, 2]`` unit vectors out of the face.
        gaps: ``[M]`` signed distance of the edge from the vertex in pixels, positive outwards.
        usable: share of rows that have a target.
    """

    frames: Tensor
    points: Tensor
    pixels: Tensor
    normals: Tensor
    gaps: Tensor
    usable: float


class MatteContour:
    """Rows between eye line and chin, turned with the head; the outermost skin vertex on either side.

    A row counts where that vertex belongs to cheek or jaw (not to the neck or the back of the head)
    and the matte has an edge within 18 pixels. Edges inside the mesh pull firmly; far ones outside
    it (hair, ears) do not pull at all.

    Args:
        head_model: gives the skin and its skinning weights.
        landmarks: give eye line and chin.
        mattes: ``[T, H, W]`` uint8, 255 is the person.
        pixel_scale: image pixels times this are the pixels of `partnerface.tracking.fit.terms`.
    """

    def __init__(
        self, head_model: HeadModel, landmarks: LandmarkGeometry, mattes: Tensor, pixel_scale: float
    ) -> None:
        self.mattes = mattes
        self.pixel_scale = pixel_scale
        self.landmarks = landmarks
        self.eye_rows = landmarks.rows(OUTER_EYE_CORNERS)
        skin = _band(head_model, landmarks, self.eye_rows)
        self.points = vertex_points(head_model, skin)
        self.candidates = _cheek_and_jaw(head_model, skin, landmarks, self.eye_rows)

    def find(self, variables: FitVariables, rotation: Tensor, expression: Tensor) -> ContourTargets:
        """Targets for the present state of the fit."""
        with torch.no_grad():
            parts = [
                self._find(variables, rotation, expression, slice(i, i + CONTOUR_FRAMES_AT_ONCE))
                for i in range(0, len(rotation), CONTOUR_FRAMES_AT_ONCE)
            ]
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        return ContourTargets(*columns, usable=len(columns[0]) / (len(rotation) * 2 * ROWS))

    def _find(
        self, variables: FitVariables, rotation: Tensor, expression: Tensor, frames: slice
    ) -> tuple[Tensor, ...]:
        """Tensors of `ContourTargets` for some frames."""
        rotation, expression = rotation[frames], expression[frames]
        offset = variables.translation[frames, None]
        rest = variables.rest_points(self.points, expression, frames)
        pixels = variables.project(rest @ rotation.transpose(1, 2) + offset)
        eyes = self.landmarks.points.select(torch.tensor(self.eye_rows))
        eye_rest = variables.rest_points(eyes, expression, frames)
        eye_line = variables.project(eye_rest @ rotation.transpose(1, 2) + offset).mean(1)
        down = functional.normalize(rotation[:, :2, 1] * rotation.new_tensor([-1.0, 1.0]), dim=1)
        right = torch.stack([down[:, 1], -down[:, 0]], 1)
        outermost, found = self._outermost(pixels, eye_line, down, right)
        corners = pixels.gather(1, outermost.flatten(1)[..., None].expand(-1, -1, 2)).unflatten(1, (2, ROWS))
        side = rotation.new_tensor([-1.0, 1.0])
        normals = (right[:, None] * side[:, None])[:, :, None].expand_as(corners)
        gaps, edge = matte_edges(self.mattes[frames], corners, normals, SEARCH_PX / self.pixel_scale)
        frame, lateral, row = torch.where(found & edge)
        gap, normal = gaps[frame, lateral, row], normals[frame, lateral, row]
        pixels = corners[frame, lateral, row] + gap[:, None] * normal
        return frame + frames.start, outermost[frame, lateral, row], pixels, normal, gap

    def _outermost(
        self, pixels: Tensor, eye_line: Tensor, down: Tensor, right: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Outermost vertex ``[F, 2, ROWS]`` per side and row, and whether it is cheek or jaw."""
        centred = pixels - eye_line[:, None]
        along = (centred * down[:, None]).sum(-1)
        across = (centred * right[:, None]).sum(-1)
        chin = along[:, self.candidates].amax(1, keepdim=True)
        row = (along / chin * ROWS).floor().long()
        inside = (row >= 0) & (row < ROWS)
        row = row.clamp(0, ROWS - 1)
        outermost = torch.zeros(len(pixels), 2, ROWS, dtype=torch.long, device=pixels.device)
        found = torch.zeros_like(outermost, dtype=torch.bool)
        for side, sign in ((0, -1.0), (1, 1.0)):
            reach = torch.where(inside, across * sign, torch.full_like(across, -1e9))
            best = torch.full((len(pixels), ROWS), -1e9, device=pixels.device)
            best = best.scatter_reduce(1, row, reach, "amax")
            frame, vertex = torch.where(inside & (reach >= best.gather(1, row)))
            outermost[frame, side, row[frame, vertex]] = vertex
            found[:, side] = best > -1e8
        return outermost, found & self.candidates[outermost]

    def loss(
        self, targets: ContourTargets, variables: FitVariables, rotation: Tensor, expression: Tensor
    ) -> Tensor:
        """Distance to the targets along their normals, averaged over all rows of all frames."""
        used, row = torch.unique(targets.points, return_inverse=True)
        rest = variables.rest_points(self.points.select(used), expression)[targets.frames, row]
        turned = (rotation[targets.frames] @ rest[..., None])[..., 0]
        pixels = variables.project(turned + variables.translation[targets.frames])
        error = ((pixels - targets.pixels) * targets.normals).sum(-1) * self.pixel_scale
        robust = torch.where(error > 0, pseudo_huber(error, 3.0), geman_mcclure(error, 4.0))
        return robust.sum() / (len(rotation) * ROWS)


def matte_edges(mattes: Tensor, points: Tensor, normals: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Nearest place along each normal where the matte falls below a half.

    Mattes are ``[F, H, W]`` uint8, points (pixels) and unit normals ``[F, A, B, 2]``; ``reach`` is how far to
    look either way in pixels.

    Returns:
        Signed distances ``[F, A, B]`` in pixels and whether there is an edge ``[F, A, B]``.
    """
    frames, height, width = mattes.shape
    steps = torch.linspace(-reach, reach, 2 * round(SEARCH_PX) + 1, device=points.device)
    samples = points[..., None, :] + normals[..., None, :] * steps[:, None]
    size = points.new_tensor([width, height])
    grid = samples.reshape(frames, 1, -1, 2) / size * 2 - 1
    image = mattes[:, None].to(points.dtype) / 255
    values = functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
    values = values.reshape(*points.shape[:-1], -1)
    inner, outer = values[..., :-1], values[..., 1:]
    falls = (inner > 0.5) & (outer <= 0.5)
    distance, index = torch.where(falls, steps[:-1].abs(), torch.inf).min(-1)
    inner, outer = (v.gather(-1, index[..., None])[..., 0] for v in (inner, outer))
    fraction = (inner - 0.5) / (inner - outer).clamp_min(1e-6)
    return steps[index] + fraction * (steps[1] - steps[0]), distance.isfinite()


def _band(head_model: HeadModel, landmarks: LandmarkGeometry, eye_rows: list[int]) -> Tensor:
    """Skin vertices that can lie in the rows, whatever the pose: a wide band around them."""
    skin = head_model.faces[head_model.part_faces("skin")].unique()
    height, template = head_model.template_vertices[skin, 1], landmarks.points.template[:, 1]
    low, high = template.min() - BAND_MARGIN_M, template[eye_rows].mean() + BAND_MARGIN_M
    return skin[(height > low) & (height < high)]


def _cheek_and_jaw(
    head_model: HeadModel, skin: Tensor, landmarks: LandmarkGeometry, eye_rows: list[int]
) -> Tensor:
    """``[N]`` bool: skin vertices of the head between eye line and chin, in front of the ears."""
    position = head_model.template_vertices[skin]
    head_weight = head_model.head_weights()[skin]
    template = landmarks.points.template
    eyes = template[eye_rows].mean(0)
    chin = landmarks.rows((CHIN,))
    chin_height = template[chin, 1].mean() if chin else template[:, 1].min()
    below_eyes, above_chin = position[:, 1] < eyes[1], position[:, 1] > chin_height - 0.012
    return (head_weight > 0.5) & below_eyes & above_chin & (position[:, 2] > eyes[2] - CONTOUR_DEPTH_M)
