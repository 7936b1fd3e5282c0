"""AtomicCheckpointIO: checkpoints that are whole or not there, and hold numbers and plain values only."""

from __future__ import annotations

from pathlib import Path
from pickle import PicklingError
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.serialization import get_unsafe_globals_in_checkpoint

from partnerface.avatar_files.checkpoint_file import first_reason, read_checkpoint
from partnerface.errors import UserError
from partnerface.files.whole_files import whole_file

_PLAIN_ONLY = "states and hyper-parameters may hold tensors and plain values only"


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
                raise OSError(first_reason(error)) from error
            except (PicklingError, AttributeError, TypeError) as error:
                raise UserError(f"checkpoint {target}: {first_reason(error)}; {_PLAIN_ONLY}") from error
            if objects := get_unsafe_globals_in_checkpoint(partial):
                raise UserError(f"checkpoint {target}: holds {', '.join(sorted(objects))}; {_PLAIN_ONLY}")

    def load_checkpoint(self, path, map_location=None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint: data only, whatever ``weights_only`` says.

        Raises:
            UserError: the file is damaged, is no checkpoint or would run code.
        """
        return read_checkpoint(path, map_location or "cpu")
