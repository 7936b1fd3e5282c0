"""Posed head and matte -> label image: face, eyes, mouth, hair, neck and torso of every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from partnerface.data.region_labels import Region
from partnerface.head_models.head_model import HeadModel
from partnerface.rendering.mesh_rasterizer import rasterize_mesh
from partnerface.tracking.landmark_geometry import LandmarkGeometry
from partnerface.tracking.landmark_numbers import LEFT_EYE, OUTER_EYE_CORNERS, OUTER_LIPS, RIGHT_EYE

FACE_DEPTH_M = 0.085
"""The face reaches this far behind the outer eye corners: to the front of the ears."""
HAIRLINE_MARGIN_M = 0.005
TORSO_ROOT_WEIGHT = 0.35
NECK_LINE_MARGIN_M = 0.01
RASTER_SCALE = 0.5
WIDENED_512_PX = 5
FOREHEAD = 10


@dataclass
class LabelledMesh:
    """The surface that labels are drawn from.

    Attributes:
        faces: ``[Fc, 3]`` of all parts but the lashes.
        regions: ``[Fc]`` `Region` of each face; hair stands for ears, scalp and nape.
        torso_vertices: vertices of the torso's skin, whose highest row is the neck line.
    """

    faces: Tensor
    regions: Tensor
    torso_vertices: Tensor

    def vertex_masks(self, head_model: HeadModel) -> tuple[Tensor, Tensor]:
        """``[V]`` bool each: vertices of the face and of the torso."""
        masks = torch.zeros(2, len(head_model.template_vertices), dtype=torch.bool)
        masks[0, self.faces[self.regions == Region.FACE].unique()] = True
        masks[1, self.torso_vertices] = True
        return masks[0], masks[1]


def labelled_mesh(head_model: HeadModel, landmarks: LandmarkGeometry) -> LabelledMesh:
    """Divide the head model's surface by skinning weights and the landmarks of the mean head."""
    drawn = ~head_model.part_faces("lashes")
    skin = head_model.part_faces("skin")[drawn]
    eyes = head_model.part_faces("eye_left", "eye_right")[drawn]
    faces = head_model.faces[drawn]
    centre = head_model.template_vertices[faces].mean(1)
    root = head_model.skinning_weights[:, head_model.joint("root")]
    neck = head_model.skinning_weights[:, head_model.joint("neck")] + root
    face_root, face_neck = root[faces].mean(1), neck[faces].mean(1)
    corner = landmarks.points.template[landmarks.rows(OUTER_EYE_CORNERS)].mean(0)
    forehead = landmarks.rows((FOREHEAD,))
    hairline = landmarks.points.template[forehead, 1].mean() if forehead else centre[:, 1].max()
    in_front = (centre[:, 2] > corner[2] - FACE_DEPTH_M) & (centre[:, 1] < hairline + HAIRLINE_MARGIN_M)
    regions = torch.where(in_front, int(Region.FACE), int(Region.HAIR))
    regions[skin & (face_neck > 0.5)] = int(Region.NECK)
    regions[skin & (face_root > TORSO_ROOT_WEIGHT)] = int(Region.TORSO)
    regions[~skin] = int(Region.FACE)
    regions[eyes] = int(Region.EYES)
    skin_vertices = faces[skin].unique()
    return LabelledMesh(faces, regions, skin_vertices[root[skin_vertices] > TORSO_ROOT_WEIGHT])


def find_neck_line(mesh: LabelledMesh, pixels: Tensor, depth: Tensor, focal: float, height: int) -> float:
    """Row in [0, 1] above which the torso never reaches: a centimetre over the trapezius.

    Args:
        mesh: names the torso's vertices.
        pixels: ``[V, 2]`` posed vertices of the reference frame in pixels.
        depth: ``[V]`` metres.
        focal: focal length in pixels.
        height: image height.
    """
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
    widen = 2 * max(1, round(WIDENED_512_PX * height / 512)) + 1
    near_neck = _dilated(drawn == Region.NECK, widen)
    labels[near_neck & ~head] = Region.NECK
    labels[(drawn == Region.TORSO) & ~head & below] = Region.TORSO
    for region, polygons in rings.items():
        features = _polygons(landmarks, polygons, width, height)
        on_face = _dilated(np.isin(drawn, (Region.FACE, Region.EYES)), 3)
        labels[_dilated(features, widen) & on_face] = region
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

    Args:
        mesh: surface with regions.
        pixels: ``[V, 2]`` posed vertices in pixels.
        depth: ``[V]`` metres along the camera's z.
        width: image width.
        height: image height.
    """
    small_width, small_height = round(width * RASTER_SCALE), round(height * RASTER_SCALE)
    scale = pixels.new_tensor([small_width / width, small_height / height])
    fragments = rasterize_mesh(pixels * scale, depth, mesh.faces, small_width, small_height, False)
    regions = torch.where(fragments.mask, mesh.regions[fragments.faces], int(Region.BACKGROUND))
    small = Image.fromarray(regions.to(torch.uint8).numpy())
    return np.array(small.resize((width, height), Image.Resampling.NEAREST))


def _polygons(landmarks: Tensor, polygons: list[list[int]], width: int, height: int) -> np.ndarray:
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    for rows in polygons:
        if len(rows) > 2:
            draw.polygon([tuple(point) for point in landmarks[rows].tolist()], fill=255)
    return np.asarray(image) > 0


def _dilated(mask: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(size))) > 0
