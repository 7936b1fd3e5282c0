"""What the parser raises becomes one line: it is asked itself, so that new wording upstream is seen here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import jsonargparse
import pytest

from partnerface.configuration.argument_errors import short_message


class Part(ABC):
    @abstractmethod
    def first(self) -> None: ...

    @abstractmethod
    def second(self) -> None: ...


class Half(Part):
    def first(self) -> None: ...


class Whole(Half):
    def __init__(self, width: int = 3, inner: Part | None = None) -> None:
        pass

    def second(self) -> None: ...


def _line(*arguments: str) -> str:
    """The line for arguments that the parser refuses."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--data.image_size", type=int)
    parser.add_argument("--part", type=Part)
    parser.add_argument("--parts", type=dict[str, Part])
    keys = ["data.image_size", "part", "parts"]
    with pytest.raises(jsonargparse.ArgumentError) as caught:
        parser.parse_args(list(arguments))
    line = short_message(caught.value, list(arguments), keys)
    assert line is not None
    assert "\n" not in line
    return line


WHOLE = f"{__name__}.Whole"


def test_an_unknown_key_with_its_nearest() -> None:
    line = "unknown option or configuration key 'data.imagesize'; did you mean 'data.image_size'?"
    assert _line("--data.imagesize=3") == line


def test_nothing_near_points_to_help() -> None:
    assert _line("--zzz=3").endswith("'zzz'; see --help")


def test_arguments_of_named_classes_are_known() -> None:
    line = _line(f"--part={WHOLE}", "--part.init_args.widht=3")
    assert line == "unknown option or configuration key 'widht'; did you mean 'width'?"


def test_a_wrong_type() -> None:
    assert _line("--data.image_size=large") == "data.image_size: expected int, got large"


def test_a_wrong_type_within_classes_is_named_whole() -> None:
    line = _line(f"--part={WHOLE}", f"--part.inner={WHOLE}", "--part.inner.width=many")
    assert line == "part.init_args.inner.init_args.width: expected int, got many"


def test_an_abstract_class_says_what_it_lacks() -> None:
    half = f"{__name__}.Half"
    assert _line(f"--part={half}") == f"part: {half} is abstract: it lacks second"
    assert _line(f"--part={__name__}.Part").endswith("Part is abstract: it lacks first, second")
    within = _line(f"--parts.eye.class_path={half}")
    assert within == f"parts.eye.class_path: {half} is abstract: it lacks second"


def test_a_class_of_another_kind_and_none_at_all() -> None:
    assert "part: " in _line("--part=collections.OrderedDict")
    assert "OrderedDict does not correspond to a subclass of Part" in _line("--part=collections.OrderedDict")
    assert _line("--part=no_such_module.Part") == "part: No module named 'no_such_module'"


def test_the_file_that_a_key_stands_in_is_named_unless_a_flag_gave_it(tmp_path: Path) -> None:
    for name, text in (("first", "data: {image_size: 3}"), ("second", "data: {sise: 3}")):
        (tmp_path / f"{name}.yaml").write_text(text)
    arguments = [part for path in sorted(tmp_path.iterdir()) for part in ("--config", str(path))]
    assert _line(*arguments).startswith(f"{tmp_path / 'second.yaml'}: unknown option or configuration key ")
    assert _line(*arguments[:2], "--data.sise=3").startswith("unknown option")
    (tmp_path / "first.yaml").write_text("data: {image_size: large}")
    assert _line(*arguments[:2]) == f"{tmp_path / 'first.yaml'}: data.image_size: expected int, got large"


def test_a_misspelt_entry_of_a_table_is_named_and_not_the_file_that_begins_the_table(tmp_path: Path) -> None:
    path = tmp_path / "method.yaml"
    path.write_text(f"parts: {{nose: {{class_path: {WHOLE}, init_args: {{width: 1}}}}}}")
    flags = ["--config", str(path), "--parts.nose.init_args.width=2", "--parts.nsoe.init_args.width=0"]
    assert (
        _line(*flags) == "parts.nsoe: expected a Part, given by its class_path; got {'init_args.width': '0'}"
    )


def test_a_long_value_is_cut() -> None:
    line = _line(f"--data.image_size={'x' * 1000}")
    assert line.startswith("data.image_size: expected int, got xxx")
    assert len(line) < 350


def test_what_is_no_matter_of_the_input_is_left_alone() -> None:
    for error in (RuntimeError("a mistake of ours"), SystemExit(0), KeyError("k")):
        assert short_message(error, [], []) is None
