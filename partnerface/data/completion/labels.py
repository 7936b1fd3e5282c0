"""Posed head and matte -> label image: face, eyes, mouth, hair, neck and torso of every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from partnerface.data.regions import Region
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parts import neck_share
from partnerface.head_models.landmark_geometry import (
    FOREHEAD_TOP,
    LEFT_EYE,
    OUTER_EYE_CORNERS,
    OUTER_LIPS,
    RIGHT_EYE,
    LandmarkGeometry,
)
from partnerface.meshes.dilation import dilate
from partnerface.meshes.rasterizer import rasterize_mesh

LABELLED_FACE_DEPTH_M = 0.085
"""The face reaches this far behind the outer eye corners: to the front of the ears."""
HAIRLINE_MARGIN_M = 0.005
LABELLED_TORSO_SHARE = 0.35
LOWEST_M = 0.01
NECK_LINE_MARGIN_M = 0.01
RASTER_SCALE = 0.5
WIDENED_512_PX = {Region.EYES: 8, Region.MOUTH: 5}
NECK_WIDENED_512_PX = 5


@dataclass
class LabelledMesh:
    """The surface that labels are drawn from.

    Attributes:
        faces: ``[Fc, 3]`` of all parts but the lashes.
        kinds: ``[Fc]`` `Region.TORSO` for skin, whose region its vertices decide, `Region.EYES` for
            eyeballs, `Region.MOUTH` for what lies behind the lips.
        face_depth: ``[V]`` metres in front of the plane that ends the face (negative: not face).
        neck_share: ``[V]`` skinning weight of neck and torso.
        torso_share: ``[V]`` skinning weight of the torso.
        torso_vertices: skin vertices of the torso, whose highest row is the neck line.
    """

    faces: Tensor
    kinds: Tensor
    face_depth: Tensor
    neck_share: Tensor
    torso_share: Tensor
    torso_vertices: Tensor

    def vertex_masks(self) -> tuple[Tensor, Tensor]:
        """``[V]`` bool each: vertices of the face (with eyes and mouth) and of the torso."""
        face = (self.face_depth > 0) & (self.neck_share < 0.5)
        face[self.faces[self.kinds != Region.TORSO].unique()] = True
        torso = torch.zeros_like(face)
        torso[self.torso_vertices] = True
        return face, torso


def labelled_mesh(head_model: HeadModel, landmarks: LandmarkGeometry) -> LabelledMesh:
    """Divide the head model's surface by skinning weights and the landmarks of the mean head."""
    drawn = ~head_model.part_faces("lashes")
    skin = head_model.part_faces("skin")[drawn]
    faces, vertices = head_model.faces[drawn], head_model.template_vertices
    kinds = torch.where(skin, int(Region.TORSO), int(Region.MOUTH))
    kinds[head_model.part_faces("eye_left", "eye_right")[drawn]] = int(Region.EYES)
    corner = landmarks.points.template[landmarks.rows(OUTER_EYE_CORNERS)].mean(0)
    forehead = landmarks.rows((FOREHEAD_TOP,))
    hairline = landmarks.points.template[forehead, 1].mean() if forehead else vertices[:, 1].max()
    face_depth = torch.minimum(
        vertices[:, 2] - (corner[2] - LABELLED_FACE_DEPTH_M), hairline + HAIRLINE_MARGIN_M - vertices[:, 1]
    )
    torso_share = head_model.skinning_weights[:, head_model.joint("root")]
    skin_vertices = faces[skin].unique()
    torso_vertices = skin_vertices[torso_share[skin_vertices] > LABELLED_TORSO_SHARE]
    if not len(torso_vertices):
        # A neck without shoulders ends where they begin.
        lowest = vertices[skin_vertices, 1].amin() + LOWEST_M
        torso_vertices = skin_vertices[vertices[skin_vertices, 1] < lowest]
    return LabelledMesh(
        faces=faces,
        kinds=kinds,
        face_depth=face_depth,
        # Not by borrowed landmarks, which say little of a neck.
        neck_share=neck_share(head_model),
        torso_share=torso_share,
        torso_vertices=torso_vertices,
    )


def find_neck_line(mesh: LabelledMesh, pixels: Tensor, depth: Tensor, focal: float, height: int) -> float:
    """Row in [0, 1] above which the torso never reaches: a centimetre over the trapezius.

    ``pixels`` ``[V, 2]`` and ``depth`` ``[V]`` (metres) are the reference frame's posed vertices; ``focal``
    is in pixels. The lower edge of the picture for a mesh without a torso.
    """
    if not len(mesh.torso_vertices):
        return 1.0
    rows, distance = pixels[mesh.torso_vertices, 1], depth[mesh.torso_vertices].mean()
    return float(((rows.min() - NECK_LINE_MARGIN_M * focal / distance) / height).clamp(0, 1))


