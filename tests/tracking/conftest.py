"""A synthetic track: landmarks of a posed head, projected by the head model's own forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from pytorch3d.transforms import euler_angles_to_matrix
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.tracking.detection.landmark_track import LandmarkTrack

SIZE = 256
FOCAL = 2.2 * SIZE
FPS = 5.0


@dataclass
class SyntheticTrack:
    """Known head parameters and the landmarks that follow from them."""

    track: LandmarkTrack
    head: HeadParameters
    vertices: Tensor
    camera: Camera


def _make_track(head_model: HeadModel, frames: int, lost: tuple[int, ...]) -> SyntheticTrack:
    """A head that turns, nods, opens the mouth and blinks once."""
    phase = torch.linspace(0, 2 * torch.pi, frames)
    head = head_model.neutral_parameters(frames)
    head.identity[:6] = torch.tensor([0.8, -0.6, 0.5, 0.4, -0.5, 0.3])
    angles = torch.stack([0.4 * phase.sin(), 0.2 * phase.cos(), 0.05 * phase.sin()], 1)
    head.rotation = euler_angles_to_matrix(angles, "YXZ")
    head.translation = torch.stack([0.02 * phase.sin(), 0.01 * phase.cos(), -1.1 + 0.02 * phase.sin()], 1)
    head.expression[:, head_model.expression_index("jawOpen")] = 0.25 * (1 - phase.cos())
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        head.expression[frames // 2 - 1 : frames // 2 + 2, head_model.expression_index(name)] = 1.0
    camera = Camera.static(frames, FOCAL, SIZE, SIZE)
    with torch.no_grad():
        vertices = head_model(head).vertices
    track = project_landmarks(head_model, head, vertices, camera)
    for values in (track.landmarks, track.scores, track.face_matrices):
        values[list(lost)] = np.nan
    track.valid[list(lost)] = False
    return SyntheticTrack(track, head, vertices, camera)


def project_landmarks(
    head_model: HeadModel, head: HeadParameters, vertices: Tensor, camera: Camera
) -> LandmarkTrack:
    """What a detector without error would find, at 5 frames per second."""
    asset, frames = head_model.asset, len(head)
    corners = vertices[:, asset.faces[asset.landmark_faces].astype(np.int64)]
    share = torch.tensor(asset.landmark_barycentric, dtype=torch.float32)
    share[share.sum(1) == 0] = 1 / 3  # landmarks that the embedding never saw
    points = (corners * share[..., None]).sum(2)
    eye = head_model.faces[head_model.part_faces("eye_left")].unique()
    joint = head_model.template_joints[head_model.joint("eye_left")]
    radius = (head_model.template_vertices[eye, 2] - joint[2]).max()
    eyes = [head_model.joint("eye_right"), head_model.joint("eye_left")]
    looks = head.joint_rotations[:, eyes] @ torch.tensor([0.0, 0.0, 1.0])
    irises = head_model.identity_joints(head.identity)[eyes] + looks * radius
    irises = irises @ head.rotation.transpose(1, 2) + head.translation[:, None]
    points = torch.cat([points, irises[:, :1].repeat(1, 5, 1), irises[:, 1:].repeat(1, 5, 1)], 1)
    pixels, depth = camera.project(points)
    focal = camera.intrinsics[0, 0]
    relative = (depth - depth.mean(1, keepdim=True)) * focal / depth.mean(1, keepdim=True)
    names = [name for name in asset.expression_names if name != "tongueOut"] + ["_neutral"]
    scores = np.zeros((frames, len(names)), np.float32)
    for column, name in enumerate(names[:-1]):
        # A level that belongs to the person, which the fit must not take for an expression.
        scores[:, column] = head.expression[:, asset.expression_names.index(name)] + 0.3
    return LandmarkTrack(
        landmarks=torch.cat([pixels, relative[..., None]], -1).numpy(),
        scores=scores,
        score_names=names,
        face_matrices=np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)),
        valid=np.ones(frames, bool),
        content_change=np.full(frames, 0.005, np.float32),
        background_change=np.zeros(frames, np.float32),
        timestamps=np.arange(frames) / FPS,
        fps=FPS,
        width=camera.width,
        height=camera.height,
        model_sha256="synthetic",
        mode="VIDEO",
    )


@pytest.fixture(scope="session")
def synthetic_track(anny: HeadModel) -> Callable[..., SyntheticTrack]:
    """Makes a track of some frames, a few of which may have lost the face."""

    def make(frames: int = 14, lost: tuple[int, ...] = ()) -> SyntheticTrack:
        return _make_track(anny, frames, lost)

    return make
