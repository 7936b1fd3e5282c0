"""Posed meshes: each frame of a driver as an OBJ file with a texture or a PLY file with vertex colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from partnerface.avatar.avatar import Avatar
from partnerface.data.view import View
from partnerface.export.head_colours import HeadColours
from partnerface.export.head_mesh import HeadMesh
from partnerface.files.images import write_image
from partnerface.files.whole_files import replace_text, whole_file
from partnerface.meshes.normals import SurfacePoints, vertex_normals

TEXTURE_FILE, MATERIAL_FILE = "texture.png", "head.mtl"


def frame_path(folder: Path, frame: int, suffix: str) -> Path:
    """The file of a frame, by its number in the driver."""
    return folder / f"{frame:05d}{suffix}"


def write_obj_material(folder: Path, texture: np.ndarray) -> None:
    """Write what the OBJ files of a folder share: the texture, and the material that names it."""
    write_image(folder / TEXTURE_FILE, texture)
    replace_text(folder / MATERIAL_FILE, f"newmtl head\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {TEXTURE_FILE}\n")


def write_obj(path: Path, avatar: Avatar, view: View, mesh: HeadMesh) -> None:
    """Write a posed head (F = 1) as OBJ, metres in world space; each part of the surface is a group."""
    vertices = avatar.head_model(view.head).vertices[0].cpu()
    lines = [f"mtllib {MATERIAL_FILE}", "usemtl head"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices[mesh.vertex].tolist()]
    # OBJ counts v upwards.
    lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in mesh.uv.tolist()]
    lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in mesh.normals(vertices).tolist()]
    for part in mesh.parts.unique().tolist():
        lines.append(f"g {avatar.head_model.asset.part_names[part]}")
        for corners in (mesh.faces[mesh.parts == part] + 1).tolist():
            lines.append("f " + " ".join(f"{corner}/{corner}/{corner}" for corner in corners))
    replace_text(path, "\n".join(lines) + "\n")


def write_coloured_ply(path: Path, avatar: Avatar, view: View, faces: Tensor) -> None:
    """Write a posed head (F = 1) as binary PLY, metres in world space, coloured by the field in that pose.

    Vertices that the faces ``[Fc, 3]`` leave out are not written.
    """
    used, corners = faces.unique(return_inverse=True)
    vertices = avatar.head_model(view.head).vertices[0]
    barycentric = torch.zeros(len(used), 3, device=used.device)
    barycentric[:, 0] = 1
    found = HeadColours(avatar, [view]).at(SurfacePoints(used[:, None].repeat(1, 3), barycentric))
    columns = {
        **_named("x y z", vertices[used]),
        **_named("nx ny nz", vertex_normals(vertices, faces)[used]),
        **_named("red green blue", (255 * found.rgb).round().byte()),
    }
    write_ply(path, columns, corners.view(-1, 3).cpu().numpy())


def write_ply(path: Path, columns: dict[str, np.ndarray], faces: np.ndarray | None = None) -> None:
    """Write vertices with named properties, and triangles, as binary little-endian PLY.

    Args:
        path: the file; it is whole or not there.
        columns: ``[N]`` float32 or uint8 of each property.
        faces: ``[Fc, 3]``, or None for points alone.

    Raises:
        NotWritten: it cannot be written.
    """
    kinds = {"float32": "float", "uint8": "uchar"}
    dtype = [(name, values.dtype.newbyteorder("<")) for name, values in columns.items()]
    rows = np.empty(len(next(iter(columns.values()))), dtype)
    for name, values in columns.items():
        rows[name] = values
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property {kinds[values.dtype.name]} {name}" for name, values in columns.items()]
    body = rows.tobytes()
    if faces is not None:
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        triangles = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
        triangles["count"], triangles["corners"] = 3, faces
        body += triangles.tobytes()
    with whole_file(path) as partial:
        partial.write_bytes("\n".join([*header, "end_header", ""]).encode() + body)


def _named(names: str, values: Tensor) -> dict[str, np.ndarray]:
    """The columns of values ``[N, C]`` by C names."""
    return dict(zip(names.split(), values.detach().cpu().numpy().T, strict=True))
