import os
from pathlib import Path

import pytest

from partnerface.errors import UserError
from partnerface.files.json_values import read_json_table


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
