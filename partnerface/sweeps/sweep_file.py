"""A sweep file of W&B, read and checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partnerface.errors import UserError
from partnerface.files.yaml_values import parse_yaml, read_yaml_text
from partnerface.runs.run_command import DEFAULT_COMMAND, check_macros
from partnerface.sweeps.parameter_choice import ParameterChoice, parameter_choice

METHODS = ("grid", "random")
_KEYS = {
    *("name", "description", "project", "entity", "program"),
    *("method", "metric", "parameters", "command", "run_cap"),
}


@dataclass(frozen=True)
class Sweep:
    """A question to training, as a set of runs.

    Attributes:
        name: the sweep's name, by default that of its file.
        question: first comment of the file.
        method: ``grid`` (every combination) or ``random``.
        metric: name of the logged value that answers the question.
        maximize: whether more of it is better.
        parameters: what differs between runs.
        command: the command's words, macros such as ``${args}`` among them.
        program: what ``${program}`` stands for.
        run_cap: most runs.
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


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        UserError: it is not a sweep that can be run here.
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
