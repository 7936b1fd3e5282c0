"""Numbers of torch's and Lightning's classes are taken or refused by their range."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

from partnerface.configuration.config_files import CONFIGS
from partnerface.configuration.value_ranges import RANGES, check_ranges
from partnerface.errors import UserError


def test_every_shipped_number_is_in_its_range() -> None:
    for path in sorted(CONFIGS.rglob("*.yaml")):
        check_ranges(yaml.safe_load(path.read_text()))


@given(
    key=some.sampled_from(sorted(RANGES)),
    value=some.one_of(some.integers(), some.floats(allow_nan=True)),
    in_list=some.booleans(),
)
def test_any_number_is_taken_or_refused_by_its_range(key: str, value: float, in_list: bool) -> None:
    table: object = [0.5, value] if in_list and key.endswith("betas") else value
    for name in reversed(key.split(".")):
        table = {name: table}
    low, high = RANGES[key]
    if not math.isnan(value) and low <= value <= high:
        check_ranges(table)
    else:
        with pytest.raises(UserError, match=f"--{key}: "):
            check_ranges(table)


@given(
    some.recursive(
        some.one_of(some.none(), some.booleans(), some.integers(), some.floats(), some.text(max_size=20)),
        lambda inner: some.one_of(
            some.lists(inner, max_size=4),
            some.dictionaries(
                some.sampled_from(["trainer", "model", "optimizer", "init_args", "lr", "betas"]),
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
