"""Portraits of any head model, good enough for a landmark detector: painted by geometry, without textures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from pytorch3d.transforms import euler_angles_to_matrix
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera
from partnerface.data.synthetic.albedo import (
    FLAT_ALBEDO,
    chin_occlusion,
    eye_albedo,
    flat_albedo,
    irradiance,
    skin_albedo,
    teeth_albedo,
)
from partnerface.data.synthetic.face_coordinates import (
    face_coordinates,
    lip_outline,
    signed_distance,
    smooth_step,
)
from partnerface.data.synthetic.subject import SyntheticSubject, subject_named
from partnerface.head_models.head_model import HeadModel
from partnerface.meshes.normals import vertex_normals
from partnerface.meshes.rasterizer import MeshFragments, rasterize_mesh

PORTRAIT_SIZE = 512
SUBJECTS = ("a", "b")
VIEW_ANGLES = (
    *((0, 0), (0, 12), (0, -12), (10, 0), (-12, 0), (20, 0), (0, 22), (0, -22), (10, 15), (10, -15)),
    *((-10, 15), (-10, -15)),
)
"""Pitch and yaw of the head in degrees."""
PORTRAITS = len(SUBJECTS) * len(VIEW_ANGLES)
EYE_DISTANCE_M = 0.062
"""Between the eye joints of the head whose face coordinates hair and brows are given in."""
DISTANCE_M, FOCAL = 1.0, 3.0
"""How far the camera is from the eyes, and its focal length in picture widths."""
BACKGROUND = (0.58, 0.62, 0.66)


@dataclass
class MeshImage:
    """One picture of a head and the surface under its pixels.

    Attributes:
        image: ``[H, W, 3]`` uint8.
        fragments: face and barycentric coordinates at each pixel.
    """

    image: np.ndarray
    fragments: MeshFragments


@torch.no_grad()
def portraits(head_model: HeadModel, size: int = PORTRAIT_SIZE) -> Iterator[MeshImage]:
    """Two painted persons, neutral, from a dozen directions.

    Brows, hair and beard are painted where they lie relative to the eye joints, irises about the
    eyes' axes, lips only on a head model that has a landmark embedding already.
    """
    points = face_coordinates(head_model)
    eyes = head_model.template_joints[[head_model.joint("eye_left"), head_model.joint("eye_right")]]
    scale = EYE_DISTANCE_M / float((eyes[0] - eyes[1]).norm())
    outline = lip_outline(head_model) if len(head_model.asset.landmark_faces) else None
    camera = Camera.static(1, FOCAL * size, size, size)
    for name in SUBJECTS:
        subject = subject_named(name)
        identity = subject.identity(head_model.num_identity)
        vertices = head_model.identity_vertices(identity)
        joints = head_model.identity_joints(identity)
        middle = joints[[head_model.joint("eye_left"), head_model.joint("eye_right")]].mean(0)
        for pitch, yaw in VIEW_ANGLES:
            angles = torch.tensor([math.radians(yaw), math.radians(pitch), 0.0])
            turned = (vertices - middle) @ euler_angles_to_matrix(angles, "YXZ").T
            # The face, below the eyes, is in the middle of the picture.
            world = scale * turned + turned.new_tensor([0.0, 0.03, -DISTANCE_M])
            pixels, depth = camera.project(world[None])
            fragments = rasterize_mesh(pixels[0], depth[0], head_model.faces, size, size, False)
            image = torch.tensor(BACKGROUND).repeat(size, size, 1)
            image[fragments.mask] = _colours(
                head_model, fragments, world, scale * points, scale * (eyes - eyes.mean(0)), outline, subject
            )
            yield MeshImage((255 * image).round().clamp(0, 255).to(torch.uint8).numpy(), fragments)


def _colours(
    head_model: HeadModel,
    fragments: MeshFragments,
    world: Tensor,
    points: Tensor,
    eyes: Tensor,
    outline: Tensor | None,
    subject: SyntheticSubject,
) -> Tensor:
    """``[N, 3]`` colours of the seen pixels.

    Vertices ``world`` ``[V, 3]`` and their face coordinates ``points`` ``[V, 3]``; ``eyes`` ``[2, 3]`` and
    the lips' ``outline`` ``[M, 2]`` are in face coordinates.
    """
    faces = head_model.faces
    attributes = torch.cat([points, vertex_normals(world, faces), world], 1)
    place, normal, position = fragments.interpolate(attributes, faces).split(3, 1)
    normal = functional.normalize(normal, dim=1)
    # A surface seen from behind turns its normal; the camera is at the origin.
    normal = torch.where(((normal * position).sum(1) > 0)[:, None], -normal, normal)
    lips = place.new_zeros(len(place))
    if outline is not None:
        distance = signed_distance(place[:, :2], outline)
        lips = smooth_step(0.0008, -0.0008, distance) * (place[:, 2] > 0)
    names, parts = head_model.asset.part_names, head_model.face_parts[fragments.faces[fragments.mask]]
    colours = place.new_zeros(len(place), 3)
    for number, name in enumerate(names):
        here = parts == number
        if name == "skin":
            albedo = skin_albedo(place[here], lips[here], subject)
        elif name in ("eye_left", "eye_right"):
            albedo = eye_albedo(place[here] - eyes[0 if name == "eye_left" else 1], subject)
        elif name in FLAT_ALBEDO:
            albedo = flat_albedo(name, place[here])
        else:
            albedo = teeth_albedo(place[here])
        colours[here] = albedo
    return colours * irradiance(normal) * chin_occlusion(place)[:, None]
