"""The exported mesh and its texture coordinates."""

import numpy as np
import pytest
import torch

from partnerface.avatar.nerface import NeRFace
from partnerface.errors import UserError
from partnerface.export.head_mesh import exported_surface, head_mesh
from partnerface.export.texture import filled
from partnerface.head_models.flame import FlameHead
from partnerface.rendering.torso_layer import TorsoLayer
from partnerface.sampling.uniform import UniformSampler
from tests.head_models.flame_files import flame_arrays

SIZE = 512


@pytest.fixture(scope="module")
def mesh(anny):
    return head_mesh(anny, torch.ones(len(anny.faces), dtype=torch.bool))


def _flipped(triangles: np.ndarray) -> np.ndarray:
    first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def test_the_faces_are_the_head_models(anny, mesh) -> None:
    torch.testing.assert_close(mesh.vertex[mesh.faces], anny.faces)
    torch.testing.assert_close(mesh.parts, anny.face_parts)


def test_no_texel_belongs_to_two_faces(mesh) -> None:
    """Texel centres inside of a face, counted by brute force, and within the picture."""
    uv = mesh.uv.numpy().astype(float)
    assert uv.min() > 0
    assert uv.max() < 1
    owners = np.zeros((SIZE, SIZE), int)
    for corners in uv[mesh.faces.numpy()] * SIZE:
        low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        area = np.linalg.det([corners[1] - corners[0], corners[2] - corners[0]])
        first, second = (
            (a[0] - x) * (b[1] - y) - (a[1] - y) * (b[0] - x)
            for a, b in ((corners[1], corners[2]), (corners[2], corners[0]))
        )
        inside = (np.stack([first, second, area - first - second]) / area > 1e-3).all(0)
        owners[low[1] : high[1], low[0] : high[0]] += inside
    assert owners.max() == 1
    assert owners.any(), "the texture is empty"
    # Half of the texture is used at least.
    assert (owners > 0).mean() > 0.5


def test_a_metre_of_skin_has_the_same_texels_in_every_chart(anny, mesh) -> None:
    """By part: texels along a metre, relative to the skin, as `TEXTURE_SHARE` says, from areas alone."""
    places, uv = anny.template_vertices[mesh.vertex].numpy()[mesh.faces], mesh.uv.numpy()[mesh.faces]
    cross = np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0])
    scale = {}
    for part, name in enumerate(anny.asset.part_names):
        own = mesh.parts.numpy() == part
        scale[name] = np.sqrt(np.abs(_flipped(uv[own])).sum() / np.linalg.norm(cross[own], axis=1).sum())
    assert scale["eye_left"] / scale["skin"] == pytest.approx(1.5, rel=0.05)
    assert scale["teeth_upper"] / scale["skin"] == pytest.approx(1.0, rel=0.05)
    assert scale["mouth_cavity"] / scale["skin"] == pytest.approx(0.5, rel=0.05)


def test_a_head_model_without_texture_coordinates_is_refused(tmp_path) -> None:
    np.savez(tmp_path / "flame.npz", **flame_arrays())
    flame = FlameHead(tmp_path / "flame.npz", num_identity=5, num_expression=4)
    with pytest.raises(UserError, match="flame: has no texture coordinates; use export ply"):
        head_mesh(flame, torch.ones(len(flame.faces), dtype=torch.bool))


def test_a_method_without_a_canonical_head_is_refused(anny) -> None:
    nerface = NeRFace(anny, UniformSampler(4), TorsoLayer(resolutions=(4,), channels=2))
    with pytest.raises(UserError, match="NeRFace avatar has no canonical head"):
        exported_surface(nerface)


def test_filling_keeps_what_is_known_and_a_constant_colour() -> None:
    known = (torch.rand(1, 37, 50, generator=torch.Generator().manual_seed(0)) < 0.02).float()
    colour = torch.tensor([0.2, 0.5, 0.9])[:, None, None]
    image = known * colour
    torch.testing.assert_close(filled(image, known), colour.expand(3, 37, 50), atol=1e-5, rtol=0)
    noise = torch.rand(3, 37, 50, generator=torch.Generator().manual_seed(1))
    found = filled(noise * known, known)
    torch.testing.assert_close(found * known, noise * known)
    # No new extremes between them.
    assert found.min() >= (noise + 1 - known).min() - 1e-6
    assert found.max() <= (noise * known).max() + 1e-6
