"""A trained avatar from its checkpoint alone; only trusted classes of what the file names are imported."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace

from partnerface.avatar.method import AvatarMethod
from partnerface.errors import UserError
from partnerface.training.class_paths import (
    check_classes,
    denied_path,
    extension_error,
    imports_only,
    innermost,
    refusal,
)
from partnerface.training.module import AvatarModule
from partnerface.training.resume.atomic_checkpoint import AtomicCheckpointIO


def load_avatar(
    checkpoint: Path | str, device: torch.device | str = "cpu", trust: Iterable[str] = ()
) -> AvatarMethod:
    """Load a trained avatar, ready to render; its dataset is not needed.

    The file's tensors are read without running code. Of the classes that it names, those of Partnerface
    are imported, and those of the packages in ``trust``; a file that names any other is refused before
    anything of it is imported.

    >>> avatar = load_avatar("runs/me/checkpoints/last.ckpt", trust=["mypackage"])  # doctest: +SKIP

    Args:
        checkpoint: a file that ``partnerface fit`` has written, such as ``runs/me/checkpoints/last.ckpt``.
        device: where its tensors go.
        trust: names of other packages whose classes the file may name, as a list or with commas between.

    Returns:
        The avatar in evaluation mode.

    Raises:
        UserError: there is no such file, it is no checkpoint of an avatar, or it names a class that is
            not trusted.
    """
    path = Path(checkpoint)
    content = _content(path)
    with imports_only(trust), _refusals(path), warnings.catch_warnings():
        # Lightning would have the avatar left out of the hyper-parameters, where only its class path is.
        warnings.filterwarnings("ignore", ".*already saved during checkpointing.*")
        parser, configuration = _parsed(content)
        module = parser.instantiate(configuration).model
        module.on_load_checkpoint(content)
        module.load_state_dict(content["state_dict"])
    return module.avatar.to(device).eval()


def model_yaml(checkpoint: Path | str, trust: Iterable[str]) -> str:
    """The configuration that a checkpoint's model was trained with: YAML with the key ``model``.

    Its class paths have been imported and checked, so that all of them are trusted classes of the
    right interface. The number of frames is left out: it belongs to the dataset. Arguments and errors
    are those of `load_avatar`.
    """
    path = Path(checkpoint)
    content = _content(path)
    with imports_only(trust), _refusals(path):
        parser, configuration = _parsed(content)
        del configuration["model.num_frames"]
        return parser.dump(configuration)


def _content(path: Path) -> dict[str, Any]:
    """The contents of a complete checkpoint."""
    if not path.is_file():
        raise UserError(f"checkpoint {path}: no such file")
    return AtomicCheckpointIO().load_checkpoint(path, map_location="cpu")


def _parsed(content: dict[str, Any]) -> tuple[ArgumentParser, Namespace]:
    """A parser for `AvatarModule` and the arguments in a checkpoint, their classes imported and checked."""
    values = dict(content.get("hyper_parameters", {}))
    # Lightning's note of how it would build the module itself.
    values.pop("_instantiator", None)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(AvatarModule, "model", fail_untyped=False)
    configuration = parser.parse_object({"model": values})
    check_classes(configuration)
    return parser, configuration


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn whatever a checkpoint's contents raise, in torch, the parser or a constructor, into one line."""
    try:
        yield
    # A module may end the process while it is imported.
    except (Exception, SystemExit) as error:
        if denied := denied_path(error):
            raise UserError(f"checkpoint {path}: {refusal(denied)}") from error
        first = innermost(error)
        reason = str(first) if isinstance(first, UserError) else extension_error(error)
        reason = reason or f"{type(first).__name__}: {first}"
        # Torch and the parser explain at length.
        reason = next(iter(reason.strip().splitlines()), "")[:300]
        raise UserError(f"checkpoint {path}: no avatar can be made of it ({reason})") from error
