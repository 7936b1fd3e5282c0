"""Turns the parser's long messages about a wrong key or value into one line with the nearest valid key."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Iterable
from pathlib import Path

from partnerface.user_error import UserError
from partnerface.yaml_files import read_yaml

_UNKNOWN = (
    r"Option '([^']+)' is not accepted",
    r"No action for key \"([^\"]+)\"",
    r"Key '([^']+)' is not (?:expected|accepted)",
    r"[Uu]nrecognized arguments?: (-*[^\s=]+)",
    r"'([^']+)' is not (?:an )?accepted",
)


def short_message(message: str, arguments: list[str], valid_keys: Iterable[str]) -> str:
    """One line for a parser's message.

    Args:
        message: what the parser said.
        arguments: the command line; class paths are looked for in it and in the files it names.
        valid_keys: keys that the parser knows by itself.
    """
    text = re.sub(r"\s+", " ", str(message)).strip()
    for pattern in _UNKNOWN:
        if found := re.search(pattern, text):
            key = found.group(1).lstrip("-")
            return f"unknown option or configuration key '{key}'{_nearest(key, arguments, valid_keys)}"
    # The parser tries every member of a union; the first sentence that names a key says most.
    if found := re.search(r"Parser key \"([^\"]+)\": *(.*)", text):
        reason = _innermost_reason(found.group(2))
        return f"{found.group(1)}: {reason}"
    return text if len(text) <= 300 else f"{text[:297]}..."


def _innermost_reason(text: str) -> str:
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
    paths = {"partnerface.avatar.Avatar"}
    for argument in arguments:
        value = argument.rpartition("=")[2]
        if value.startswith("partnerface."):
            paths.add(value)
        if value.endswith((".yaml", ".yml")) and Path(value).is_file():
            try:
                paths |= set(_find_class_paths(read_yaml(Path(value))))
            except UserError:
                continue
    return paths


def _find_class_paths(node: object) -> Iterable[str]:
    if isinstance(node, dict):
        if isinstance(node.get("class_path"), str):
            yield node["class_path"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _find_class_paths(item)
