"""YAML and JSON that may come from strangers: plain values only, of limited size, depth and number."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from partnerface.errors import UserError
from partnerface.files.regular_files import file_size

LARGEST_YAML, LARGEST_JSON = 1_000_000, 128_000_000
"""Bytes of a file: the cameras of two hours of video take as much as the second."""

MOST_VALUES = 100_000
"""Limit to the values of a file; what an alias repeats counts each time."""

DEEPEST = 100
"""Limit to the nesting."""

_UNFOLDING = f"{{source}}: its aliases unfold to more than {MOST_VALUES:,} values"


def read_yaml(path: Path) -> Any:
    """The values of a YAML file.

    Raises:
        UserError: the file is missing, too large, not YAML, or has tags of Python objects.
    """
    return parse_yaml(read_yaml_text(path, str(path)), str(path))


def read_yaml_text(path: Path, source: str) -> str:
    """The text of a YAML file, not parsed; ``source`` is its name in the message.

    Raises:
        UserError: the file is missing, too large or not text.
    """
    try:
        if (size := file_size(path)) > LARGEST_YAML:
            raise UserError(
                f"{source}: {size / 1e6:,.1f} MB; YAML of at most {LARGEST_YAML / 1e6:g} MB is read"
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: not YAML ({error})") from error


def parse_yaml(text: str, source: str) -> Any:
    """The values of YAML text; ``source`` is its name in the message.

    Raises:
        UserError: it is not YAML, has tags of Python objects, or its aliases unfold to too many values.
    """
    try:
        if _unfolds(text):
            raise UserError(_UNFOLDING.format(source=source))
        return yaml.safe_load(text)
    except RecursionError as error:
        raise UserError(f"{source}: not YAML that can be read (nested too deeply)") from error
    # A date such as 2026-99-99 is a ValueError, a list as a key a TypeError.
    except (yaml.YAMLError, ValueError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{source}: not YAML ({' '.join(str(error).split())})") from error


def refuse_extremes(text: str) -> None:
    """Refuse YAML that is nested too deeply or whose aliases unfold to too many values.

    To be called before a parser in C, which lists that are nested too deeply make end the whole process.
    Text that is no YAML passes.

    Raises:
        UserError: it is nested deeper than `DEEPEST` or unfolds to more than `MOST_VALUES`.
    """
    source, unfolds, deep = f"YAML that begins with {text[:30]!r}", False, False
    with suppress(yaml.YAMLError, ValueError):
        deep = len(text) > DEEPEST and _nests_too_deeply(text)
        unfolds = not deep and "&" in text and "*" in text and _unfolds(text)
    if deep:
        raise UserError(f"{source}: nested more than {DEEPEST} deep")
    if unfolds:
        raise UserError(_UNFOLDING.format(source=source))


def _nests_too_deeply(text: str) -> bool:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            return True
    return False


def _unfolds(text: str) -> bool:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return node is not None and _count(node, {}) > MOST_VALUES


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Number of values below a node with aliases unfolded; endless for an alias within its own anchor."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MOST_VALUES + 1
    if isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
    else:
        children = node.value if isinstance(node, yaml.SequenceNode) else []
    known[id(node)] = 1 + sum(_count(child, known) for child in children)
    return known[id(node)]


def read_json_table(path: Path, advice: str, largest_bytes: int = LARGEST_JSON) -> dict:
    """The table of a JSON file.

    Args:
        path: the file.
        advice: what the user can do about an unusable file; ends the message.
        largest_bytes: a larger file is refused without reading it.

    Raises:
        UserError: the file is missing, too large, damaged, or holds no table.
    """
    try:
        if (size := file_size(path)) > largest_bytes:
            raise ValueError(f"{size / 1e6:,.0f} MB, {largest_bytes / 1e6:,.0f} MB at most")
        # Editors on Windows put a byte order mark first.
        record = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise UserError(f"{path}: cannot be read (nested too deeply); {advice}") from error
    except (OSError, ValueError, MemoryError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read ({reason}); {advice}") from error
    if not isinstance(record, dict):
        raise UserError(f"{path}: is not a table of keys; {advice}")
    return record


def parse_json(text: str, source: str) -> Any:
    """The values of a JSON text; ``source`` is its name in the message.

    Raises:
        UserError: it is not JSON, or too large, too deep, or holds numbers that are not finite.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"holds {constant}")

    try:
        if len(text) > LARGEST_YAML:
            raise ValueError(f"{len(text) / 1e6:,.1f} MB, {LARGEST_YAML / 1e6:g} MB at most")
        value = json.loads(text, parse_constant=refuse)
    except (RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"{source}: not JSON that can be read ({reason})") from error
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise UserError(f"{source}: nested more than {DEEPEST} deep")
        tables = [v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        level = [item for items in tables for item in items]
    return value
