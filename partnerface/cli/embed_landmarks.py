"""The command ``embed-landmarks``: find a detector's landmarks on the head model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from partnerface.errors import UserError
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.anny_baking.baking import AnnyLandmarks
from partnerface.head_models.landmark_geometry import MAX_SPREAD_MM
from partnerface.tracking.detection.landmark_embedding import embed_landmarks as find_embedding
from partnerface.tracking.detection.landmark_embedding import render_views


def embed_landmarks(out: Path) -> None:
    """Find MediaPipe's landmarks on the Anny head by rendering it and detecting them (half a minute).

    A landmark that the head knows well keeps its place. Pass the file to ``bake-head --landmarks`` to bake a
    head with this embedding.

    Args:
        out: the npz file to write; nothing is overwritten.
    """
    out = Path(out)
    if out.suffix != ".npz":
        raise UserError(f"--out {out}: must end in .npz")
    if out.exists():
        raise UserError(f"--out {out}: exists already; remove it or choose another file")
    head_model = AnnyHead()
    embedding = find_embedding(head_model, render_views(head_model))
    asset = head_model.asset
    better = (asset.landmark_spread > MAX_SPREAD_MM) & (embedding.spread < asset.landmark_spread)
    asset.landmark_faces = np.where(better, embedding.faces, asset.landmark_faces)
    asset.landmark_barycentric = np.where(better[:, None], embedding.barycentric, asset.landmark_barycentric)
    asset.landmark_spread = np.where(better, embedding.spread, asset.landmark_spread)
    AnnyLandmarks.from_asset(asset).save(out)
    spread = asset.landmark_spread
    known = int((spread <= MAX_SPREAD_MM).sum())
    print(
        f"{out}: {known} of {len(spread)} landmarks within {MAX_SPREAD_MM:g} mm, "
        f"median {np.median(spread):.2f} mm; {int(better.sum())} new"
    )
