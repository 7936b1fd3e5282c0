"""Landmark embeddings of head models that come without one: found once, kept beside downloaded files."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays, shape_fault, write_arrays
from partnerface.files.downloads import cache_folder, stored_file
from partnerface.head_models.head_model_asset import HeadModelAsset

LANDMARKS = 468
"""MediaPipe's, without the irises."""

_SHAPES = {"landmark_faces": "K", "landmark_barycentric": "K3", "landmark_spread": "K"}
_LARGEST_BYTES = 1_000_000


def surface_digest(vertices: np.ndarray, faces: np.ndarray) -> str:
    """Digest of a mean head: an embedding belongs to its vertices ``[V, 3]`` and faces ``[Fc, 3]``."""
    digest = hashlib.sha256(np.ascontiguousarray(vertices, np.float32).tobytes())
    digest.update(np.ascontiguousarray(faces, np.int64).tobytes())
    return digest.hexdigest()[:16]


def landmarks_file(digest: str) -> str:
    """Name of the file with the symmetric embedding of the mean head of that digest."""
    return f"symmetric_landmarks_{digest}.npz"


def with_stored_landmarks(asset: HeadModelAsset, digest: str) -> HeadModelAsset:
    """The asset with the embedding that was kept for its mean head; as it is where there is none.

    Looked for in the folder ``PARTNERFACE_ASSETS`` and in the cache. An unreadable file counts as missing.
    """
    if (path := stored_file(landmarks_file(digest))) is None:
        return asset
    try:
        arrays = read_arrays(path, _SHAPES, _LARGEST_BYTES)
    except UserError:
        return asset
    fits = arrays.keys() == _SHAPES.keys() and shape_fault(arrays, _SHAPES, {"K": LANDMARKS}) is None
    if not fits or not all(np.isfinite(array).all() for array in arrays.values()):
        return asset
    faces = arrays["landmark_faces"]
    if faces.dtype.kind not in "iu" or not 0 <= faces.min() <= faces.max() < len(asset.faces):
        return asset
    return replace(asset, **arrays)


_ADVICE = {
    "flame": "`partnerface embed-landmarks FILE` finds those of a FLAME file",
    "meshes": "a head that is made of a dataset's meshes has none",
}


def require_landmarks(asset: HeadModelAsset, purpose: str) -> None:
    """Refuse a head model without a landmark embedding.

    Args:
        asset: arrays of the head model.
        purpose: what cannot be done without one, in words.

    Raises:
        UserError: it has none.
    """
    if not len(asset.landmark_faces):
        advice = _ADVICE.get(asset.name.partition("_")[0])
        raise UserError(
            f"head model {asset.name}: has no landmark embedding, without which {purpose}"
            + (f"; {advice}" if advice else "")
        )


def keep_landmarks(asset: HeadModelAsset, digest: str) -> Path:
    """Keep the embedding of an asset in the cache; returns its file.

    Raises:
        NotWritten: it cannot be written.
    """
    path = cache_folder() / landmarks_file(digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, {name: getattr(asset, name) for name in _SHAPES})
    return path
