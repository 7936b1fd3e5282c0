"""A head as GLB: textured mesh, a morph target for each expression, skeleton, a driver's animation."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pytorch3d.transforms import matrix_to_quaternion
from torch import Tensor

from partnerface.errors import UserError
from partnerface.export.animation import Animation
from partnerface.export.glb import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GlbFile
from partnerface.export.head_mesh import HeadMesh
from partnerface.head_models.head_model import HeadModel

MOVED = 1e-6
"""Metres, and entries of a rotation matrix, by which a joint must move to get a channel of the animation."""

INFLUENCES = 4
"""Joints that glTF programs blend at a vertex."""


def write_head_glb(
    path: Path,
    head_model: HeadModel,
    identity: Tensor,
    mesh: HeadMesh,
    texture: np.ndarray,
    animation: Animation | None = None,
) -> None:
    """Write a person's head as a GLB file: metres, y up, the face towards +z, head joint at the origin.

    Base mesh: zero expression, rest pose. Every expression of the head model is a morph target of its name.

    Args:
        path: the file.
        head_model: a linear one: without pose correctives and moving joints.
        identity: ``[I]`` the person's shape.
        mesh: the triangles to write.
        texture: ``[N, N, 3]`` uint8.
        animation: its frames, or None.

    Raises:
        UserError: the head model is not linear.
        NotWritten: the file cannot be written.
    """
    if head_model.pose_correctives is not None or head_model.joint_expression_basis is not None:
        raise UserError(
            f"head model {head_model.asset.name}: its joints and creases depend on the pose, which morph "
            "targets cannot hold; use export obj or ply"
        )
    file, names = GlbFile(), list(head_model.asset.expression_names)
    places = head_model.identity_joints(identity)
    joints = len(places)
    nodes = [_joint_node(head_model, j, places) for j in range(joints)]
    nodes.append({"name": "head", "mesh": 0, "skin": 0})
    inverse_bind = torch.eye(4).repeat(joints, 1, 1)
    inverse_bind[:, :3, 3] = -places
    file.content |= {
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [head_model.parents.index(-1), joints]}],
        "nodes": nodes,
        "skins": [
            {
                "inverseBindMatrices": file.accessor(_floats(inverse_bind)),
                "joints": list(range(joints)),
                "skeleton": head_model.parents.index(-1),
            }
        ],
        "meshes": [
            {
                "name": "head",
                "primitives": [_primitive(file, head_model, identity, mesh)],
                "weights": [0.0] * len(names),
                "extras": {"targetNames": names},
            }
        ],
        "materials": [_material()],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        "images": [{"bufferView": file.buffer_view(_png(texture)), "mimeType": "image/png", "name": "head"}],
    }
    if animation is not None:
        file.content["animations"] = [_channels(file, animation, nodes, joints)]
    file.write(path)


def _primitive(file: GlbFile, head_model: HeadModel, identity: Tensor, mesh: HeadMesh) -> dict[str, Any]:
    vertices = head_model.identity_vertices(identity)
    normals = mesh.normals(vertices)
    joints, weights = _influences(head_model.skinning_weights[mesh.vertex])
    targets = []
    for offsets in head_model.expression_basis:
        turned = mesh.normals(vertices + offsets) - normals
        turned[turned.abs().amax(1) < 1e-4] = 0
        targets.append(
            {
                "POSITION": file.sparse_accessor(_floats(offsets[mesh.vertex]), bounds=True),
                "NORMAL": file.sparse_accessor(_floats(turned)),
            }
        )
    attributes = {
        "POSITION": file.accessor(_floats(vertices[mesh.vertex]), ARRAY_BUFFER, bounds=True),
        "NORMAL": file.accessor(_floats(normals), ARRAY_BUFFER),
        "TEXCOORD_0": file.accessor(_floats(mesh.uv), ARRAY_BUFFER),
        "JOINTS_0": file.accessor(joints.numpy().astype(np.uint8), ARRAY_BUFFER),
        "WEIGHTS_0": file.accessor(_floats(weights), ARRAY_BUFFER),
    }
    indices = file.accessor(mesh.faces.numpy().astype(np.uint32).reshape(-1), ELEMENT_ARRAY_BUFFER)
    return {"attributes": attributes, "indices": indices, "material": 0, "targets": targets}


def _influences(weights: Tensor) -> tuple[Tensor, Tensor]:
    """The strongest joints of each vertex and their weights ``[N, 4]``, of skinning weights ``[N, J]``."""
    missing = max(0, INFLUENCES - weights.shape[1])
    strongest, joints = torch.nn.functional.pad(weights, (0, missing)).topk(INFLUENCES, 1)
    # glTF wants joint 0 where the weight is zero.
    return torch.where(strongest > 0, joints, 0), strongest / strongest.sum(1, keepdim=True)


def _joint_node(head_model: HeadModel, joint: int, places: Tensor) -> dict[str, Any]:
    parent, parents = head_model.parents[joint], head_model.parents
    place = places[joint] if parent < 0 else places[joint] - places[parent]
    node = {"name": head_model.asset.joint_names[joint], "translation": place.tolist()}
    children = [j for j, p in enumerate(parents) if p == joint]
    return {**node, "children": children} if children else node


def _channels(
    file: GlbFile, animation: Animation, nodes: list[dict[str, Any]], mesh_node: int
) -> dict[str, Any]:
    """The animation's channels; joints that stay at rest get none."""
    frames = len(animation.expression)
    times = file.accessor((np.arange(frames) / animation.fps).astype(np.float32), bounds=True)
    samplers, channels = [], []

    def add(node: int, path: str, values: Tensor) -> None:
        samplers.append({"input": times, "output": file.accessor(_floats(values))})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

    add(mesh_node, "weights", animation.expression.reshape(-1))
    for joint in range(animation.joints.shape[1]):
        rotation, place = animation.joints[:, joint, :, :3], animation.joints[:, joint, :, 3]
        if (rotation - torch.eye(3)).abs().max() > MOVED:
            add(joint, "rotation", torch.roll(matrix_to_quaternion(rotation), -1, 1))
        if (place - place.new_tensor(nodes[joint]["translation"])).abs().max() > MOVED:
            add(joint, "translation", place)
    return {"name": "performance", "samplers": samplers, "channels": channels}


def _material() -> dict[str, Any]:
    """The light is in the texture already; programs without the extension see rough skin."""
    base = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 1.0}
    unlit: dict[str, Any] = {"KHR_materials_unlit": {}}
    return {"name": "head", "pbrMetallicRoughness": base, "doubleSided": True, "extensions": unlit}


def _png(image: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _floats(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype(np.float32)
