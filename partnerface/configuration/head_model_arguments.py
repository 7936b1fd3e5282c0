"""From a head model that a user names to the flags that train an avatar with it."""

from __future__ import annotations

from pathlib import Path

from partnerface.configuration.config_files import config_arguments
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.open_head_model import PACKAGED_HEADS


def head_model_arguments(text: str, head_model: HeadModel) -> list[str]:
    """Configuration file and flags of ``partnerface fit`` for a head model.

    Args:
        text: what it was opened by, see `open_head_model`.
        head_model: the head model.
    """
    arguments = config_arguments(f"head_model/{head_model.asset.name}")
    if text not in PACKAGED_HEADS:
        arguments.append(f"--model.avatar.head_model.init_args.path={Path(text).absolute()}")
    return arguments
