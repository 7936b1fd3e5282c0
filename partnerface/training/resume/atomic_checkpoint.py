"""AtomicCheckpointIO: checkpoints that are whole or not there, and hold numbers and plain values only."""

from __future__ import annotations

from pathlib import Path
from pickle import PicklingError
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint

from partnerface.errors import UserError
from partnerface.files.whole_files import whole_file

_KINDS = {
    **{"state_dict": dict, "loops": dict, "epoch": int, "global_step": int},
    "pytorch-lightning_version": str,
}
_OPTIONAL_KINDS = {
    **{"hyper_parameters": dict, "callbacks": dict},
    **{"optimizer_states": list, "lr_schedulers": list},
}
_PLAIN_ONLY = "states and hyper-parameters may hold tensors and plain values only"


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
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"checkpoint {path}: state_dict[{name!r}] is no tensor; train again")
        if not torch.isfinite(value).all():
            raise UserError(
                f"checkpoint {path}: state_dict[{name!r}] holds values that are not finite; "
                "take an earlier checkpoint"
            )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, syncs and renames.

    Lightning's own writer goes through the system's temporary folder, which is often another file
    system: the last step is then a copy, and a kill leaves a truncated checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            NotWritten: the folder cannot be written or the disk is full; an earlier checkpoint is kept.
            UserError: it holds an object that is neither tensor nor plain value, for instance in the
                ``state_dict`` of somebody's own callback, and so could never be loaded again.
        """
        target = Path(path)
        advice = "free some space or choose another --run_dir; the earlier checkpoint, if any, is kept"
        with whole_file(target, advice, synced=True) as partial:
            target.parent.mkdir(parents=True, exist_ok=True)
            for abandoned in target.parent.glob(f".{target.name}.*.partial"):
                # Left by a process that was killed while it wrote.
                abandoned.unlink(missing_ok=True)
            try:
                with partial.open("wb") as file:
                    torch.save(checkpoint, file)
            except RuntimeError as error:
                # torch.save reports a full disk as a RuntimeError of its zip writer.
                raise OSError(_reason(error)) from error
            except (PicklingError, AttributeError, TypeError) as error:
                raise UserError(f"checkpoint {target}: {_reason(error)}; {_PLAIN_ONLY}") from error
            if objects := get_unsafe_globals_in_checkpoint(partial):
                raise UserError(f"checkpoint {target}: holds {', '.join(sorted(objects))}; {_PLAIN_ONLY}")

    def load_checkpoint(self, path, map_location=None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint: data only, whatever ``weights_only`` says.

        Raises:
            UserError: the file is damaged, is no checkpoint or would run code.
        """
        try:
            checkpoint = super().load_checkpoint(path, map_location or "cpu", weights_only=True)
        except Exception as error:
            # What a damaged file raises depends on where it is damaged.
            raise UserError(f"checkpoint {path}: not readable ({_reason(error)})") from error
        check_contents(checkpoint, path)
        return checkpoint


def _reason(error: Exception) -> str:
    while not isinstance(error, OSError) and isinstance(error.__context__, Exception):
        error = error.__context__
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__
