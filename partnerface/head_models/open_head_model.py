"""open_head_model: from a name or a file to a head model."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from partnerface.errors import UserError
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_name import PACKAGED_NAMES, require_head_model
from partnerface.head_models.ict_facekit import IctFaceKitHead

PACKAGED_HEADS: Mapping[str, Callable[[], HeadModel]] = dict(
    zip(PACKAGED_NAMES, (AnnyHead, IctFaceKitHead), strict=True)
)
"""Head models that come with the package, by name."""

_MARKS: Mapping[str, Callable[[Path], HeadModel]] = {"v_template": FlameHead, "part_ranges": IctFaceKitHead}
"""An array by which an npz file is known, and what reads it."""


def packaged_head(checksum: str) -> HeadModel | None:
    """The head model of the package that has a checksum, see `HeadModelAsset.checksum`; None if none has."""
    heads = (make() for make in PACKAGED_HEADS.values())
    return next((head for head in heads if head.asset.checksum() == checksum), None)


def open_head_model(text: str | Path) -> HeadModel:
    """The head model of a name or a file.

    Args:
        text: ``anny`` or ``ict_facekit``; or the path of a FLAME file (``.pkl`` or ``.npz``) or of one of
            ICT-FaceKit (``.npz``). Of FLAME the first 100 identity and 50 expression components are used.

    Raises:
        UserError: there is no such name or file, or it is none of these.
    """
    if (packaged := PACKAGED_HEADS.get(str(text))) is not None:
        return packaged()
    require_head_model(text)
    path = Path(text)
    if path.suffix == ".pkl":
        return FlameHead(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"--head_model {text}: neither a .pkl nor a readable .npz file") from error
    for mark, read in _MARKS.items():
        if mark in names:
            return read(path)
    raise UserError(f"--head_model {text}: neither a FLAME nor an ICT-FaceKit file ({', '.join(_MARKS)})")
