"""Setting: the runs of a sweep that differ in nothing but their seed, with their scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from partnerface.runs.results import SeedScores
from partnerface.runs.run import Run

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
