"""The command of a run, from the words of a sweep file and the run's parameters, as W&B agents build it."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from partnerface.errors import UserError

DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
_VARIABLE = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")


def expand_command(
    words: Sequence[str],
    program: str | None,
    parameters: Mapping[str, Any],
    interpreter: str = sys.executable,
) -> list[str]:
    """Put values for the macros.

    Args:
        words: the command; a macro is a whole word, ``${envvar:NAME}`` may be part of one.
        program: for ``${program}``.
        parameters: name and value of each.
        interpreter: for ``${interpreter}``.
    """
    macros = _macros(program, parameters, interpreter)
    expanded: list[str] = []
    for word in words:
        named = _VARIABLE.sub(lambda found: os.environ.get(found[1], found[1]), word)
        expanded += macros[named[2:-1]] if _is_macro(named) else [named]
    return expanded


def check_macros(words: Sequence[str]) -> None:
    """Refuse a macro that `expand_command` does not know."""
    known = _macros("", {}, "")
    for word in words:
        if _is_macro(word) and not _VARIABLE.fullmatch(word) and word[2:-1] not in known:
            macros = ", ".join(f"${{{name}}}" for name in known)
            raise UserError(f"command: no macro {word}; there are {macros}")


def trains_an_avatar(command: Sequence[str]) -> bool:
    """Whether the command is ``partnerface fit``, which takes ``--run_dir`` and ``--ckpt_path last``."""
    pairs = itertools.pairwise(command)
    return any(Path(before).name == "partnerface" and word == "fit" for before, word in pairs)


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
