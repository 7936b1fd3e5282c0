"""What the parser raises about a wrong key, value or class, as one line with the nearest valid key."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from argparse import ArgumentError
from collections.abc import Iterable, Iterator
from contextlib import suppress

from partnerface.configuration.config_files import yaml_files
from partnerface.errors import UserError
from partnerface.files.plain_values import read_yaml
from partnerface.training.class_paths import denied_path, extension_error, innermost

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
    # Of argparse itself.
    found = re.match(r"unrecognized arguments?: -*([^\s=]+)", reason)
    return found[1] if found else None


def _missing_methods(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    return sorted(getattr(getattr(sys.modules.get(module), name, None), "__abstractmethods__", ()))


def _source(key: str, arguments: list[str]) -> str:
    """``FILE: `` if the key comes from a configuration file; nothing if it was given as a flag."""
    plain = key.replace(".init_args", "")
    if any(flag.replace(".init_args", "") == plain for flag in _flags(arguments)):
        return ""
    name, source = key.rsplit(".", 1)[-1], ""
    for path in yaml_files(arguments):
        with suppress(UserError):
            if name in _keys(read_yaml(path)):
                source = f"{path}: "
    return source


def _flag_below(key: str, reason: str, arguments: list[str]) -> str | None:
    """The flag for an entry of a table or list that the reason is about: the parser names the table alone.

    Either the reason has the class path of the flag's value, or the flag begins an entry that no file
    holds, most likely a misspelt name.
    """
    known = {"class_path", "init_args"}.union(*(_keys(tree) for tree in _trees(arguments)))
    for argument in arguments:
        flag, _, value = argument.lstrip("-").partition("=")
        if flag.startswith((f"{key}.", f"{key}+")):
            name = flag[len(key) + 1 :].partition(".")[0]
            if "." in value and value in reason:
                return flag
            if name and name not in known:
                return f"{key}.{name}"
    return None


def _flags(arguments: list[str]) -> list[str]:
    """The keys that are given on a command line."""
    return [argument.partition("=")[0].lstrip("-") for argument in arguments if argument.startswith("--")]


def _trees(arguments: list[str]) -> Iterator[object]:
    """What stands in the readable YAML files that a command line names."""
    for path in yaml_files(arguments):
        with suppress(UserError):
            yield read_yaml(path)


def _keys(node: object) -> set[str]:
    """Every key below a node."""
    if isinstance(node, dict):
        return {str(key) for key in node}.union(*(_keys(value) for value in node.values()))
    return set().union(*(_keys(item) for item in node)) if isinstance(node, list) else set()


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
    """Every class path in flags and files, and texts that look like one."""
    values = {argument.rpartition("=")[2] for argument in arguments}
    paths = {value for value in values if re.fullmatch(r"\w+(\.\w+)+", value)}
    return {"partnerface.avatar.avatar.Avatar"}.union(paths, *map(_find_class_paths, _trees(arguments)))


def _find_class_paths(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("class_path"), str):
            yield node["class_path"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _find_class_paths(item)
