"""Performances from strangers: each is refused quickly by one line that names the file, nothing is run."""

import json
import os
import pickle
import struct
import time

import numpy as np
import pytest

from partnerface.data.drivers.live_link_face import read_live_link_face
from partnerface.data.drivers.table import read_table
from partnerface.errors import UserError
from tests.contracts.subjects import shared_head_model
from tests.data.drivers.test_live_link_face import COLUMNS, SHAPES, timecodes, values, write
from tests.hostile_input.spoiling import Payload, npy

HEAD = shared_head_model()
HEADER = ",".join(COLUMNS)
ROW = ",".join(["00:00:00:00.000", "61", *["0"] * 61])


def refused(path, *words) -> None:
    start = time.perf_counter()
    read = read_live_link_face if path.suffix == ".csv" else read_table
    with pytest.raises(UserError) as error:
        read(path, HEAD)
    line = str(error.value)
    assert path.name in line
    assert "\n" not in line
    assert len(line) < 700
    for word in words:
        assert word in line, line
    assert time.perf_counter() - start < 5


CSV = {
    "empty": (b"", "empty"),
    "blank lines": (b"\n\n\n", "empty"),
    "no rows": (HEADER.encode(), "a header without rows"),
    "a short row": (f"{HEADER}\n{ROW}\n0,1,2\n{ROW}".encode(), "row 2 has 3 values, the header has 63"),
    "a long row": (f"{HEADER}\n{ROW},1".encode(), "row 1 has 64 values"),
    "another table": (b"date,price\n2026-01-01,3\n", "no columns for 52 expressions"),
    "half of the face": (
        f"Timecode,{','.join(SHAPES[:26])}\n0{',0' * 26}".encode(),
        "no columns for 26 expressions",
    ),
    "the same column twice": (f"{HEADER},jawopen\n{ROW},0".encode(), "two columns jawopen"),
    "two spellings of one column": (
        f"{HEADER},mouthSmile_L\n{ROW},0".encode(),
        "two columns mouthSmile_L",
    ),
    "words for numbers": (f"{HEADER}\n{ROW.replace(',0', ',zero')}".encode(), "no row has numbers"),
    "nothing but NaN": (f"{HEADER}\n{ROW.replace(',0', ',nan')}".encode(), "no row has numbers"),
    "infinite": (f"{HEADER}\n{ROW.replace(',0', ',inf')}".encode(), "no row has numbers"),
    "percent": (f"{HEADER}\n{ROW.replace(',0', ',87')}".encode(), "must lie between 0 and 1"),
    "huge": (f"{HEADER}\n{ROW.replace(',0', ',1e30')}".encode(), "must lie between 0 and 1"),
    "no text": (bytes(range(256)) * 20, "not CSV"),
    "zero bytes": (b"\0" * 5000, "no columns"),
    "one endless field": (HEADER.encode() + b'\n"' + b"x" * 300_000, "not CSV"),
    "a pickle": (pickle.dumps({"a": 1}, protocol=4), "not CSV"),
}


@pytest.mark.parametrize("kind", CSV)
def test_a_spoiled_recording(tmp_path, kind):
    content, words = CSV[kind]
    (tmp_path / "take.csv").write_bytes(content)
    refused(tmp_path / "take.csv", words)


def test_a_recording_that_is_missing_a_folder_or_enormous(tmp_path):
    refused(tmp_path / "gone.csv", "No such file")
    (tmp_path / "folder.csv").mkdir()
    refused(tmp_path / "folder.csv", "directory")
    (tmp_path / "large.csv").touch()
    os.truncate(tmp_path / "large.csv", 2**40)
    refused(tmp_path / "large.csv", "MB")


def test_a_timecode_that_spans_a_day_does_not_become_a_days_frames(tmp_path):
    codes = [*timecodes(2, 60, 0.0), "22:00:00:00.000"]
    refused(write(tmp_path / "take.csv", values(3), codes), "give the rate by --fps")


