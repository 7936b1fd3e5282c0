"""ParameterChoice: what one parameter of a sweep may be, and a draw from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from partnerface.errors import UserError

LISTED = ("constant", "categorical")
RANGES = ("uniform", "log_uniform_values", "int_uniform", "q_uniform")
_KEYS = {"value", "values", "distribution", "min", "max", "q"}


@dataclass(frozen=True)
class ParameterChoice:
    """One parameter.

    Attributes:
        name: dotted key of the command line.
        options: the values it may take, in the order of the file; none for a range.
        distribution: one of `RANGES`, with the meaning that W&B documents; none for listed values.
        low: smallest value.
        high: largest value; ``int_uniform`` includes it.
        step: of ``q_uniform``: values are multiples of it.
    """

    name: str
    options: tuple[Any, ...] = ()
    distribution: str | None = None
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0

    def draw(self, generator: Random) -> Any:
        """A value at random."""
        match self.distribution:
            case "uniform":
                return generator.uniform(self.low, self.high)
            case "log_uniform_values":
                exponent = generator.uniform(math.log(self.low), math.log(self.high))
                # The exponential may round to just outside.
                return min(max(math.exp(exponent), self.low), self.high)
            case "int_uniform":
                return generator.randint(int(self.low), int(self.high))
            case "q_uniform":
                return round(generator.uniform(self.low, self.high) / self.step) * self.step
            case _:
                return generator.choice(self.options)


def parameter_choice(name: str, entry: Any) -> ParameterChoice:
    """Read one entry of ``parameters:``.

    Raises:
        UserError: it is not a choice that can be made here; the message begins with the name.
    """
    if not isinstance(entry, Mapping):
        raise UserError(f"{name}: write {{value: ...}}, {{values: [...]}} or {{min: ..., max: ...}}")
    if "parameters" in entry:
        raise UserError(f"{name}: nested parameters; write one flat dotted name for each")
    if unknown := sorted(str(key) for key in set(entry) - _KEYS):
        raise UserError(f"{name}: unknown key '{unknown[0]}'; known are {', '.join(sorted(_KEYS))}")
    distribution = entry["distribution"] if "distribution" in entry else _implied_distribution(name, entry)
    if distribution in LISTED:
        return ParameterChoice(name, options=_options(name, entry, distribution))
    if distribution in RANGES:
        return _range(name, entry, distribution)
    raise UserError(
        f"{name}: distribution '{distribution}' can't be drawn from here; choose {', '.join(LISTED + RANGES)}"
    )


def _implied_distribution(name: str, entry: Mapping[str, Any]) -> str:
    """What W&B takes an entry without a distribution for."""
    if "values" in entry or "value" in entry:
        return "categorical" if "values" in entry else "constant"
    bounds = [entry.get("min"), entry.get("max")]
    if all(type(bound) is int for bound in bounds):
        return "int_uniform"
    if all(type(bound) is float for bound in bounds):
        return "uniform"
    raise UserError(f"{name}: give value, values, or min and max, both whole or both with a decimal point")


def _options(name: str, entry: Mapping[str, Any], distribution: str) -> tuple[Any, ...]:
    key, other = ("value", "values") if distribution == "constant" else ("values", "value")
    if key not in entry or set(entry) & {other, "min", "max", "q"}:
        raise UserError(f"{name}: {distribution} takes '{key}' and nothing else")
    options = entry[key] if key == "values" else [entry[key]]
    if not isinstance(options, list) or not options:
        raise UserError(f"{name}: values must be a list that is not empty")
    for option in options:
        if option is None:
            raise UserError(f'{name}: null reaches the command line as None; write "null" in quotes')
    return tuple(options)


def _range(name: str, entry: Mapping[str, Any], distribution: str) -> ParameterChoice:
    if set(entry) & {"value", "values"} or ("q" in entry and distribution != "q_uniform"):
        raise UserError(
            f"{name}: {distribution} takes min and max" + " and q" * (distribution == "q_uniform")
        )
    low, high, step = (_number(name, entry, key) for key in ("min", "max", "q"))
    if low > high or step <= 0:
        raise UserError(f"{name}: min must not be above max, and q must be positive")
    if distribution == "log_uniform_values" and low <= 0:
        raise UserError(f"{name}: log_uniform_values needs min above 0")
    if distribution == "int_uniform" and (low % 1 or high % 1):
        raise UserError(f"{name}: int_uniform needs whole numbers as min and max")
    return ParameterChoice(name, (), distribution, low, high, step)


def _number(name: str, entry: Mapping[str, Any], key: str) -> float:
    value = entry.get(key, 1 if key == "q" else None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(
            f"{name}: {key} must be a number, not {value!r} (1e-3 is text in YAML, 1.0e-3 is not)"
        )
    return value
