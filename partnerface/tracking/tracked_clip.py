"""TrackedClip: a fitted clip with its torso, labels and shell, as the dataset and the report need them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.completion.labels import (
    LabelledMesh,
    feature_rings,
    find_neck_line,
    label_image,
    labelled_mesh,
    rasterize_regions,
)
from partnerface.data.completion.torso_motion import TorsoMotion, estimate_torso_motion
from partnerface.data.regions import Region
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.landmark_geometry import LandmarkGeometry, landmark_geometry
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.fit.head_fit import HeadFit, PictureGeometry

TORSO_CENTRE = (0.5, 0.85)


@dataclass
class TrackedClip:
    """What tracking knows about a clip.

    Attributes:
        track: detected landmarks in pixels of the crop.
        fit: the fit, its head without a torso pose.
        head: the fitted head with a torso pose.
        camera: ``T`` cameras at the crop's resolution.
        mattes: ``[T, H, W]`` uint8.
        mesh: surface that labels are drawn from.
        neck_line: see `TrackedSequence`.
        torso: motion of the torso.
        rings: rows of the fitted landmarks that outline eyes and mouth.
        aligned_landmarks: ``[T, K, 2]`` where the mesh has the fitted landmarks after the alignment.
    """

    track: LandmarkTrack
    fit: HeadFit
    head: HeadParameters
    camera: Camera
    mattes: np.ndarray
    mesh: LabelledMesh
    neck_line: float
    torso: TorsoMotion
    rings: dict[Region, list[list[int]]]
    aligned_landmarks: Tensor

    @property
    def frame_weights(self) -> Tensor:
        """``[T]`` 1 where a face was found."""
        return torch.as_tensor(self.track.valid, dtype=torch.float32)

    def posed(self, head_model: HeadModel, frame: int) -> tuple[Tensor, Tensor, Tensor]:
        """Vertices ``[V, 3]``, their pixels ``[V, 2]`` and depth ``[V]`` in one frame."""
        with torch.no_grad():
            vertices = head_model(self.head.select([frame])).vertices
            pixels, depth = self.camera.select([frame]).project(vertices)
        return vertices[0], pixels[0], depth[0]

    def regions(self, head_model: HeadModel, frame: int) -> np.ndarray:
        """``[H, W]`` regions of the posed mesh."""
        _, pixels, depth = self.posed(head_model, frame)
        return rasterize_regions(self.mesh, pixels, depth, self.camera.width, self.camera.height)

    def labels(self, regions: np.ndarray, frame: int) -> np.ndarray:
        """``[H, W]`` label image of a frame whose mesh regions are known."""
        neck_row = _row_in_frame(self.torso.matrices[frame], self.neck_line) * self.camera.height
        return label_image(regions, self.fit.landmarks[frame], self.rings, self.mattes[frame], neck_row)


def assemble_clip(
    track: LandmarkTrack,
    fit: HeadFit,
    view: PictureGeometry,
    mattes: np.ndarray,
    small_frames: np.ndarray,
    small_mattes: np.ndarray,
    times: np.ndarray,
    head_model: HeadModel,
) -> TrackedClip:
    """Give a fitted clip its camera, neck line, torso pose and torso motion.

    Args:
        track: landmarks in pixels of the crop.
        fit: the fit to them.
        view: the whole picture.
        mattes: ``[T, H, W]`` uint8.
        small_frames: ``[T, h, w, 3]`` uint8, see `torso_motion.shrink`.
        small_mattes: ``[T, h, w]`` uint8.
        times: ``[T]`` seconds in which motion is smooth.
        head_model: the fitted head model.
    """
    geometry = landmark_geometry(head_model)
    camera = clip_camera(track, fit.focal, view)
    weights = torch.as_tensor(track.valid, dtype=torch.float32)
    reference = median_frame(fit.head, weights)
    still = TorsoMotion(torch.eye(2, 3).repeat(len(track), 1, 1), reference, 0.0, 0.0)
    clip = TrackedClip(
        track=track,
        fit=fit,
        head=with_torso_pose(fit.head, weights),
        camera=camera,
        mattes=mattes,
        mesh=labelled_mesh(head_model, geometry),
        neck_line=1.0,
        torso=still,
        rings=feature_rings(geometry),
        aligned_landmarks=_landmark_pixels(geometry, fit.head, camera),
    )
    _, pixels, depth = clip.posed(head_model, reference)
    clip.neck_line = find_neck_line(clip.mesh, pixels, depth, fit.focal, track.height)
    labels = clip.labels(clip.regions(head_model, reference), reference)
    step = track.height / small_mattes.shape[1]
    rows = ((np.arange(small_mattes.shape[1]) + 0.5) * step).astype(int)
    torso = labels[np.ix_(rows, rows)] == Region.TORSO
    clip.torso = estimate_torso_motion(
        small_frames,
        small_mattes,
        torso,
        reference,
        weights,
        torch.as_tensor(times, dtype=torch.float32),
    )
    clip.head = move_torso(clip.head, camera, clip.torso.matrices)
    return clip


def _landmark_pixels(geometry: LandmarkGeometry, head: HeadParameters, camera: Camera) -> Tensor:
    rest = geometry.points.positions(head.identity, head.expression)
    return camera.project(rest @ head.rotation.transpose(1, 2) + head.translation[:, None])[0]


def clip_camera(track: LandmarkTrack, focal: float, view: PictureGeometry) -> Camera:
    """``T`` static cameras at the crop's resolution."""
    camera = Camera.static(len(track), focal, track.width, track.height)
    camera.intrinsics[:, 2:] = torch.tensor(view.centre)
    return camera


def median_frame(head: HeadParameters, frame_weights: Tensor) -> int:
    """The tracked frame whose head pose is nearest to the clip's median."""
    tracked = torch.where(frame_weights > 0)[0]
    # Ten centimetres count as much as one radian.
    pose = torch.cat([head.rotation.flatten(1), head.translation * 10], 1)[tracked]
    return int(tracked[(pose - pose.median(0).values).square().sum(1).argmin()])


def with_torso_pose(head: HeadParameters, frame_weights: Tensor) -> HeadParameters:
    """Hold the torso upright below the clip's median head position."""
    median = head.translation[frame_weights > 0].median(0).values
    return replace(
        head,
        torso_rotation=torch.eye(3).repeat(len(head), 1, 1),
        torso_translation=median.repeat(len(head), 1),
    )


def move_torso(head: HeadParameters, camera: Camera, matrices: Tensor) -> HeadParameters:
    """Shift the torso pose in the image plane as the torso's centre moves in the pictures.

    Args:
        head: with a torso pose.
        camera: the cameras.
        matrices: ``[T, 2, 3]`` torso motion, frame to reference.
    """
    centre = torch.tensor(TORSO_CENTRE)
    inverse = torch.linalg.inv(matrices[..., :2])
    place = (inverse @ (centre - matrices[..., 2])[..., None])[..., 0]
    shift = (place - centre) * torch.tensor([camera.width, camera.height])
    metres = shift * -head.torso_translation[:, 2:] / camera.intrinsics[:, :2]
    moved = head.torso_translation.clone()
    moved[:, 0] += metres[:, 0]
    moved[:, 1] -= metres[:, 1]
    return replace(head, torso_translation=moved)


def _row_in_frame(matrix: Tensor, row: float) -> float:
    """Where the reference's row lies in a frame, at the torso's centre column."""
    point = torch.tensor([TORSO_CENTRE[0], row])
    return float(torch.linalg.solve(matrix[:, :2], point - matrix[:, 2])[1])