ONES = np.ones((3, 52)).tolist()
JSON = {
    "a list": ([1, 2], "is not a table of keys"),
    "no expression": ({"fps": 30}, "no expression"),
    "an unknown key": ({"expression": ONES, "import": "os"}, "unknown key 'import'"),
    "no frames": ({"expression": []}, "expression has shape"),
    "rows of two lengths": ({"expression": [[1, 2], [1]]}, "the rows of 'expression' differ in length"),
    "words": ({"expression": [["a"] * 52]}, "expression does not hold numbers"),
    "null": ({"expression": [[None] * 52]}, "expression does not hold numbers"),
    "NaN": ({"expression": [[float("nan")] * 52]}, "not finite"),
    "infinite": ({"expression": [[float("inf")] * 52]}, "not finite"),
    "huge": ({"expression": [[1e30] * 52]}, "huge"),
    "large": ({"expression": [[500.0] * 52]}, "goes beyond"),
    "an integer of many digits": ({"expression": [[10**400] * 52]}, "does not hold numbers"),
    "too few names": ({"expression": ONES, "names": ["jawOpen"]}, "names has shape"),
    "names that are numbers": ({"expression": ONES, "names": [1] * 52}, "names does not hold names"),
    "names of another model": (
        {"expression": [[1.0, 2.0]], "names": ["PC1", "PC2"]},
        "none of its names (PC1, PC2, ...) is an expression of the head model",
    ),
    "a width of another model": ({"expression": [[1.0] * 100]}, "100 expressions without names"),
    "columns of two lengths": ({"expression": {"jawOpen": [1], "mouthClose": [1, 2]}}, "all as long"),
    "columns that are none": ({"expression": {"jawOpen": 1}}, "all as long"),
    "more angles than frames": ({"expression": ONES, "head_degrees": [[0, 0, 0]]}, "head_degrees has shape"),
    "no rate": ({"expression": ONES, "fps": 0}, "frames per second"),
    "a rate of words": ({"expression": ONES, "fps": "fast"}, "fps does not hold numbers"),
    "two rates": ({"expression": ONES, "fps": [25, 30]}, "fps has shape"),
    "mirrored": ({"expression": ONES, "rotation": [np.diag([-1.0, 1, 1]).tolist()] * 3}, "no rotations"),
}


@pytest.mark.parametrize("kind", JSON)
def test_a_spoiled_table(tmp_path, kind):
    content, words = JSON[kind]
    (tmp_path / "table.json").write_text(json.dumps(content))
    refused(tmp_path / "table.json", words)


def test_a_table_that_is_no_json(tmp_path):
    for text in ("", "{", "[" * 100_000, '{"expression": [' + "[" * 5000 + "]" * 5000 + "]}"):
        (tmp_path / "table.json").write_text(text)
        refused(tmp_path / "table.json")
    os.truncate(tmp_path / "table.json", 2**40)
    refused(tmp_path / "table.json", "MB")


def test_arrays_are_never_unpickled_nor_allocated_before_they_are_checked(tmp_path):
    canary = tmp_path / "canary"
    objects = np.empty((3, 52), object)
    objects[:] = Payload(canary)
    np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "objects.npz", expression=objects)
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Payload(canary)))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Payload(canary)))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 52)}"
    (tmp_path / "promised.npy").write_bytes(npy(header, struct.pack("<4f", 1, 2, 3, 4)))
    (tmp_path / "negative.npy").write_bytes(npy(header.replace(b"1000000000", b"-1")))
    np.save(tmp_path / "words.npy", np.full((3, 52), "jaw"))
    np.save(tmp_path / "complex.npy", np.ones((3, 52), complex))
    np.save(tmp_path / "flat.npy", np.ones(52))
    np.save(tmp_path / "none.npy", np.ones((0, 52)))
    np.save(tmp_path / "nan.npy", np.full((3, 52), np.nan))
    (tmp_path / "empty.npy").touch()
    (tmp_path / "sparse.npy").touch()
    os.truncate(tmp_path / "sparse.npy", 2**40)
    for path in [*tmp_path.glob("*.npy"), *tmp_path.glob("*.npz")]:
        refused(path)
    refused(tmp_path / "gone.npy", "No such file")
    assert not canary.exists()
