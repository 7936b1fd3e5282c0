"""load_avatar: a trained avatar from a file; only trusted classes of what the file names are imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from partnerface.avatar.method import AvatarMethod
from partnerface.avatar_files.checkpoint_file import read_checkpoint
from partnerface.avatar_files.class_paths import (
    check_classes,
    denied_path,
    extension_error,
    imports_only,
    innermost,
    refusal,
)
from partnerface.errors import UserError
from partnerface.runs.run import LAST_CHECKPOINT

_PREFIX = "avatar."
"""Of the avatar's tensors in a checkpoint."""


def load_avatar(
    path: Path | str, device: torch.device | str = "cpu", trust: Iterable[str] = ()
) -> AvatarMethod:
    """Load a trained avatar, ready to render; its dataset is not needed.

    The file's tensors are read without running code. Of the classes that its avatar is made of, those of
    Partnerface are imported, and those of the packages in ``trust``; a file that names any other is refused
    before anything of it is imported. What a checkpoint holds for training alone is not looked at.

    >>> avatar = load_avatar("runs/me", trust=["mypackage"])  # doctest: +SKIP

    Args:
        path: the folder of a run or of ``partnerface create``, or a checkpoint, such as
            ``runs/me/checkpoints/last.ckpt``.
        device: where its tensors go.
        trust: names of other packages whose classes the file may name, as a list or with commas between.

    Returns:
        The avatar in evaluation mode.

    Raises:
        UserError: there is no such file, it holds no avatar, or it names a class that is not trusted.
    """
    path = avatar_path(Path(path))
    content = read_checkpoint(path)
    values = content.get("hyper_parameters", {}).get("avatar")
    state = {k[len(_PREFIX) :]: v for k, v in content["state_dict"].items() if k.startswith(_PREFIX)}
    with imports_only(trust), refusals(f"checkpoint {path}"):
        parser, configuration = parsed_avatar(values)
        avatar = parser.instantiate(configuration).avatar
        load_state(avatar, state)
    return avatar.to(device).eval()


def avatar_path(path: Path) -> Path:
    """The file of an avatar: the path itself, or the last checkpoint where it is the folder of a run.

    Raises:
        UserError: the folder holds no checkpoint.
    """
    if not path.is_dir():
        return path
    if not (path / LAST_CHECKPOINT).is_file():
        raise UserError(f"{path}: holds no {LAST_CHECKPOINT}; give the folder of a run, or a checkpoint")
    return path / LAST_CHECKPOINT


def parsed_avatar(values: Any) -> tuple[ArgumentParser, Namespace]:
    """A parser for an `AvatarMethod` and what it makes of an avatar's configuration, classes checked.

    To be called within `imports_only`.

    Args:
        values: ``class_path`` and ``init_args``, as a checkpoint or an avatar file holds them.

    Returns:
        A parser and a configuration with the key ``avatar``.
    """
    if values is None:
        raise UserError("names no class of an avatar")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AvatarMethod, "avatar", required=True)
    configuration = parser.parse_object({"avatar": values})
    check_classes(configuration)
    return parser, configuration


def load_state(avatar: AvatarMethod, state: Mapping[str, Tensor]) -> None:
    """Fill an avatar with tensors, which have to be its own by name, shape and type.

    Raises:
        UserError: one is missing, one is too many, or one differs.
    """
    for name, value in avatar.state_dict().items():
        if name in state and state[name].dtype != value.dtype:
            raise UserError(f"{name} is of {state[name].dtype}, not {value.dtype}")
    try:
        avatar.load_state_dict(state)
    except RuntimeError as error:
        # Torch's first line says only that there is an error.
        lines = str(error).strip().splitlines()
        raise UserError(lines[min(1, len(lines) - 1)].strip()) from error


@contextmanager
def refusals(source: str) -> Iterator[None]:
    """Turn whatever a file's contents raise, in torch, the parser or a constructor, into one line.

    Args:
        source: the file, as the line names it.
    """
    try:
        yield
    # A module may end the process while it is imported.
    except (Exception, SystemExit) as error:
        if denied := denied_path(error):
            raise UserError(f"{source}: {refusal(denied)}") from error
        first = innermost(error)
        reason = str(first) if isinstance(first, UserError) else extension_error(error)
        reason = reason or f"{type(first).__name__}: {first}"
        # Torch and the parser explain at length.
        reason = next(iter(reason.strip().splitlines()), "")[:300]
        raise UserError(f"{source}: no avatar can be made of it ({reason})") from error
