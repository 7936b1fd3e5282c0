"""What the parser raises about a wrong key, value or class, as one line with the nearest valid key."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from argparse import ArgumentError
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from partnerface.avatar_files.class_paths import denied_path, extension_error, innermost
from partnerface.configuration.config_files import yaml_files
from partnerface.errors import UserError
from partnerface.files.plain_values import read_yaml

_LONGEST = 300
_PLAIN = (
    (r'Parser key "[^"]+": *', ""),
    (r"Expected an? <class '(?:\w+\.)*(\w+)'>\. Got value:", r"expected \1, got"),
    (r"Not a valid subclass of (\w+)\. Got value:", r"expected a \1, given by its class_path; got"),
)
"""Frequent sentences of the parser in shorter words; one that is worded anew is shown as it is."""


def short_message(error: BaseException, arguments: list[str], valid_keys: Iterable[str]) -> str | None:
    """One line for whatever the parser raises; it begins with the configuration file of the wrong key.

    The parser raises an error for every level of nested classes, each from the one within: those that
    name a key say where, the first of all says why.

    Args:
        error: what the parser raised.
        arguments: the command line; class paths are looked for in it and in the files that it names.
        valid_keys: keys that the parser knows by itself.

    Returns:
        The line; None for an error that is not about the input.
    """
    if extension := extension_error(error):
        return extension
    # A file that a value names may be no text.
    if not isinstance(error, ArgumentError | UnicodeDecodeError):
        return None
    first = innermost(error)
    reason = " ".join(str(first).strip().partition("\n")[0].split())
    if (lacking := _lacking(reason, arguments)) is not None:
        return lacking
    if (unknown := _unknown_key(first, reason)) is not None:
        nearest = _nearest(unknown, arguments, valid_keys)
        return f"{_source(unknown, arguments)}unknown option or configuration key '{unknown}'{nearest}"
    for path in _class_paths(arguments):
        if path in reason and (lacking := _missing_methods(path)):
            reason = f"{path} is abstract: it lacks {', '.join(lacking)}"
    if denied := denied_path(first):
        reason = f"{denied} is never imported: it can run programs, load code or change files"
    for pattern, replacement in _PLAIN:
        reason = re.sub(pattern, replacement, reason)
    reason = reason if len(reason) <= _LONGEST else f"{reason[: _LONGEST - 3]}..."
    key = ".init_args.".join(_keys_of(error))
    if not key:
        return reason
    key = _flag_below(key, reason, arguments) or key
    return f"{_source(key, arguments)}{key}: {reason}"


_WHAT_TO_ADD = {
    "model.avatar": "method: add --config configs/method/part_deformation.yaml, or another of that folder",
    "head_model": "head model: add --config configs/head_model/anny.yaml, or another of that folder",
    "data.reader": "dataset: add --config configs/data/partnerface.yaml, or another of that folder",
    "root": "dataset: add --data.reader.root FOLDER",
}
"""By key, what gives the key that every run needs."""


def _lacking(reason: str, arguments: list[str]) -> str | None:
    """What a command line lacks, where the parser would blame the last file that touches its neighbour."""
    interfaces = {"model.avatar": "AvatarMethod", "data.reader": "SequenceReader"}
    names = [name for name, interface in interfaces.items() if f"{interface} is abstract" in reason]
    if found := re.match(r"the following arguments are required: (.+)", reason):
        names = [re.sub(r"^(fit|validate|test|predict)\.", "", name) for name in found[1].split(", ")]
    flags = dict(_flags(arguments))
    if names and {*arguments[:1]} & {"validate", "test", "predict"} and "config" not in flags:
        return f"no configuration: add --config {flags.get('run_dir', 'RUN')}/config.yaml, that of the run"
    return "; ".join(f"no {_WHAT_TO_ADD[name]}" for name in names if name in _WHAT_TO_ADD) or None


def _keys_of(error: BaseException | None) -> list[str]:
    """The key of every level, outermost first; levels repeat each other's text."""
    keys: list[str] = []
    while error is not None:
        found = re.match(r'Parser key "([^"]+)"', str(error))
        if found and found[1] not in keys[-1:]:
            keys.append(found[1])
        error = error.__cause__
    return keys


