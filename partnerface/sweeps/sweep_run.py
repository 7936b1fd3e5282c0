"""Runs of a sweep with their commands, as W&B agents build them; settings: runs that differ in the seed."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partnerface.errors import UserError
from partnerface.runs.results import SeedScores
from partnerface.runs.run import Run

DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
_VARIABLE = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")


@dataclass(frozen=True)
class SweepRun(Run):
    """A run of a sweep.

    Attributes:
        folder: named by the digest of the parameters.
        parameters: name and value of each.
        metric: name of the sweep's metric.
        command: words of the process, macros expanded.
    """

    folder: Path
    parameters: dict[str, Any]
    metric: str
    command: tuple[str, ...]

    @property
    def title(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.parameters.items())

    @property
    def remaining_command(self) -> list[str]:
        """The command; ``partnerface fit`` also gets its folder, and its last checkpoint if there is one."""
        words = list(self.command)
        if trains_an_avatar(words):
            words += ["--run_dir", str(self.folder), *(["--ckpt_path", "last"] if self.resumes else [])]
        return words


def trains_an_avatar(command: Sequence[str]) -> bool:
    """Whether the words contain ``partnerface fit``, by whatever path."""
    pairs = itertools.pairwise(command)
    return any(Path(before).name == "partnerface" and word == "fit" for before, word in pairs)


def expand_command(
    words: Sequence[str],
    program: str | None,
    parameters: Mapping[str, Any],
    interpreter: str = sys.executable,
) -> list[str]:
    """Replace W&B's macros in a command.

    Args:
        words: the command; a macro is a whole word, ``${envvar:NAME}`` may be part of one.
        program: replaces ``${program}``.
        parameters: name and value of each, for ``${args}`` and its variants.
        interpreter: replaces ``${interpreter}``.
    """
    macros = _macros(program, parameters, interpreter)
    expanded: list[str] = []
    for word in words:
        named = _VARIABLE.sub(lambda found: os.environ.get(found[1], found[1]), word)
        expanded += macros[named[2:-1]] if _is_macro(named) else [named]
    return expanded


def check_macros(words: Sequence[str]) -> None:
    """Make sure that `expand_command` knows every macro.

    Raises:
        UserError: it does not know one.
    """
    known = _macros("", {}, "")
    for word in words:
        if _is_macro(word) and not _VARIABLE.fullmatch(word) and word[2:-1] not in known:
            macros = ", ".join(f"${{{name}}}" for name in known)
            raise UserError(f"command: no macro {word}; there are {macros}")


def _is_macro(word: str) -> bool:
    return word.startswith("${") and word.endswith("}")


def _macros(program: str | None, parameters: Mapping[str, Any], interpreter: str) -> dict[str, list[str]]:
    pairs = [f"{name}={value}" for name, value in parameters.items()]
    flags = [
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in parameters.items()
        if value is not False
    ]
    return {
        "env": ["/usr/bin/env"],
        "interpreter": [interpreter],
        "program": [] if program is None else [program],
        "args": [f"--{pair}" for pair in pairs],
        "args_no_hyphens": pairs,
        "args_no_equals": [word for name, value in parameters.items() for word in (f"--{name}", str(value))],
        "args_no_boolean_flags": flags,
        "args_append_hydra": [f"+{pair}" for pair in pairs],
        "args_override_hydra": [f"++{pair}" for pair in pairs],
        "args_json": [json.dumps(dict(parameters))],
    }


_SEEDS = ("seed", "seed_everything")


@dataclass(frozen=True)
class Setting:
    """Parameters and what they scored.

    Attributes:
        parameters: those that differ between settings, without seeds.
        scores: the metric of every run that has finished.
    """

    parameters: dict[str, Any]
    scores: SeedScores


def settings_of(runs: Iterable[Run]) -> list[Setting]:
    """Settings with at least one finished run, in the order of the runs."""
    runs = list(runs)
    names = compared_parameters([run.parameters for run in runs])
    values: dict[str, list[float]] = {}
    parameters: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run.state == "finished":
            kept = {name: run.parameters[name] for name in names}
            parameters.setdefault(repr(kept), kept)
            values.setdefault(repr(kept), []).append(run.value())
    return [Setting(parameters[key], SeedScores(tuple(values[key]))) for key in parameters]


def compared_parameters(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the parameters that differ between runs, seeds left out unless nothing else differs."""
    names = list(rows[0]) if rows else []
    differing = [name for name in names if len({repr(row[name]) for row in rows}) > 1]
    return [name for name in differing if name.rsplit(".", 1)[-1] not in _SEEDS] or differing or names


def short_names(names: Sequence[str]) -> dict[str, str]:
    """For every dotted name its shortest ending that no other name has."""
    short: dict[str, str] = {}
    for name in names:
        words = name.split(".")
        endings = (".".join(words[-length:]) for length in range(1, len(words)))
        others = [f".{other}" for other in names if other != name]
        unique = (end for end in endings if not any(other.endswith(f".{end}") for other in others))
        short[name] = next(unique, name)
    return short


def short_value(value: Any) -> str:
    """A value as a label: a file or a class by its own name, a number with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    if text.endswith((".yaml", ".yml")):
        return text.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    is_path = all(word.isidentifier() for word in text.split("."))
    return text.rsplit(".", 1)[-1] if is_path else text
