import os
from pathlib import Path

import pytest

from partnerface.errors import UserError
from partnerface.files.plain_values import (
    LARGEST_YAML,
    MOST_VALUES,
    parse_yaml,
    read_json_table,
    read_yaml,
    refuse_extremes,
)


def test_values_come_back(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &x [1, é]\nb: *x\n", encoding="utf-8")
    assert read_yaml(tmp_path / "a.yaml") == {"a": [1, "é"], "b": [1, "é"]}
    assert parse_yaml("", "a") is None


def test_aliases_are_counted_as_they_unfold() -> None:
    """Ten lists of ten: 10^k values in k lines. The last that is let in has just fewer than the limit."""

    def nested(levels: int) -> str:
        lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
        lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, levels)]
        return "\n".join(lines)

    values = sum(10**k * 1.2 for k in range(1, 5))
    assert values < MOST_VALUES < 10 * values
    assert len(parse_yaml(nested(4), "a")) == 4
    with pytest.raises(UserError, match=r"a\.yaml: its aliases unfold to more than 100,000 values"):
        parse_yaml(nested(6), "a.yaml")
    with pytest.raises(UserError, match="unfold"):
        parse_yaml("a: &a {b: [*a]}", "a.yaml")


@pytest.mark.parametrize("text", ["", "a & b * c", "[1, &x 2, *x]", "&: [*", "* &"])
def test_text_that_does_not_unfold_passes_whatever_it_is(text: str) -> None:
    refuse_extremes(text)


def test_text_that_unfolds_is_refused() -> None:
    with pytest.raises(UserError, match=r"YAML that begins with 'a: &a \[\*a\]': its aliases unfold"):
        refuse_extremes("a: &a [*a]")


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 200_000, "- " * 5000 + "x", "[" * 150 + "]" * 150])
def test_text_that_nests_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="nested more than 100 deep"):
        refuse_extremes(text)


def test_text_that_nests_as_far_as_it_may() -> None:
    refuse_extremes("[" * 100 + "]" * 100)
    refuse_extremes("[" * 100)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: 1\n" + "#" * LARGEST_YAML)
    with pytest.raises(UserError, match=r"a\.yaml: 1\.0 MB; YAML of at most 1 MB is read"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["!!python/name:os.system", "a: [", "? [1]\n: 2", "2026-99-99", "[" * 9999])
def test_one_line_for_what_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^a\.yaml: ") as refused:
        parse_yaml(text, "a.yaml")
    assert "\n" not in str(refused.value)


def test_a_table_comes_back(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"é": [1, 2.5, null]}', encoding="utf-8")
    assert read_json_table(tmp_path / "a.json", "") == {"é": [1, 2.5, None]}


def test_a_large_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.touch()
    os.truncate(path, 10**10)
    with pytest.raises(UserError, match=r"a\.json: .*\(10,000 MB, 128 MB at most\); track again"):
        read_json_table(path, "track again")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "Expecting value"),
        (b"[1]", "is not a table of keys"),
        (b"\xff\xfe", "codec"),
        (b"[" * 10**6, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=reason) as refused:
        read_json_table(path, "advice")
    assert str(refused.value).startswith(f"{path}: ")
    assert str(refused.value).endswith("; advice")
