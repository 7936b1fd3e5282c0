"""The command ``embed-landmarks``: find a detector's landmarks on a head model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from partnerface.errors import UserError
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.anny_baking.baking import AnnyLandmarks
from partnerface.head_models.landmark_geometry import MAX_SPREAD_MM
from partnerface.head_models.open_head_model import PACKAGED_HEADS
from partnerface.tracking.detection.head_portraits import portraits
from partnerface.tracking.detection.landmark_embedding import embed_landmarks as find_embedding
from partnerface.tracking.detection.landmark_embedding import symmetric
from partnerface.tracking.fittable_head import fittable_head_model


def embed_landmarks(head_model: str = "anny", out: Path | None = None) -> None:
    """Find MediaPipe's landmarks on a head model by painting it and detecting them (a minute).

    Those of a FLAME file are kept in the cache, where every command finds them; `track` finds them itself
    if need be. The packaged heads have theirs.

    Args:
        head_model: the path of a FLAME file, or anny.
        out: for anny: the npz file to write, for ``bake-head --landmarks``. A landmark that the head knows
            well keeps its place; nothing is overwritten.
    """
    if head_model != "anny":
        if out is not None:
            raise UserError("--out: only for anny; landmarks of a file are kept in the cache")
        known = fittable_head_model(head_model).asset.landmark_spread
        print(f"{head_model}: has {int((known <= MAX_SPREAD_MM).sum())} landmarks")
        return
    if out is None:
        raise UserError(f"{', '.join(PACKAGED_HEADS)} have their landmarks; name a FLAME file, or give --out")
    _embed_on_anny(Path(out))


def _embed_on_anny(out: Path) -> None:
    if out.suffix != ".npz":
        raise UserError(f"--out {out}: must end in .npz")
    if out.exists():
        raise UserError(f"--out {out}: exists already; remove it or choose another file")
    head_model = AnnyHead()
    embedding = find_embedding(head_model, portraits(head_model))
    asset = head_model.asset
    better = (asset.landmark_spread > MAX_SPREAD_MM) & (embedding.spread < asset.landmark_spread)
    embedding.faces = np.where(better, embedding.faces, asset.landmark_faces)
    embedding.barycentric = np.where(better[:, None], embedding.barycentric, asset.landmark_barycentric)
    asset.landmark_spread = embedding.spread = np.where(better, embedding.spread, asset.landmark_spread)
    embedding = symmetric(head_model, embedding)
    asset.landmark_faces, asset.landmark_barycentric = embedding.faces, embedding.barycentric
    AnnyLandmarks.from_asset(asset).save(out)
    spread = asset.landmark_spread
    known = int((spread <= MAX_SPREAD_MM).sum())
    print(
        f"{out}: {known} of {len(spread)} landmarks within {MAX_SPREAD_MM:g} mm, "
        f"median {np.median(spread):.2f} mm; {int(better.sum())} new"
    )
