"""start_from: continue the field and torso of a trained avatar under another deformation."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from partnerface.avatar.avatar import Avatar
from partnerface.avatar.method import AvatarMethod
from partnerface.avatar_files.checkpoint_file import read_checkpoint
from partnerface.avatar_files.loading import PREFIX, avatar_path
from partnerface.errors import UserError

STATIC_PARTS = ("field.", "torso.", "sampler.")
"""Beginnings of the names of what is taken: all that is trained beside the deformation, and the occupancy."""
PERSON = ("identity", "cube.low", "cube.extent")
"""What two avatars have to share, or positions in the field are not those of the same head."""
PERSON_TOLERANCE = 1e-5


def read_statics(path: Path | str) -> dict[str, Tensor]:
    """Tensors of the avatar in a checkpoint or in the folder of a run, by their names in the avatar.

    Raises:
        UserError: there is no such file, or it is no checkpoint; the message names the flag.
    """
    try:
        state = read_checkpoint(avatar_path(Path(path)))["state_dict"]
    except UserError as error:
        raise UserError(f"--model.start_from: {error}") from error
    return {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}


@torch.no_grad()
def start_from(avatar: AvatarMethod, path: Path | str) -> None:
    """Give an avatar the field, torso and occupancy of a trained one, and leave its deformation as it is.

    Where the new field takes a longer appearance code than the old one, the weights of what is new, the last
    inputs of a layer, stay as they are: deformations start with a code of zero, so that the first picture is
    the old avatar's under skinning alone.

    Args:
        avatar: an avatar that has been adapted to the person.
        path: checkpoint of an avatar of the same dataset, or the folder of its run.

    Raises:
        UserError: the checkpoint is of another person or has other networks, or there is no deformation.
    """
    if not isinstance(avatar, Avatar):
        kind = type(avatar).__name__
        raise UserError(f"--model.start_from: {kind} has no deformation that could be trained by itself")
    theirs, own = read_statics(path), avatar.state_dict()
    same = all(
        name in theirs
        and theirs[name].shape == own[name].shape
        and torch.allclose(theirs[name].to(own[name]), own[name], atol=PERSON_TOLERANCE)
        for name in PERSON
    )
    if not same:
        raise UserError(
            f"--model.start_from {path}: was trained on another person, tracking or head model; "
            "choose an avatar of this dataset"
        )
    for name, value in own.items():
        if name.startswith(STATIC_PARTS):
            _copy(value, theirs.get(name), name, avatar.field.appearance_width, path)
    avatar.place_surface()


def _copy(own: Tensor, found: Tensor | None, name: str, code_width: int, path: Path | str) -> None:
    """Copy a tensor in place, which may have up to ``code_width`` columns more than what was found."""
    if found is not None and found.dtype == own.dtype:
        if found.shape == own.shape:
            own.copy_(found)
            return
        widths = range(own.shape[-1] - code_width, own.shape[-1]) if own.ndim == 2 else ()
        if found.ndim == own.ndim and len(found) == len(own) and found.shape[-1] in widths:
            own[:, : found.shape[1]] = found
            return
    shape = "missing" if found is None else f"{found.dtype} {list(found.shape)}"
    raise UserError(
        f"--model.start_from {path}: {name} is {shape} there and {own.dtype} {list(own.shape)} here; "
        "train both with the same field, torso and sampler"
    )
