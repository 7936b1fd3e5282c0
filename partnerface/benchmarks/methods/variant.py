"""MethodVariant: a method of `configs/method` with some of its values changed."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from partnerface.benchmarks.method_under_test import PEER, PEER_RAYS
from partnerface.data.splits import SAMPLE
from partnerface.errors import UserError

DEFORMATION = "model.avatar.deformation.init_args"

FIT_FLAGS = {PEER: (PEER_RAYS, "--model.avatar.init_args.bfloat16=true")}
"""What a method needs to make the most of a small budget: NeRFace's rays are a hundred times as dear."""

TESTED_ON_SAMPLES = {PEER: ("temporal" + SAMPLE, "unseen_expression" + SAMPLE)}
"""Splits of the methods that render too slowly for all test frames; the others are tested on these too."""


@dataclass(frozen=True)
class MethodVariant:
    """A method, or a point of a curve over one of its values.

    Attributes:
        method: name of its file in ``configs/method``.
        overrides: names and values; a name without a dot is an argument of the deformation.
    """

    method: str
    overrides: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """As on the command line.

        >>> str(MethodVariant("part_deformation", (("parts", "4"),)))
        'part_deformation:parts=4'
        """
        return ":".join([self.method, *(f"{name}={value}" for name, value in self.overrides)])

    def fit_flags(self) -> list[str]:
        """Flags of ``partnerface fit``."""
        changed = [
            f"--{name}={value}" if "." in name else f"--{DEFORMATION}.{name}={value}"
            for name, value in self.overrides
        ]
        return [*FIT_FLAGS.get(self.method, ()), *changed]

    def test_flags(self, sample_frames: int) -> list[str]:
        """Flags of ``partnerface test``."""
        only = TESTED_ON_SAMPLES.get(self.method)
        return [
            f"--data.sample_frames={sample_frames}",
            *([f"--data.test_splits=[{','.join(only)}]"] if only else []),
        ]


def parse_variants(text: str, known: Sequence[str]) -> list[MethodVariant]:
    """Read methods as they stand on the command line.

    Args:
        text: names with commas between; ``NAME:key=value`` changes a value, ``NAME:key=1/2/4`` makes a
            variant of each.
        known: names of the methods.

    Raises:
        UserError: a method does not exist, or a change is not ``key=value``.

    >>> [str(v) for v in parse_variants("a,b:parts=1/2", ["a", "b"])]
    ['a', 'b:parts=1', 'b:parts=2']
    """
    found: dict[MethodVariant, None] = {}
    for entry in text.split(","):
        name, *settings = entry.strip().split(":")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(known)}"
            raise UserError(f"--methods: no method '{name}'; {hint}")
        options = [_options(name, setting) for setting in settings]
        found |= {MethodVariant(name, overrides): None for overrides in itertools.product(*options)}
    return list(found)


def _options(method: str, setting: str) -> list[tuple[str, str]]:
    name, equals, values = setting.partition("=")
    if not name or not equals or not all(values.split("/")):
        raise UserError(f"--methods: '{setting}' of {method} is not key=value")
    return [(name, value) for value in values.split("/")]
