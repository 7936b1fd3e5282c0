"""Any number is taken or refused by its range, and every shipped one is taken."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as some

import partnerface
from partnerface.configuration.config_files import CONFIGS
from partnerface.configuration.value_ranges import OF_CLASS, OF_KEY, check_ranges
from partnerface.errors import UserError


def _tables() -> list[dict]:
    return [yaml.safe_load(path.read_text()) for path in sorted(CONFIGS.rglob("*.yaml"))]


def test_every_shipped_number_is_in_its_range() -> None:
    for table in _tables():
        check_ranges(table)


def test_every_class_of_the_table_exists() -> None:
    """A class that is renamed would lose its ranges in silence."""
    source = "\n".join(path.read_text() for path in Path(partnerface.__file__).parent.rglob("*.py"))
    for name, numbers in OF_CLASS.items():
        if hasattr(torch.optim, name):
            continue
        assert f"class {name}(" in source or f"def {name}(" in source, name
        assert all(f"{number}:" in source for number in numbers)


@given(
    key=some.sampled_from(sorted(OF_KEY)),
    value=some.one_of(some.integers(), some.floats(allow_nan=True)),
)
def test_any_number_is_taken_or_refused_by_its_range(key: str, value: float) -> None:
    table: object = value
    for name in reversed(key.split(".")):
        table = {name: table}
    low, high = OF_KEY[key]
    if not math.isnan(value) and low <= value <= high:
        check_ranges(table)
    else:
        with pytest.raises(UserError, match=f"--{key}: "):
            check_ranges(table)


@given(
    name=some.sampled_from([(c, n) for c, numbers in OF_CLASS.items() for n in numbers]),
    value=some.one_of(some.integers(), some.floats(allow_nan=True)),
    in_list=some.booleans(),
)
def test_any_number_of_any_class(name: tuple[str, str], value: float, in_list: bool) -> None:
    class_name, number = name
    part = {"class_path": f"some.where.{class_name}", "init_args": {number: [value] if in_list else value}}
    low, high = OF_CLASS[class_name][number]
    if not math.isnan(value) and low <= value <= high:
        check_ranges({"model": {"part": part}})
    else:
        with pytest.raises(UserError, match=rf"--model\.part\.init_args\.{number}: "):
            check_ranges({"model": {"part": part}})


@given(
    some.recursive(
        some.one_of(some.none(), some.booleans(), some.integers(), some.floats(), some.text(max_size=20)),
        lambda inner: some.one_of(
            some.lists(inner, max_size=4),
            some.dictionaries(
                some.sampled_from(["class_path", "init_args", "data", "model", "image_size", "parts"]),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=20,
    )
)
def test_any_table_is_taken_or_refused(table: object) -> None:
    with suppress(UserError):
        check_ranges(table)
