"""The contents of a checkpoint: read as data, whole and finite; Lightning is not imported for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from partnerface.errors import UserError

_KINDS = {
    **{"state_dict": dict, "loops": dict, "epoch": int, "global_step": int},
    "pytorch-lightning_version": str,
}
_OPTIONAL_KINDS = {
    **{"hyper_parameters": dict, "callbacks": dict},
    **{"optimizer_states": list, "lr_schedulers": list},
}


def read_checkpoint(path: Path | str, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint: data only, nothing in it is run.

    Raises:
        UserError: the file is missing, damaged, is no checkpoint or would run code.
    """
    if not Path(path).is_file():
        raise UserError(f"checkpoint {path}: no such file")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        # What a damaged file raises depends on where it is damaged.
        raise UserError(f"checkpoint {path}: not readable ({first_reason(error)})") from error
    check_contents(checkpoint, path)
    return checkpoint


def check_contents(checkpoint: Any, path: Path | str) -> None:
    """Make sure that a loaded file is a whole checkpoint of finite numbers.

    Raises:
        UserError: it is not; the message names the file and the entry.
    """
    if not isinstance(checkpoint, dict):
        raise UserError(f"checkpoint {path}: holds a {type(checkpoint).__name__}, not a table; train again")
    for name, kind in {**_KINDS, **_OPTIONAL_KINDS}.items():
        if name not in checkpoint and name in _KINDS:
            raise UserError(f"checkpoint {path}: has no {name!r}; it is no checkpoint of a run")
        if name in checkpoint and not isinstance(checkpoint[name], kind):
            found = type(checkpoint[name]).__name__
            raise UserError(f"checkpoint {path}: {name!r} is a {found}, not a {kind.__name__}; train again")
    if "partnerface_version" not in checkpoint:
        raise UserError(
            f"checkpoint {path}: written by Partnerface 0.1, which named its parts otherwise; train again"
        )
    for name, value in checkpoint["state_dict"].items():
        plain = isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta
        if not isinstance(name, str) or not plain:
            raise UserError(f"checkpoint {path}: state_dict[{name!r}] is no tensor; train again")
        if not torch.isfinite(value).all():
            raise UserError(
                f"checkpoint {path}: state_dict[{name!r}] holds values that are not finite; "
                "take an earlier checkpoint"
            )


def first_reason(error: Exception) -> str:
    """The first line of the error that an error came from."""
    while not isinstance(error, OSError) and isinstance(error.__context__, Exception):
        error = error.__context__
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__
