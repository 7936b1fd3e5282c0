"""FrameLabels: label images of a tracked head, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.completion.labels import LabelledMesh, label_image, rasterize_regions
from partnerface.data.completion.torso_motion import row_in_frame
from partnerface.data.regions import Region
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.landmark_geometry import LandmarkGeometry
from partnerface.head_models.linear_blend_skinning import transform_points


@dataclass(frozen=True)
class FrameLabels:
    """Draws the label image of any frame of a tracked head.

    Attributes:
        head_model: the tracked head model.
        camera: ``T`` cameras.
        head: ``T`` head parameters with a torso pose.
        landmarks: ``[T, K, 2]`` pixels of the landmarks that outline eyes and mouth.
        torso_motion: ``[T, 2, 3]``, see `TrackedSequence`.
        neck_line: see `TrackedSequence`.
        mesh: the head model's surface, divided into regions.
        rings: rows of ``landmarks`` round eyes and mouth.
    """

    head_model: HeadModel
    camera: Camera
    head: HeadParameters
    landmarks: Tensor
    torso_motion: Tensor
    neck_line: float
    mesh: LabelledMesh
    rings: dict[Region, list[list[int]]]

    def posed(self, frame: int) -> tuple[Tensor, Tensor, Tensor]:
        """Vertices ``[V, 3]`` of one frame, their pixels ``[V, 2]`` and depth ``[V]``."""
        vertices, pixels, depth = self._posed([frame])
        return vertices[0], pixels[0], depth[0]

    def _posed(self, frames: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            vertices = self.head_model(self.head.select(list(frames))).vertices
            return vertices, *self.camera.select(list(frames)).project(vertices)

    def regions(self, frames: Sequence[int]) -> list[np.ndarray]:
        """``[H, W]`` uint8 regions of each posed mesh alone, whatever the matte."""
        _, pixels, depth = self._posed(frames)
        width, height = self.camera.width, self.camera.height
        return [rasterize_regions(self.mesh, p, d, width, height) for p, d in zip(pixels, depth, strict=True)]

    def image(self, frame: int, matte: np.ndarray, regions: np.ndarray | None = None) -> np.ndarray:
        """``[H, W]`` uint8 labels of one frame by its matte, ``[H, W]`` uint8.

        ``regions`` are those of `regions`, if they have been drawn already.
        """
        regions = self.regions([frame])[0] if regions is None else regions
        neck_row = row_in_frame(self.torso_motion[frame], self.neck_line) * self.camera.height
        return label_image(regions, self.landmarks[frame], self.rings, matte, neck_row)


def landmark_pixels(
    head_model: HeadModel, geometry: LandmarkGeometry, head: HeadParameters, camera: Camera
) -> Tensor:
    """``[T, K, 2]`` pixels of landmarks on posed heads."""
    return camera.project(placed_landmarks(head_model, geometry, head))[0]


def placed_landmarks(head_model: HeadModel, geometry: LandmarkGeometry, head: HeadParameters) -> Tensor:
    """``[T, K, 3]`` landmarks of posed heads in the world."""
    jaw = None if head_model.jaw_joint is None else head.joint_rotations[:, head_model.jaw_joint]
    rest = geometry.points.positions(head.identity, head.expression, jaw)
    # The head model may be on a GPU, where an avatar's is.
    transforms = head_model.head_transforms(head.to(head_model.template_vertices.device)).to(rest)
    return transform_points(transforms[:, None], rest)
