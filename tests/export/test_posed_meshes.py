"""OBJ and PLY files, read by another program, against the posed head."""

import numpy as np
import pytest
import torch
import trimesh

from partnerface.export.head_mesh import head_mesh
from partnerface.export.posed_meshes import (
    frame_path,
    write_coloured_ply,
    write_obj,
    write_obj_material,
    write_ply,
)
from tests.export.conftest import SHELL_M


def test_an_obj_file_is_the_posed_head_with_its_texture(avatar, views, tmp_path) -> None:
    mesh = head_mesh(avatar.head_model, avatar.surface)
    texture = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    view, path = views.select([1]), frame_path(tmp_path, 7, ".obj")
    write_obj_material(tmp_path, texture)
    write_obj(path, avatar, view, mesh)
    assert path.name == "00007.obj"
    found = trimesh.load(path, process=False, maintain_order=True, group_material=False)
    vertices = avatar.head_model(view.head).vertices[0]
    np.testing.assert_allclose(found.vertices, vertices[mesh.vertex], atol=2e-6)
    # In OBJ v counts from the lower edge.
    np.testing.assert_allclose(
        found.visual.uv, mesh.uv * torch.tensor([1, -1]) + torch.tensor([0, 1]), atol=2e-6
    )
    assert {tuple(face) for face in found.faces} == {tuple(face) for face in mesh.faces.tolist()}
    np.testing.assert_array_equal(np.asarray(found.visual.material.image.convert("RGB")), texture)


def test_a_ply_file_is_the_posed_head_in_the_colours_of_the_field(avatar, views, tmp_path) -> None:
    view, faces = views.select([2]), avatar.head_model.faces[avatar.surface]
    write_coloured_ply(tmp_path / "head.ply", avatar, view, faces)
    found = trimesh.load(tmp_path / "head.ply", process=False)
    used = faces.unique()
    posed = avatar.head_model(view.head)
    np.testing.assert_allclose(found.vertices, posed.vertices[0, used], atol=1e-7)
    np.testing.assert_array_equal(used.numpy()[found.faces], faces.numpy())
    place = found.visual.vertex_colors[:, :3] / 255 * float(avatar.cube.extent) + avatar.cube.low.numpy()
    facing = (found.vertex_normals @ posed.head_rotation[0, :, 2].numpy()) > 0.8
    distance = np.linalg.norm(place - posed.canonical_vertices[used].numpy(), axis=1)[facing]
    assert np.median(distance) < SHELL_M + 0.005


@pytest.mark.parametrize("faces", [None, np.array([[0, 1, 2], [2, 1, 3]])])
def test_ply_columns_come_back(faces, tmp_path) -> None:
    rng = np.random.default_rng(1)
    columns = {name: rng.normal(size=4).astype(np.float32) for name in ("x", "y", "z", "weight")}
    columns["red"] = np.array([0, 1, 254, 255], np.uint8)
    write_ply(tmp_path / "some.ply", columns, faces)
    raw = trimesh.load(tmp_path / "some.ply", process=False).metadata["_ply_raw"]
    for name, values in columns.items():
        np.testing.assert_array_equal(raw["vertex"]["data"][name].reshape(-1), values)
