"""Settings: the runs that differ in nothing but their seed, with the mean and the spread of their results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from partnerface.runs.run_folder import SweepRun

_SEEDS = ("seed", "seed_everything")


@dataclass(frozen=True)
class Setting:
    """What was set, and the results.

    Attributes:
        parameters: without seeds.
        values: one for each run that ended well.
    """

    parameters: dict[str, Any]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def spread(self) -> float:
        """Sample standard deviation; nought for a single run."""
        return stdev(self.values) if len(self.values) > 1 else 0.0


def settings_of(runs: Iterable[SweepRun]) -> list[Setting]:
    """Settings with at least one result, in the order of the runs."""
    runs = list(runs)
    names = asked_parameters([run.parameters for run in runs])
    values: dict[str, list[float]] = {}
    parameters: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run.state == "finished" and (value := run.value()) is not None:
            kept = {name: run.parameters[name] for name in names}
            parameters.setdefault(repr(kept), kept)
            values.setdefault(repr(kept), []).append(value)
    return [Setting(parameters[key], tuple(values[key])) for key in parameters]


def asked_parameters(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Parameters that differ between runs and are no seeds; the seed where nothing else differs."""
    names = list(rows[0]) if rows else []
    differing = [name for name in names if len({repr(row[name]) for row in rows}) > 1]
    return [name for name in differing if name.rsplit(".", 1)[-1] not in _SEEDS] or differing or names


def short_names(names: Sequence[str]) -> dict[str, str]:
    """The shortest end of every dotted name that no other shares."""
    short: dict[str, str] = {}
    for name in names:
        words = name.split(".")
        for length in range(1, len(words) + 1):
            end = ".".join(words[-length:])
            if length == len(words) or not any(
                other != name and f".{other}".endswith(f".{end}") for other in names
            ):
                short[name] = end
                break
    return short


def short_value(value: Any) -> str:
    """A value as a label: a file by its name, a class by its own name, a number with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    if text.endswith((".yaml", ".yml")):
        return text.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    is_path = all(word.isidentifier() for word in text.split("."))
    return text.rsplit(".", 1)[-1] if is_path else text
