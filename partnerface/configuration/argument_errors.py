"""Turns the parser's long messages about a wrong key or value into one line with the nearest valid key."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from partnerface.errors import UserError
from partnerface.files.yaml_values import read_yaml

_UNKNOWN = (
    r"Option '([^']+)' is not accepted",
    r"No action for key \"([^\"]+)\"",
    r"Key '([^']+)' is not (?:expected|accepted)",
    r"[Uu]nrecognized arguments?: (-*[^\s=]+)",
    r"'([^']+)' is not (?:an )?accepted",
    r"does not accept (?:option|nested key) '([^']+)'",
)
_NO_SUBCLASS = "Not a valid subclass"


def short_message(message: str, arguments: list[str], valid_keys: Iterable[str]) -> str:
    """One line for a parser's message; it begins with the configuration file that the key stands in.

    Args:
        message: what the parser said.
        arguments: the command line; class paths are looked for in it and in the files it names.
        valid_keys: keys that the parser knows by itself.
    """
    text = re.sub(r"\s+", " ", str(message)).strip()
    for pattern in _UNKNOWN:
        if found := re.search(pattern, text):
            key = found.group(1).lstrip("-")
            nearest = _nearest(key, arguments, valid_keys)
            return f"{_source(key, arguments)}unknown option or configuration key '{key}'{nearest}"
    # The parser tries every member of a union; the first sentence that names a key says most.
    if found := re.search(r"Parser key \"([^\"]+)\": *(.*)", text):
        key, reason = _innermost_key(found.group(1), found.group(2))
        if _NO_SUBCLASS in reason:
            key = _new_entry(key, arguments) or key
        return f"{_source(key, arguments)}{key}: {_innermost_reason(reason)}"
    return text if len(text) <= 300 else f"{text[:297]}..."


def _innermost_key(key: str, text: str) -> tuple[str, str]:
    """The key within nested classes that a message is about, and the message about it alone."""
    while found := re.match(r"Problem with given class_path '[^']*': Parser key \"([^\"]+)\": *(.*)", text):
        key, text = f"{key}.init_args.{found.group(1)}", found.group(2)
    return key, text


def _source(key: str, arguments: list[str]) -> str:
    """``FILE: `` if the key comes from a configuration file; nothing if it was given as a flag."""
    flags = _flags(arguments)
    plain = key.replace(".init_args", "")
    if any(flag.replace(".init_args", "") == plain for flag in flags):
        return ""
    name, source = key.rsplit(".", 1)[-1], ""
    for path in _files(arguments):
        with suppress(UserError):
            if name in _keys(read_yaml(path)):
                source = f"{path}: "
    return source


def _new_entry(key: str, arguments: list[str]) -> str | None:
    """The entry of a table that a flag has begun and no file holds, most likely a misspelt name."""
    known = {"class_path", "init_args"}.union(*(_keys(tree) for tree in _trees(arguments)))
    for flag in _flags(arguments):
        name = flag.removeprefix(f"{key}.").partition(".")[0]
        if flag.startswith(f"{key}.") and name not in known:
            return f"{key}.{name}"
    return None


def _flags(arguments: list[str]) -> list[str]:
    """The keys that are given on a command line."""
    return [argument.partition("=")[0].lstrip("-") for argument in arguments if argument.startswith("--")]


def _trees(arguments: list[str]) -> Iterable[object]:
    """What stands in the readable YAML files that a command line names."""
    for path in _files(arguments):
        with suppress(UserError):
            yield read_yaml(path)


def _files(arguments: list[str]) -> list[Path]:
    """The YAML files that a command line names."""
    values = [argument.rpartition("=")[2] for argument in arguments]
    return [Path(v) for v in values if v.endswith((".yaml", ".yml")) and Path(v).is_file()]


def _keys(node: object) -> set[str]:
    """Every key below a node."""
    if isinstance(node, dict):
        return {str(key) for key in node}.union(*(_keys(value) for value in node.values()))
    return set().union(*(_keys(item) for item in node)) if isinstance(node, list) else set()


def _innermost_reason(text: str) -> str:
    if found := re.search(_NO_SUBCLASS + r" of (\w+)\. Got value: (.+?) Subclass types expect", text):
        return f"expected a {found[1]}, given by its class_path; got {found[2]}"
    for pattern in (r"Expected a <class '(\w+)'>\. Got value: ([^\s]+)", r"(File does not exist: [^\s]+)"):
        if found := re.search(pattern, text):
            groups = found.groups()
            return groups[0] if len(groups) == 1 else f"expected {groups[0]}, got {groups[1]}"
    return text if len(text) <= 240 else f"{text[:237]}..."


def _nearest(key: str, arguments: list[str], valid_keys: Iterable[str]) -> str:
    last = key.rsplit(".", 1)[-1]
    known = set(valid_keys)
    by_name: dict[str, str] = {k.rsplit(".", 1)[-1]: k for k in sorted(known, reverse=True)}
    for name in _constructor_arguments(arguments):
        by_name.setdefault(name, name)
    if match := difflib.get_close_matches(key, known, 1, 0.75):
        return f"; did you mean '{match[0]}'?"
    if match := difflib.get_close_matches(last, by_name, 1, 0.6):
        return f"; did you mean '{by_name[match[0]]}'?"
    return "; see --help"


def _constructor_arguments(arguments: list[str]) -> set[str]:
    """Names of the constructor arguments of every class that the command line's files and flags name."""
    names: set[str] = set()
    for path in _class_paths(arguments):
        module, _, cls = path.rpartition(".")
        try:
            names |= set(inspect.signature(getattr(importlib.import_module(module), cls)).parameters)
        except (ImportError, AttributeError, ValueError, TypeError):
            continue
    return names - {"self", "args", "kwargs"}


def _class_paths(arguments: list[str]) -> set[str]:
    paths = {"partnerface.avatar.avatar.Avatar"}
    for argument in arguments:
        value = argument.rpartition("=")[2]
        if value.startswith("partnerface."):
            paths.add(value)
    for tree in _trees(arguments):
        paths |= set(_find_class_paths(tree))
    return paths


def _find_class_paths(node: object) -> Iterable[str]:
    if isinstance(node, dict):
        if isinstance(node.get("class_path"), str):
            yield node["class_path"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _find_class_paths(item)
