"""Configuration files: those that come with the package, and those that a command line names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import partnerface
from partnerface.errors import UserError
from partnerface.files.plain_values import read_yaml

CONFIGS = Path(partnerface.__file__).parent / "configs"

_FOLDER_FLAGS = dict.fromkeys(
    ("--data.reader.root", "--data.reader.init_args.root"), "--data.reader.init_args"
)
"""Flags that name a folder within a class, and the flag of the arguments to which it belongs."""
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
        if flag in ("--config", "-c") and equals:
            resolved[i] = f"{flag}={_shipped_instead(value)}"
        elif i and arguments[i - 1] in ("--config", "-c"):
            resolved[i] = _shipped_instead(argument)
    return resolved


def shipped_instead(path: Path) -> Path:
    """The package's file for a path such as ``sweeps/num_parts.yaml`` that the working directory lacks."""
    folder = SHIPPED.get(path.parts[0]) if path.parts and not path.is_file() else None
    if folder is not None and folder.joinpath(*path.parts[1:]).is_file():
        return folder.joinpath(*path.parts[1:])
    return path


def with_quoted_folders(arguments: list[str]) -> list[str]:
    """A command line in which YAML finds the dataset's folder whole, whatever its name.

    Within a class jsonargparse parses values as YAML: ``me: take 2`` is a mapping and ``#1`` nothing.

    Args:
        arguments: a command line.
    """
    quoted: list[str] = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if quoted and quoted[-1] in _FOLDER_FLAGS:
            flag, equals, value = quoted.pop(), "=", argument
        if flag in _FOLDER_FLAGS and equals:
            argument = f"{_FOLDER_FLAGS[flag]}={json.dumps({'root': value})}"
        quoted.append(argument)
    return quoted


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
