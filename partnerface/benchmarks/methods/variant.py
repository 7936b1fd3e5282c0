"""MethodVariant: a method of `configs/method` with some of its settings changed."""

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
"""Flags that let a method do its best under a small budget: rays of NeRFace cost a hundred times as much."""

TESTED_ON_SAMPLES = {PEER: ("temporal" + SAMPLE, "unseen_expression" + SAMPLE)}
"""Test splits of methods that render too slowly for all test frames; others are tested on these too."""


@dataclass(frozen=True)
class MethodVariant:
    """A method with or without changed settings.

    Attributes:
        method: name of its file in ``configs/method``.
        overrides: names and values of changed settings; a name without a dot is one of the deformation.
    """

    method: str
    overrides: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """The variant as given on the command line.

        >>> str(MethodVariant("part_deformation", (("parts", "4"),)))
        'part_deformation:parts=4'
        """
        return ":".join([self.method, *(f"{name}={value}" for name, value in self.overrides)])

    def fit_flags(self) -> list[str]:
        """Flags of ``partnerface fit`` for the method's settings."""
        changed = [
            f"--{name}={value}" if "." in name else f"--{DEFORMATION}.{name}={value}"
            for name, value in self.overrides
        ]
        return [*FIT_FLAGS.get(self.method, ()), *changed]

    def test_flags(self, sample_frames: int) -> list[str]:
        """Flags of ``partnerface test``.

        Args:
            sample_frames: length of the sample of each split.
        """
        only = TESTED_ON_SAMPLES.get(self.method)
        return [
            f"--data.sample_frames={sample_frames}",
            *([f"--data.test_splits=[{','.join(only)}]"] if only else []),
        ]


def parse_variants(text: str, known: Sequence[str]) -> list[MethodVariant]:
    """Parse the flag ``--methods``.

    Args:
        text: names with commas between; ``NAME:key=value`` changes a setting, ``NAME:key=1/2/4`` makes a
            variant of each value.
        known: names of all methods.

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