def _unknown_key(first: BaseException, reason: str) -> str | None:
    """The key or flag that no parser knows, if that is what the first error is about."""
    if isinstance(first, KeyError):
        quoted = re.findall(r"'([^']+)'", reason)
        return quoted[-1] if quoted else None
    # The message is argparse's own.
    found = re.match(r"unrecognized arguments?: -*([^\s=]+)", reason)
    return found[1] if found else None


def _missing_methods(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    return sorted(getattr(getattr(sys.modules.get(module), name, None), "__abstractmethods__", ()))


def _source(key: str, arguments: list[str]) -> str:
    """``FILE: `` if the key comes from a configuration file; nothing if it was given as a flag."""
    plain = key.replace(".init_args", "")
    if any(flag.replace(".init_args", "") == plain for flag, _ in _flags(arguments)):
        return ""
    name = key.rsplit(".", 1)[-1]
    holding = [path for path, tree in _trees(arguments) if any(found == name for found, _ in _entries(tree))]
    return f"{holding[-1]}: " if holding else ""


def _flag_below(key: str, reason: str, arguments: list[str]) -> str | None:
    """The flag for an entry of a table or list that the reason is about: the parser names the table alone.

    Either the reason has the class path of the flag's value, or the flag begins an entry that no file
    holds, most likely a misspelt name.
    """
    known = {"", "class_path", "init_args", *(name for name, _ in _entries_of_files(arguments))}
    for flag, value in _flags(arguments):
        if flag.startswith((f"{key}.", f"{key}+")):
            if "." in value and value in reason:
                return flag
            if (name := flag[len(key) + 1 :].partition(".")[0]) not in known:
                return f"{key}.{name}"
    return None


def _nearest(key: str, arguments: list[str], valid_keys: Iterable[str]) -> str:
    """A question for the key that was probably meant."""
    known = set(valid_keys)
    by_name: dict[str, str] = {k.rsplit(".", 1)[-1]: k for k in sorted(known, reverse=True)}
    for name in _constructor_arguments(arguments):
        by_name.setdefault(name, name)
    if match := difflib.get_close_matches(key, known, 1, 0.75):
        return f"; did you mean '{match[0]}'?"
    if match := difflib.get_close_matches(key.rsplit(".", 1)[-1], by_name, 1, 0.6):
        return f"; did you mean '{by_name[match[0]]}'?"
    return "; see --help"


def _constructor_arguments(arguments: list[str]) -> set[str]:
    """Names of the constructor arguments of every class that the command line's files and flags name."""
    names: set[str] = set()
    for path in _class_paths(arguments):
        module, _, name = path.rpartition(".")
        with suppress(ValueError, TypeError, AttributeError):
            names |= set(inspect.signature(getattr(sys.modules.get(module), name)).parameters)
    return names - {"self", "args", "kwargs"}


def _class_paths(arguments: list[str]) -> set[str]:
    """Every class path in files, and every value of a flag that looks like one."""
    in_flags = {value for _, value in _flags(arguments) if re.fullmatch(r"\w+(\.\w+)+", value)}
    in_files = {str(value) for name, value in _entries_of_files(arguments) if name == "class_path"}
    return {"partnerface.avatar.avatar.Avatar"} | in_flags | in_files


def _flags(arguments: list[str]) -> list[tuple[str, str]]:
    """Key and value of every flag on a command line; values after a space count too."""
    flags = []
    for argument, after in zip(arguments, [*arguments, ""][1:], strict=True):
        if argument.startswith("--"):
            key, equals, value = argument.lstrip("-").partition("=")
            flags.append((key, value if equals else after))
    return flags


def _trees(arguments: list[str]) -> Iterator[tuple[Path, object]]:
    """The readable YAML files that a command line names, with what stands in them."""
    for path in yaml_files(arguments):
        with suppress(UserError):
            yield path, read_yaml(path)


def _entries_of_files(arguments: list[str]) -> Iterator[tuple[str, object]]:
    """Every key in the YAML files of a command line, with its value."""
    for _, tree in _trees(arguments):
        yield from _entries(tree)


def _entries(node: object) -> Iterator[tuple[str, object]]:
    """Every key below a node, with its value."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield str(name), value
            yield from _entries(value)
    elif isinstance(node, list):
        for item in node:
            yield from _entries(item)
