"""ParameterChoice: the values of one parameter of a sweep, listed or as a distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from partnerface.errors import UserError

_RANGE = ("min", "max")
KEYS = {
    "constant": ("value",),
    "categorical": ("values",),
    "uniform": _RANGE,
    "log_uniform_values": _RANGE,
    "int_uniform": _RANGE,
    "q_uniform": (*_RANGE, "q"),
}
"""The distributions of W&B that can be drawn here, with their keys in a sweep file."""


@dataclass(frozen=True)
class ParameterChoice:
    """The values that one parameter may take.

    Attributes:
        name: dotted key of the command line.
        options: listed values, in the order of the file; empty for a range.
        distribution: a key of `KEYS`, as W&B defines it.
        low: smallest value of a range.
        high: largest value of a range; ``int_uniform`` includes it.
        step: ``q_uniform`` draws multiples of it.
    """

    name: str
    options: tuple[Any, ...] = ()
    distribution: str = "categorical"
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0

    def draw(self, generator: Random) -> Any:
        """Draw a value."""
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
        UserError: it is malformed, or its distribution is not supported; the message begins with the name.
    """
    try:
        return _choice(name, entry)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _choice(name: str, entry: Any) -> ParameterChoice:
    if not isinstance(entry, Mapping):
        raise UserError("write {value: ...}, {values: [...]} or {min: ..., max: ...}")
    if "parameters" in entry:
        raise UserError("nested parameters; write one flat dotted name for each")
    known = {"distribution", *(key for keys in KEYS.values() for key in keys)}
    if unknown := sorted(str(key) for key in set(entry) - known):
        raise UserError(f"unknown key '{unknown[0]}'; known are {', '.join(sorted(known))}")
    distribution = entry["distribution"] if "distribution" in entry else _implied_distribution(entry)
    if not isinstance(distribution, str) or distribution not in KEYS:
        raise UserError(f"distribution '{distribution}' can't be drawn from here; choose {', '.join(KEYS)}")
    keys = KEYS[distribution]
    if set(entry) - {"distribution"} not in (set(keys), set(keys) - {"q"}):
        raise UserError(f"{distribution} takes {' and '.join(keys)} and nothing else")
    if keys[:2] != _RANGE:
        return ParameterChoice(name, _options(entry[keys[0]] if keys[0] == "values" else [entry["value"]]))
    low, high, step = _number(entry, "min"), _number(entry, "max"), _number({"q": 1, **entry}, "q")
    if low > high or step <= 0:
        raise UserError("min must not be above max, and q must be positive")
    if distribution == "log_uniform_values" and low <= 0:
        raise UserError("log_uniform_values needs min above 0")
    if distribution == "int_uniform" and (low % 1 or high % 1):
        raise UserError("int_uniform needs whole numbers as min and max")
    return ParameterChoice(name, (), distribution, low, high, step)


def _implied_distribution(entry: Mapping[str, Any]) -> str:
    """The distribution that W&B assumes for an entry that names none."""
    if "values" in entry or "value" in entry:
        return "categorical" if "values" in entry else "constant"
    bounds = [entry.get(key) for key in _RANGE]
    for kind, distribution in ((int, "int_uniform"), (float, "uniform")):
        if all(type(bound) is kind for bound in bounds):
            return distribution
    raise UserError("give value, values, or min and max, both whole or both with a decimal point")


def _options(values: Any) -> tuple[Any, ...]:
    if not isinstance(values, list) or not values:
        raise UserError("values must be a list that is not empty")
    if any(value is None for value in values):
        raise UserError('null reaches the command line as None; write "null" in quotes')
    return tuple(values)


def _number(entry: Mapping[str, Any], key: str) -> float:
    value = entry[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{key} must be a number, not {value!r} (1e-3 is text in YAML, 1.0e-3 is not)")
    return value
