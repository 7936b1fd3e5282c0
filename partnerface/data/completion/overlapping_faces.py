"""Head models whose faces overlap many times, such as those of random test data: fewer of them are drawn."""

from __future__ import annotations

from dataclasses import replace

import torch

from partnerface.head_models.head_model import HeadModel

MOST_LAYERS = 6.0
"""Area of a head's faces over that of its bounding box; a real head has about one."""


def drawable_head(head_model: HeadModel) -> HeadModel:
    """The head model with no more faces than can be drawn in a usual time; most heads stay as they are.

    What drawing takes grows with the area of the faces. Ten thousand triangles that cross a whole head take
    minutes a picture; of such a head only the smallest faces are kept. Landmarks, which lie on faces, are
    left out then.
    """
    vertices, faces = head_model.template_vertices, head_model.faces
    corners = vertices[faces]
    edges = corners[:, 1:] - corners[:, :1]
    areas = torch.linalg.cross(edges[:, 0], edges[:, 1]).norm(dim=1) / 2
    x, y, z = (vertices.amax(0) - vertices.amin(0)).tolist()
    limit = MOST_LAYERS * 2 * (x * y + y * z + z * x)
    if float(areas.sum()) <= limit:
        return head_model
    order = areas.argsort()
    count = max(1, int((areas[order].cumsum(0) <= limit).sum()))
    kept, asset = order[:count].sort().values.numpy(), head_model.asset
    fewer = replace(
        asset,
        faces=asset.faces[kept],
        uv_faces=asset.uv_faces[kept],
        face_parts=asset.face_parts[kept],
        landmark_faces=asset.landmark_faces[:0],
        landmark_barycentric=asset.landmark_barycentric[:0],
        landmark_spread=asset.landmark_spread[:0],
    )
    return HeadModel(fewer)
