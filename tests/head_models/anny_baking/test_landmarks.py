"""The landmark embedding in base mesh numbers."""

from __future__ import annotations

import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.head_models.anny import ANNY_ASSET
from partnerface.head_models.anny_baking.landmarks import AnnyLandmarks
from partnerface.head_models.head_model_asset import HeadModelAsset


def test_landmark_file_and_asset_agree():
    shipped = AnnyLandmarks.load(ANNY_ASSET.with_name("anny_landmarks.npz"))
    baked = AnnyLandmarks.from_asset(HeadModelAsset.load(ANNY_ASSET))
    corners = {
        k: dict(zip(i.tolist(), b.tolist(), strict=True))
        for k, (i, b) in enumerate(zip(shipped.vertex_ids, shipped.barycentric, strict=True))
    }
    for k, (ids, barycentric) in enumerate(zip(baked.vertex_ids, baked.barycentric, strict=True)):
        assert corners[k] == pytest.approx(dict(zip(ids.tolist(), barycentric.tolist(), strict=True)))


def test_landmarks_off_the_mesh():
    asset = HeadModelAsset.load(ANNY_ASSET)
    landmarks = AnnyLandmarks.from_asset(asset)
    landmarks.vertex_ids[3] = [0, 1, 10**6]
    with pytest.raises(UserError, match="first landmark 3"):
        landmarks.embed(asset.faces, asset.source_vertex_ids)


def test_landmarks_that_cannot_be_read(tmp_path):
    path = tmp_path / "landmarks.npz"
    for content in (None, b"", b"no", ANNY_ASSET.read_bytes()[:1000]):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=r"landmarks\.npz: cannot be read"):
            AnnyLandmarks.load(path)


def test_embedding_survives_another_face_order(tmp_path):
    """A new bake may number faces and corners anew; the landmarks stay where they are."""
    asset = HeadModelAsset.load(ANNY_ASSET)
    AnnyLandmarks.from_asset(asset).save(tmp_path / "landmarks.npz")
    rng = np.random.default_rng(0)
    faces = np.roll(rng.permutation(asset.faces), 1, axis=1)
    index, barycentric = AnnyLandmarks.load(tmp_path / "landmarks.npz").embed(faces, asset.source_vertex_ids)

    def places(corners, weights):
        return (asset.template_vertices[corners] * weights[..., None]).sum(1)

    before = places(asset.faces[asset.landmark_faces], asset.landmark_barycentric)
    np.testing.assert_allclose(places(faces[index], barycentric), before, atol=1e-7)
