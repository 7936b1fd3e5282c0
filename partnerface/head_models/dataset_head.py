"""DatasetHead: the head model that a dataset was read with, from the asset that its reader left beside it."""

from __future__ import annotations

from pathlib import Path

from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_asset import HeadModelAsset


class DatasetHead(HeadModel):
    """The head model of a dataset of another system: FLAME as it was tracked, or one made of its meshes.

    Args:
        path: the asset; ``fit`` and its kin take the one that ``--data.reader`` has written if none is given.

    Raises:
        UserError: there is no path, or the file is no head model.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            raise UserError(
                "--model.avatar.head_model: DatasetHead has no file; choose AutoReader as --data.reader, or "
                "give the asset as --model.avatar.head_model.init_args.path"
            )
        asset = HeadModelAsset.load(Path(path))
        super().__init__(asset, asset.surface)
