"""Sweep: a sweep file of W&B, read, checked and expanded into runs."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from partnerface.errors import UserError
from partnerface.files.plain_values import parse_yaml, read_yaml_text
from partnerface.sweeps.parameter_choice import ParameterChoice, parameter_choice
from partnerface.sweeps.sweep_run import DEFAULT_COMMAND, SweepRun, check_macros, expand_command

METHODS = ("grid", "random")
DRAWS_PER_RUN = 100
"""Draws for each wanted run after which a random sweep counts as exhausted: all combinations have come."""
DIGEST_LENGTH = 10
_KEYS = {
    *("name", "description", "project", "entity", "program"),
    *("method", "metric", "parameters", "command", "run_cap"),
}


@dataclass(frozen=True)
class Sweep:
    """A question that a set of runs answers.

    Attributes:
        name: the sweep's name, by default that of its file.
        question: first comment of the file.
        method: ``grid`` (every combination) or ``random``.
        metric: name of the logged value that answers the question.
        maximize: whether more of it is better.
        parameters: what differs between runs.
        command: the command's words, with macros such as ``${args}``.
        program: replaces ``${program}``.
        run_cap: largest number of runs; None for no limit.
    """

    name: str
    question: str
    method: str
    metric: str
    maximize: bool
    parameters: tuple[ParameterChoice, ...]
    command: tuple[str, ...]
    program: str | None
    run_cap: int | None

    def combinations(self, count: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
        """Parameters of every run, without repetitions.

        Args:
            count: largest number of runs, within ``run_cap``; a larger one later keeps the first runs.
            seed: seed of the method ``random``.

        Raises:
            UserError: the method is random and the number of runs is unlimited.
        """
        limit = min((limit for limit in (count, self.run_cap) if limit is not None), default=None)
        if self.method == "grid":
            rows = itertools.product(*(choice.options for choice in self.parameters))
        elif limit is None:
            raise UserError("method random has no end: limit the number of runs with --count")
        else:
            generator = Random(seed)
            rows = (
                tuple(choice.draw(generator) for choice in self.parameters)
                for _ in range(DRAWS_PER_RUN * limit)
            )
        found: dict[str, dict[str, Any]] = {}
        for row in rows:
            if limit is not None and len(found) == limit:
                break
            parameters = dict(zip((choice.name for choice in self.parameters), row, strict=True))
            found.setdefault(parameter_digest(parameters), parameters)
        return list(found.values())

    def runs(self, out: Path, count: int | None = None, seed: int = 0) -> list[SweepRun]:
        """The runs of all `combinations`, each with a folder in ``out``."""
        rows = self.combinations(count, seed)
        commands = [tuple(expand_command(self.command, self.program, row)) for row in rows]
        return [
            SweepRun(out / parameter_digest(row), row, self.metric, command)
            for row, command in zip(rows, commands, strict=True)
        ]


def parameter_digest(parameters: Mapping[str, Any]) -> str:
    """A short name for parameters, the same on every machine and for every order of them."""
    text = json.dumps(dict(parameters), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        UserError: it is no sweep, or one that needs a W&B server.
    """
    text = read_yaml_text(path, f"sweep {path}")
    content = parse_yaml(text, f"sweep {path}")
    try:
        return _sweep(path.stem, text, content)
    except UserError as error:
        raise UserError(f"sweep {path}: {error}") from error


def _sweep(stem: str, text: str, content: Any) -> Sweep:
    if not isinstance(content, Mapping):
        raise UserError("holds no keys; W&B documents what a sweep file holds")
    _check_keys(content)
    method = content.get("method")
    if method not in METHODS:
        raise UserError(f"method {method or 'is missing'}: choose grid or random; others need a W&B server")
    metric, maximize = _metric(content.get("metric"))
    entries = content.get("parameters")
    if not isinstance(entries, Mapping) or not entries:
        raise UserError("parameters: missing; name at least one")
    parameters = tuple(parameter_choice(str(name), entry) for name, entry in entries.items())
    ranges = [choice.name for choice in parameters if not choice.options]
    if method == "grid" and ranges:
        raise UserError(f"{ranges[0]}: a grid needs values: [...]; a range is for method: random")
    cap = content.get("run_cap")
    if cap is not None and (type(cap) is not int or cap < 1):
        raise UserError(f"run_cap {cap}: must be a whole number of 1 or more")
    command, program = _command(content)
    first = text.lstrip().splitlines()[0]
    return Sweep(
        name=str(content.get("name") or stem),
        question=first.lstrip("# ") if first.startswith("#") else "",
        method=method,
        metric=metric,
        maximize=maximize,
        parameters=parameters,
        command=command,
        program=program,
        run_cap=cap,
    )


def _check_keys(content: Mapping[Any, Any]) -> None:
    if "early_terminate" in content:
        raise UserError("early_terminate: needs a W&B server; remove it to run the sweep here")
    for key in content:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, 1)
            raise UserError(f"unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else ""))


def _metric(entry: Any) -> tuple[str, bool]:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise UserError("metric: missing; write metric: {name: val/head_psnr, goal: maximize}")
    if unknown := sorted(str(key) for key in set(entry) - {"name", "goal"}):
        raise UserError(f"metric: unknown key '{unknown[0]}'; known are name and goal")
    goal = entry.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise UserError(f"metric: goal '{goal}' is neither minimize nor maximize")
    return entry["name"], goal == "maximize"


def _command(content: Mapping[str, Any]) -> tuple[tuple[str, ...], str | None]:
    words = content.get("command") or DEFAULT_COMMAND
    if not isinstance(words, list | tuple) or any(isinstance(word, list | Mapping) for word in words):
        raise UserError('command: must be a list of words, such as ["${env}", "${program}", "${args}"]')
    words, program = tuple(str(word) for word in words), content.get("program")
    check_macros(words)
    if "${program}" in words and program is None:
        raise UserError("program: missing; the command has ${program}")
    return words, None if program is None else str(program)