def label_image(
    drawn: np.ndarray,
    landmarks: Tensor,
    rings: dict[Region, list[list[int]]],
    matte: np.ndarray,
    neck_row: float,
) -> np.ndarray:
    """``[H, W]`` uint8 labels of one frame.

    The mesh decides between face, neck and torso; what the matte holds beyond it is torso below the
    neck line and hair above.

    Args:
        drawn: ``[H, W]`` regions of the posed mesh, see `rasterize_regions`.
        landmarks: ``[K, 2]`` fitted landmarks in pixels.
        rings: rows of ``landmarks`` that outline eyes and mouth, see `feature_rings`.
        matte: ``[H, W]`` uint8.
        neck_row: the neck line in this frame, pixels.
    """
    height, width = matte.shape
    head = np.isin(drawn, (Region.FACE, Region.EYES, Region.HAIR))
    below = (np.arange(height) + 0.5)[:, None] > neck_row
    beyond = np.where(below, np.uint8(Region.TORSO), np.uint8(Region.HAIR))
    labels = np.where(head, drawn, np.broadcast_to(beyond, drawn.shape))
    near_neck = _widened(drawn == Region.NECK, NECK_WIDENED_512_PX * height / 512)
    labels[near_neck & ~head] = Region.NECK
    labels[(drawn == Region.TORSO) & ~head & below] = Region.TORSO
    on_face = _widened(np.isin(drawn, (Region.FACE, Region.EYES)), 1)
    for region, polygons in rings.items():
        features = _polygons(landmarks, polygons, width, height)
        labels[_widened(features, WIDENED_512_PX[region] * height / 512) & on_face] = region
    labels[matte < 128] = Region.BACKGROUND
    return labels.astype(np.uint8)


def feature_rings(landmarks: LandmarkGeometry) -> dict[Region, list[list[int]]]:
    """Outlines of eyes and mouth as rows of the landmark geometry."""
    return {
        Region.EYES: [landmarks.rows(LEFT_EYE), landmarks.rows(RIGHT_EYE)],
        Region.MOUTH: [landmarks.rows(OUTER_LIPS)],
    }


def rasterize_regions(
    mesh: LabelledMesh, pixels: Tensor, depth: Tensor, width: int, height: int
) -> np.ndarray:
    """``[H, W]`` uint8 region of the mesh at each pixel, drawn at half the resolution.

    ``pixels`` ``[V, 2]`` are the posed vertices, ``depth`` ``[V]`` is metres along the camera's z.
    """
    small_width, small_height = round(width * RASTER_SCALE), round(height * RASTER_SCALE)
    scale = pixels.new_tensor([small_width / width, small_height / height])
    fragments = rasterize_mesh(pixels * scale, depth, mesh.faces, small_width, small_height, False)
    attributes = torch.stack([mesh.face_depth, mesh.neck_share, mesh.torso_share], 1)
    face_depth, neck_share, torso_share = fragments.interpolate(attributes, mesh.faces).unbind(1)
    kind = mesh.kinds[fragments.faces[fragments.mask]]
    region = torch.where(face_depth > 0, int(Region.FACE), int(Region.HAIR))
    region[neck_share > 0.5] = int(Region.NECK)
    region[torso_share > LABELLED_TORSO_SHARE] = int(Region.TORSO)
    region[kind == Region.MOUTH] = int(Region.FACE)
    region[kind == Region.EYES] = int(Region.EYES)
    regions = torch.full(fragments.mask.shape, int(Region.BACKGROUND))
    regions[fragments.mask] = region
    small = Image.fromarray(regions.to(torch.uint8).numpy())
    return np.array(small.resize((width, height), Image.Resampling.NEAREST))


def _polygons(landmarks: Tensor, polygons: list[list[int]], width: int, height: int) -> np.ndarray:
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    for rows in polygons:
        if len(rows) > 2:
            draw.polygon([tuple(point) for point in landmarks[rows].tolist()], fill=255)
    return np.asarray(image) > 0


def _widened(mask: np.ndarray, radius: float) -> np.ndarray:
    """A mask ``[H, W]`` dilated by a square of about ``radius`` pixels to each side, at least one."""
    return dilate(torch.from_numpy(mask), max(1, round(radius))).numpy()
