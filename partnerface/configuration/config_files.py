"""Configuration files: those that come with the package, and those that a command line names."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import partnerface
from partnerface.errors import UserError
from partnerface.files.plain_values import parse_yaml, read_yaml

CONFIGS = Path(partnerface.__file__).parent / "configs"
CONFIG_FLAGS = ("--config", "-c")

SHIPPED = {"configs": CONFIGS, "sweeps": Path(partnerface.__file__).parent / "sweeps" / "files"}
"""Folders of a checkout by name, and where an installation has their files."""


def config_file(name: str) -> Path:
    """Path of a configuration file of the package.

    Args:
        name: such as ``method/part_deformation``.

    Raises:
        UserError: the installation lacks it.
    """
    path = CONFIGS / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"configuration {name}: not in this installation ({path}); install partnerface again")
    return path


def config_arguments(*names: str) -> list[str]:
    """``--config`` arguments for configuration files of the package, in order."""
    return [argument for name in names for argument in ("--config", str(config_file(name)))]


def resolve_config_paths(arguments: list[str]) -> list[str]:
    """Replace ``--config configs/base.yaml`` by the package's file where the working directory has none.

    Args:
        arguments: a command line.

    Raises:
        UserError: a file is missing, or is not YAML with plain values.
    """
    resolved = list(arguments)
    for i, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag in CONFIG_FLAGS and equals:
            resolved[i] = f"{flag}={_shipped_instead(value)}"
        elif i and arguments[i - 1] in CONFIG_FLAGS:
            resolved[i] = _shipped_instead(argument)
    return resolved


def files_first(arguments: Sequence[str]) -> list[str]:
    """The arguments of a trainer command, with every ``--config`` before the flags, so that flags win.

    >>> files_first(["fit", "--data.image_size=48", "--config", "base.yaml"])
    ['fit', '--config', 'base.yaml', '--data.image_size=48']
    """
    files: list[str] = []
    flags: list[str] = []
    for before, word in pairwise(arguments):
        is_file = word.partition("=")[0] in CONFIG_FLAGS or before in CONFIG_FLAGS
        (files if is_file else flags).append(word)
    return [*arguments[:1], *files, *flags]


def paths_as_text(arguments: Sequence[str]) -> list[str]:
    """The command line, with paths that YAML would not read as text given by a ``--config`` in JSON.

    In flags of classes, such as ``--data.reader.root``, the parser reads ``me: take 2`` as a table and
    ``#1`` as nothing.

    Args:
        arguments: a command line; values stand behind ``=`` or after a space.
    """
    words: list[str] = []
    for word in arguments:
        flag = words[-1] if words else ""
        if "=" not in flag and (text := _path_as_text(flag, word)) is not None:
            words[-1] = text
        else:
            words.append(_path_as_text(*word.split("=", 1)) or word if "=" in word else word)
    return words


def _path_as_text(flag: str, value: str) -> str | None:
    """The ``--config`` for a flag that names a path by a value that is no text in YAML; None for others."""
    *outer, name = flag.removeprefix("--").split(".")
    if not outer or not flag.startswith("--") or not (name == "root" or os.path.exists(value)):
        return None
    with suppress(UserError):
        if isinstance(parse_yaml(value, flag), str | int | float):
            return None
    tree: object = value
    inner = ["init_args"] if outer[-1] != "init_args" else []
    for key in reversed([*outer, *inner, name]):
        tree = {key: tree}
    return f"--config={json.dumps(tree)}"


def shipped_instead(path: Path) -> Path:
    """The package's file for a path such as ``sweeps/num_parts.yaml`` that the working directory lacks."""
    folder = SHIPPED.get(path.parts[0]) if path.parts and not path.is_file() else None
    if folder is not None and folder.joinpath(*path.parts[1:]).is_file():
        return folder.joinpath(*path.parts[1:])
    return path


def _shipped_instead(value: str) -> str:
    path = shipped_instead(Path(value))
    if path.is_file():
        if not isinstance(read_yaml(path), dict | None):
            raise UserError(f"configuration {path}: holds no keys; write key: value")
        return str(path)
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"configuration {value}: no such file")
    return value


def yaml_files(arguments: Sequence[str]) -> list[Path]:
    """The existing YAML files that a command line names, as values of any flag."""
    values = [argument.rpartition("=")[2] for argument in arguments]
    return [Path(v) for v in values if v.endswith((".yaml", ".yml")) and Path(v).is_file()]


def lost_losses(arguments: Sequence[str], losses: Collection[str]) -> str | None:
    """What to say of an objective that lacks terms of the method's: a table replaces the one before it.

    Args:
        arguments: the command line; its last YAML file with both an avatar and losses is the method's.
        losses: names of the terms that result.
    """
    for path in reversed(yaml_files(arguments)):
        tree = read_yaml(path)
        model = tree.get("model") if isinstance(tree, dict) else None
        if isinstance(model, dict) and "avatar" in model and isinstance(model.get("losses"), dict):
            if not (lost := [name for name in model["losses"] if name not in losses]):
                return None
            return (
                f"model.losses lacks {', '.join(lost)} of {path}, for a table replaces the one before it; "
                "change one term by flag, such as --model.losses.matte.init_args.weight=0.3"
            )
    return None
