"""GLB files as a viewer poses them, against the head model."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from partnerface.errors import UserError
from partnerface.export.animation import animation_of
from partnerface.export.head_glb import write_head_glb
from partnerface.export.head_mesh import head_mesh
from partnerface.files.whole_files import NotWritten
from tests.contracts.subjects import strong_parameters
from tests.export.glb_reader import Glb

TEXTURE = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)


@pytest.fixture(scope="module")
def mesh(anny):
    return head_mesh(anny, torch.ones(len(anny.faces), dtype=torch.bool))


@pytest.fixture(scope="module")
def performance(anny):
    """Strong expressions, turned heads, eyes and torso, of one person."""
    return strong_parameters(anny, 5)


@pytest.fixture(scope="module")
def path(anny, mesh, performance, tmp_path_factory):
    heads = [performance.select([frame]) for frame in range(5)]
    animation = animation_of(anny, heads, 25.0, heads[0])
    path = tmp_path_factory.mktemp("glb") / "head.glb"
    write_head_glb(path, anny, performance.identity, mesh, TEXTURE, animation)
    return path


def test_names_and_targets_have_one_length(anny, path) -> None:
    content, primitive = Glb(path).content, Glb(path).primitive
    assert content["meshes"][0]["extras"]["targetNames"] == list(anny.asset.expression_names)
    assert len(primitive["targets"]) == 52


def test_each_morph_target_is_the_head_models_expression(anny, performance, mesh, path) -> None:
    glb = Glb(path)
    for number in range(52):
        weights = np.eye(52)[number]
        neutral = replace(anny.neutral_parameters(), identity=performance.identity)
        expected = anny(replace(neutral, expression=torch.eye(52)[[number]])).vertices[0][mesh.vertex]
        assert np.abs(glb.shown(weights) - expected.numpy()).max() < 1e-5


def test_every_frame_of_the_animation_is_the_posed_head(anny, performance, mesh, path) -> None:
    """Within 0.1 mm, in the space in which the torso of the reference is at rest."""
    glb, vertices = Glb(path), anny(performance).vertices
    for frame in range(5):
        expected = (vertices[frame] - performance.torso_translation[0]) @ performance.torso_rotation[0]
        shown = glb.shown(*glb.animated(frame))
        assert np.abs(shown - expected[mesh.vertex].numpy()).max() < 1e-4
    times = glb.values(glb.content["animations"][0]["samplers"][0]["input"])[:, 0]
    np.testing.assert_allclose(times, np.arange(5) / 25, atol=1e-6)


def test_normals_of_targets_are_those_of_the_moved_mesh(anny, performance, mesh, path) -> None:
    glb, number = Glb(path), anny.expression_index("jawOpen")
    target = glb.primitive["targets"][number]
    moved = glb.attribute("POSITION") + glb.values(target["POSITION"])
    # Where the texture has a seam, trimesh would see an edge of the mesh: its vertices are merged by place.
    whole = trimesh.Trimesh(moved, glb.values(glb.primitive["indices"]).reshape(-1, 3), process=False)
    found = glb.attribute("NORMAL") + glb.values(target["NORMAL"])
    single = np.bincount(mesh.vertex.numpy())[mesh.vertex.numpy()] == 1
    cosine = (found * whole.vertex_normals).sum(1)[single]
    assert np.quantile(cosine, 0.02) > 0.97  # trimesh weights faces by angle, not by area


def test_another_program_reads_base_mesh_and_texture(anny, performance, path) -> None:
    scene = trimesh.load(path)
    (geometry,) = scene.geometry.values()
    expected = anny.identity_vertices(performance.identity).numpy()
    np.testing.assert_allclose(geometry.bounds, [expected.min(0), expected.max(0)], atol=1e-5)
    texture = geometry.visual.material.baseColorTexture
    np.testing.assert_array_equal(np.asarray(texture.convert("RGB")), TEXTURE)


def test_a_joint_at_rest_has_no_channel(anny, mesh, tmp_path) -> None:
    rest = anny.neutral_parameters()
    animation = animation_of(anny, [rest, rest], 25.0, rest)
    write_head_glb(tmp_path / "rest.glb", anny, rest.identity, mesh, TEXTURE, animation)
    channels = Glb(tmp_path / "rest.glb").content["animations"][0]["channels"]
    assert [channel["target"]["path"] for channel in channels] == ["weights"]


def test_a_driver_of_another_head_model_is_refused(anny, performance) -> None:
    other = replace(performance, expression=torch.zeros(5, 50))
    with pytest.raises(UserError, match=r"50 expressions.* has 52"):
        animation_of(anny, [other.select([0])], 25.0, performance)
    with pytest.raises(UserError, match="no frames"):
        animation_of(anny, [], 25.0, performance)


def test_a_full_disk_leaves_nothing(anny, mesh, performance, tmp_path, monkeypatch) -> None:
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(io, "open", full)  # what `Path.open` calls
    with pytest.raises(NotWritten, match=r"head\.glb: cannot be written \(No space left"):
        write_head_glb(tmp_path / "head.glb", anny, performance.identity, mesh, TEXTURE)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
