"""What an avatar was trained on: kept in checkpoints, so that it is not tested on frames of its training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.errors import UserError

TRAINED_ON = "trained_on"
"""Key in a checkpoint."""


def trained_on(data: HeadVideoDataModule) -> dict[str, str | None]:
    """Name of the protocol that divides the video, and what tells its training frames from others."""
    frames = hashlib.sha256(repr(data.train_frames).encode()).hexdigest()
    return {"protocol": None if data.protocol is None else data.protocol.name, "frames": frames}


def require_same_division(checkpoint: Mapping[str, Any], data: HeadVideoDataModule) -> None:
    """Refuse a checkpoint whose training frames may be test frames now.

    Raises:
        UserError: another protocol divides the video in another way.
    """
    # Checkpoints of before protocols were recorded had none.
    begun, now = checkpoint.get(TRAINED_ON, {"protocol": None, "frames": None}), trained_on(data)
    if begun["protocol"] != now["protocol"] and begun["frames"] != now["frames"]:
        raise UserError(
            f"--protocol {now['protocol'] or 'not given'}: the avatar was trained with "
            f"{begun['protocol'] or 'none'}, so that test frames may be among its training frames; train "
            "it again, or test with the protocol that it was trained with"
        )
