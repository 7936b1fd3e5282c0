"""The asset file: what is written is read, and what is damaged is named."""

from __future__ import annotations

import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.head_models.anny import ANNY_ASSET
from partnerface.head_models.head_model_asset import HeadModelAsset


def test_round_trip(tmp_path):
    asset = HeadModelAsset.load(ANNY_ASSET)
    asset.save(tmp_path / "head.npz")
    again = HeadModelAsset.load(tmp_path / "head.npz")
    assert again.checksum() == asset.checksum()
    assert again.part_names == asset.part_names


def test_unreadable(tmp_path):
    path = tmp_path / "head.npz"
    with pytest.raises(UserError, match=r"head\.npz: cannot be read"):
        HeadModelAsset.load(path)
    content = ANNY_ASSET.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 255
    for damaged in (b"", b"PK\x03\x04", content[: len(content) // 2], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"head\.npz: cannot be read"):
            HeadModelAsset.load(path)


def test_pickled_array_is_refused(tmp_path):
    path = tmp_path / "head.npz"
    np.savez(path, name=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="cannot be read"):
        HeadModelAsset.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faces": None}, "no faces"),
        ({"skinning_weights": np.zeros((3, 6))}, "skinning_weights has shape"),
        ({"landmark_faces": np.full(468, 10**6)}, "landmark_faces points outside"),
        ({"faces": np.full((11726, 3), -1)}, "faces"),
        ({"template_vertices": np.zeros(4)}, "template_vertices has shape"),
    ],
)
def test_inconsistent(tmp_path, change, message):
    with np.load(ANNY_ASSET) as archive:
        arrays = {**{k: archive[k] for k in archive.files}, **change}
    path = tmp_path / "head.npz"
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(UserError, match=rf"head\.npz: .*{message}"):
        HeadModelAsset.load(path)
