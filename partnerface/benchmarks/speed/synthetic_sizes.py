"""Longer clips and finer meshes made from the embedded subject, to measure growth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.sequence import SequenceReader, TrackedSequence, head_model_record
from partnerface.errors import UserError
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_asset import HeadModelAsset


class RepeatedReader(SequenceReader):
    """Reads a dataset repeatedly until it has ``frames`` frames; no file is copied.

    Args:
        root: folder of a dataset in our own format.
        frames: length of the result.
    """

    def __init__(self, root: Path, frames: int) -> None:
        if frames < 1:
            raise UserError(f"frames {frames}: a clip needs at least one frame")
        self.root, self.frames = Path(root), frames

    def read(self) -> TrackedSequence:
        once = PartnerfaceReader(self.root).read()
        order = torch.arange(self.frames) % len(once)
        places = order.tolist()
        members = {name: {*frames} for name, frames in once.splits.items()}
        return replace(
            once,
            image_paths=[once.image_paths[i] for i in places],
            matte_paths=[once.matte_paths[i] for i in places],
            label_paths=[once.label_paths[i] for i in places],
            camera=once.camera.select(order),
            head=once.head.select(order),
            frame_weights=once.frame_weights[order],
            torso_motion=once.torso_motion[order],
            splits={name: [t for t, i in enumerate(places) if i in some] for name, some in members.items()},
        )


class SubdividedHead(HeadModel):
    """Anny's head, in which every level cuts each triangle into four; it has no landmarks.

    Args:
        levels: how often triangles are cut; 0 is the head itself.
    """

    def __init__(self, levels: int = 1) -> None:
        asset = AnnyHead().asset
        for _ in range(levels):
            asset = subdivided(asset)
        super().__init__(asset)


def subdivided(asset: HeadModelAsset) -> HeadModelAsset:
    """Cut every triangle into four at the midpoints of its edges; the surface does not move."""
    faces, edges = cut_faces(asset.faces)
    uv_faces, uv_edges = cut_faces(asset.uv_faces)

    def midpoints(values: np.ndarray | None, axis: int, ends: np.ndarray = edges) -> np.ndarray | None:
        if values is None:
            return None
        values = np.asarray(values, np.float32)
        middle = (values.take(ends[:, 0], axis) + values.take(ends[:, 1], axis)) / 2
        return np.concatenate([values, middle], axis)

    return replace(
        asset,
        version=f"{asset.version}, subdivided",
        template_vertices=midpoints(asset.template_vertices, 0),
        identity_basis=midpoints(asset.identity_basis, 1),
        expression_basis=midpoints(asset.expression_basis, 1),
        skinning_weights=midpoints(asset.skinning_weights, 0),
        pose_correctives=midpoints(asset.pose_correctives, 1),
        faces=faces,
        uv=midpoints(asset.uv, 0, uv_edges),
        uv_faces=uv_faces,
        face_parts=np.repeat(asset.face_parts, 4),
        landmark_faces=asset.landmark_faces[:0],
        landmark_barycentric=asset.landmark_barycentric[:0],
        landmark_spread=asset.landmark_spread[:0],
        source_vertex_ids=None,
    )


def cut_faces(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut faces ``[Fc, 3]`` into four each, at the midpoints of their edges.

    Returns:
        The new faces ``[4 Fc, 3]``, those of one face in a row, and the edges ``[Ed, 2]`` whose midpoints
        are new vertices: that of edge ``e`` is vertex ``V + e``, with V the number of old vertices.
    """
    corners = np.asarray(faces, np.int64)
    sides = np.sort(np.stack([corners, np.roll(corners, -1, 1)], 2).reshape(-1, 2), 1)
    edges, which = np.unique(sides, axis=0, return_inverse=True)
    middles = corners.max() + 1 + which.reshape(-1, 3)
    a, b, c = corners.T
    ab, bc, ca = middles.T
    cut = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], 1)
    return cut.reshape(-1, 3), edges


def sequence_for(sequence: TrackedSequence, head: SubdividedHead) -> TrackedSequence:
    """A video that was tracked with the plain head, converted to a subdivided one."""
    record = head_model_record(head)
    return replace(sequence, head_model=record, shell_thickness=_spread(sequence.shell_thickness, head))


def _spread(thickness: Tensor, head: SubdividedHead) -> Tensor:
    """Shell thickness with that of new vertices, the mean of their edge's ends, level by level."""
    faces = AnnyHead().asset.faces
    while len(thickness) < len(head.template_vertices):
        faces, edges = cut_faces(faces)
        thickness = torch.cat([thickness, thickness[torch.from_numpy(edges)].mean(1)])
    return thickness
