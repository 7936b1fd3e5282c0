"""Which texts name a head model; kept apart, so that a wrong name need not wait for torch."""

from __future__ import annotations

from pathlib import Path

from partnerface.errors import UserError

PACKAGED_NAMES = ("anny", "ict_facekit")
"""Head models that come with the package, by the name that datasets record."""


def require_head_model(text: str | Path) -> None:
    """Refuse a text that names no head model.

    Raises:
        UserError: it is neither one of `PACKAGED_NAMES` nor the path of a file.
    """
    if str(text) not in PACKAGED_NAMES and not Path(text).is_file():
        raise UserError(
            f"--head_model {text}: no such file, nor one of {', '.join(PACKAGED_NAMES)}; FLAME needs its file"
        )
