"""Loading a trained avatar, without Lightning's trainer and without running code from the file."""

from __future__ import annotations

from pathlib import Path

import torch

from partnerface.avatar.avatar import Avatar
from partnerface.errors import UserError
from partnerface.training.module import AvatarModule
from partnerface.training.resume.atomic_checkpoint import AtomicCheckpointIO, refuse_foreign_code


def load_avatar(checkpoint: Path | str, device: torch.device | str = "cpu") -> Avatar:
    """The avatar of a checkpoint, ready to render.

    Raises:
        UserError: there is no such file, or it is no checkpoint of an avatar.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise UserError(f"checkpoint {path}: no such file")
    refuse_foreign_code(AtomicCheckpointIO().load_checkpoint(path, map_location="cpu"), path)
    try:
        module = AvatarModule.load_from_checkpoint(path, map_location=device, weights_only=True)
    except Exception as error:
        # Torch, zip and parser errors alike: the file decides which.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"checkpoint {path}: not a checkpoint of an avatar ({reason[:200]})") from error
    return module.avatar.to(device).eval()
