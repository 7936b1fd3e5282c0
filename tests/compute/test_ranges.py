"""Numbers with a range, through the command line's own parser."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jsonargparse
import pytest
from hypothesis import given
from hypothesis import strategies as some

from partnerface.compute.ranges import Between


@dataclass
class Rates:
    grids: Between[float, 0, 100] = 1.0


DEFAULT_RATES = Rates()


class Part:
    def __init__(
        self,
        levels: Between[int, 1, 32] = 8,
        share: Between[float, 0, 1] = 0.5,
        sizes: tuple[Between[int, 1, 4096], ...] = (32, 64),
        batches: Between[int, 1, 10**9] | None = None,
        rates: Rates = DEFAULT_RATES,
    ) -> None:
        self.values = levels, share, sizes, batches, rates


LIMITS = {
    "levels": (int, 1, 32),
    "share": (float, 0, 1),
    "sizes": (int, 1, 4096),
    "batches": (int, 1, 10**9),
    "rates.grids": (float, 0, 100),
}


def _parser() -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Part, "part")
    return parser


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


@given(
    name=some.sampled_from(sorted(LIMITS)),
    value=some.one_of(some.integers(), some.floats(allow_nan=True), some.booleans(), some.integers(0, 40)),
)
def test_any_number_is_taken_or_refused_by_its_range(name: str, value: float) -> None:
    kind, low, high = LIMITS[name]
    given_value = [value] if name == "sizes" else value
    for part in reversed(name.split(".")):
        given_value = {part: given_value}
    is_number = type(value) in (int, kind)
    if is_number and not math.isnan(value) and low <= value <= high:
        found = _parser().parse_object({"part": given_value}).part[name]
        found = found[0] if name == "sizes" else found
        assert found == value
        assert type(found) is kind
    else:
        with pytest.raises(jsonargparse.ArgumentError) as caught:
            _parser().parse_object({"part": given_value})
        expected = (
            f"{value} is not between {low:g} and {high:g}" if is_number else f"expected {kind.__name__}"
        )
        assert expected in _innermost(caught.value)


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("levels=0", "0 is not between 1 and 32"),
        ("levels=many", "expected int, got many"),
        ("levels=3.5", "expected int, got 3.5"),
        ("share=nan", "nan is not between 0 and 1"),
        ("share=inf", "inf is not between 0 and 1"),
        ("sizes=[32,0]", "0 is not between 1 and 4096"),
        ("batches=0", "0 is not between 1 and 1e+09"),
        ("rates.grids=-0.1", "-0.1 is not between 0 and 100"),
    ],
)
def test_flags_outside_their_range(flag: str, reason: str) -> None:
    with pytest.raises(jsonargparse.ArgumentError) as caught:
        _parser().parse_args([f"--part.{flag}"])
    assert _innermost(caught.value) == reason


def test_constructors_get_plain_numbers_and_none() -> None:
    flags = ["--part.levels=3", "--part.share=1e-05", "--part.sizes=[7]", "--part.batches=null"]
    parser = _parser()
    part = parser.instantiate(parser.parse_args([*flags, "--part.rates.grids=2"])).part
    levels, share, sizes, batches, rates = part.values
    assert (levels, share, list(sizes), batches, rates.grids) == (3, 1e-5, [7], None, 2.0)
    assert {type(levels), type(sizes[0])} == {int}
    assert {type(share), type(rates.grids)} == {float}


def test_the_help_shows_the_range() -> None:
    shown = " ".join(_parser().format_help().split())
    assert "--part.levels LEVELS (type: int from 1 to 32, default: 8)" in shown
    assert "--part.rates.grids GRIDS (type: float from 0 to 100, default: 1.0)" in shown


def test_what_is_dumped_is_read_again() -> None:
    parser = _parser()
    parsed = parser.parse_args(["--part.levels=3", "--part.sizes=[7,8]"])
    assert parser.parse_string(parser.dump(parsed)) == parsed
