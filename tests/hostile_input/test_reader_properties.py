"""Properties of the readers: whatever a file holds, they return what it says or refuse it in one line."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes
from PIL import Image

from partnerface.data.formats.layout import resolve_inside
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays
from partnerface.files.images import image_size, read_grey, read_labels, read_rgb
from partnerface.files.plain_values import parse_yaml, read_json_table, read_yaml
from partnerface.head_models.safe_unpickling import dense_array, load_pickled_arrays
from partnerface.sweeps.sweep_file import read_sweep

VALUES = some.recursive(
    some.one_of(some.none(), some.booleans(), some.integers(), some.floats(), some.text(max_size=10)),
    lambda inner: some.one_of(
        some.lists(inner, max_size=3), some.dictionaries(some.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
DAMAGE = some.lists(
    some.tuples(some.floats(0, 1, exclude_max=True), some.binary(max_size=6), some.integers(0, 6)),
    min_size=1,
    max_size=3,
)
"""Places in a file, what is put there, and how many bytes it replaces."""


def _damaged(whole: bytes, damage: list[tuple[float, bytes, int]]) -> bytes:
    data = bytearray(whole)
    for place, new, replaced in damage:
        start = int(place * len(data))
        data[start : start + replaced] = new
    return bytes(data)


def _taken_or_refused(read, path: Path) -> None:
    """Any other exception fails the test."""
    try:
        read(path)
    except UserError as error:
        if str(path) not in str(error):
            raise AssertionError(f"does not name the file: {error}") from error


@pytest.fixture(scope="module")
def dataset(synthetic_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("properties") / "set"
    shutil.copytree(synthetic_dataset, root)
    return root


@given(content=some.one_of(some.binary(max_size=200), VALUES.map(lambda value: json.dumps(value).encode())))
def test_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.json"
    path.write_bytes(content)
    _taken_or_refused(lambda p: read_json_table(p, "write it again"), path)


@given(table=some.dictionaries(some.text(), VALUES, max_size=4))
def test_a_table_comes_back_as_it_was_written(tmp_path: Path, table: dict) -> None:
    path = tmp_path / "any.json"
    path.write_text(json.dumps(table))
    assert json.dumps(read_json_table(path, "")) == json.dumps(table)


@given(text=some.one_of(some.text(max_size=80), VALUES.map(lambda value: json.dumps(value))))
@example(text="a: &a [*a]")
@example(text="? {a: 1}\n: 2")
@example(text="2026-13-45")
@example(text="!!int x")
@example(text="0o9: 0x")
def test_yaml(tmp_path: Path, text: str) -> None:
    with suppress(UserError):
        parse_yaml(text, "any.yaml")
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    _taken_or_refused(read_yaml, path)
    _taken_or_refused(read_sweep, path)


@given(
    written=some.dictionaries(
        some.text(some.characters(codec="ascii", categories=["L"]), min_size=1, max_size=8),
        arrays(
            scalar_dtypes().filter(lambda kind: kind.kind in "biuf"),
            array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        ),
        max_size=3,
    )
)
def test_arrays_come_back_as_they_were_written(tmp_path: Path, written: dict[str, np.ndarray]) -> None:
    path = tmp_path / "any.npz"
    with path.open("wb") as file:
        np.savez(file, **{f"x{name}": array for name, array in written.items()})
    found = read_arrays(path)
    assert found.keys() == {f"x{name}" for name in written}
    for name, array in written.items():
        assert found[f"x{name}"].dtype == array.dtype
        assert found[f"x{name}"].tobytes() == array.tobytes()


@given(damage=DAMAGE)
def test_damaged_archives(dataset: Path, tmp_path: Path, damage: list) -> None:
    path = tmp_path / "any.npz"
    path.write_bytes(_damaged((dataset / "head_parameters" / "00000.npz").read_bytes(), damage))
    _taken_or_refused(read_arrays, path)


@given(damage=DAMAGE, protocol=some.integers(0, 5))
def test_damaged_pickles(tmp_path: Path, damage: list, protocol: int) -> None:
    """A damaged pickle is a program that nobody wrote."""

    def read(path: Path) -> None:
        for value in load_pickled_arrays(path).values():
            with suppress(ValueError, MemoryError):
                dense_array(value)

    path = tmp_path / "any.pkl"
    whole = {"a": np.arange(12.0).reshape(3, 4), "b": np.float32(3), "c": [1, "text", None, {2}]}
    path.write_bytes(_damaged(pickle.dumps(whole, protocol), damage))
    _taken_or_refused(read, path)


@given(
    array=arrays(
        some.sampled_from(["f4", "f8", "i2", "u4", "?", ">f4", ">i8"]),
        array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    protocol=some.integers(0, 5),
    by_columns=some.booleans(),
)
def test_pickled_arrays_come_back_as_they_were_written(
    tmp_path: Path, array: np.ndarray, protocol: int, by_columns: bool
) -> None:
    path = tmp_path / "any.pkl"
    written = np.asfortranarray(array) if by_columns and array.ndim else array
    path.write_bytes(pickle.dumps({"a": written}, protocol))
    found = dense_array(load_pickled_arrays(path)["a"])
    assert found.shape == array.shape
    assert found.astype(array.dtype).tobytes() == array.tobytes()


@given(damage=DAMAGE, kind=some.sampled_from(["PNG", "JPEG"]))
def test_damaged_pictures(tmp_path: Path, damage: list, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(buffer, kind)
    path = tmp_path / "any.png"
    path.write_bytes(_damaged(buffer.getvalue(), damage))
    for read in (read_rgb, read_grey, image_size, lambda p: read_labels(p, 6)):
        _taken_or_refused(read, path)


@given(damage=DAMAGE)
def test_damaged_datasets(dataset: Path, damage: list) -> None:
    path = dataset / "transforms.json"
    whole = path.read_bytes()
    try:
        path.write_bytes(_damaged(whole, damage))
        with suppress(UserError):
            PartnerfaceReader(dataset).read()
    finally:
        path.write_bytes(whole)


@given(place=some.integers(0, 10**6), value=VALUES)
def test_any_value_in_any_place_of_a_dataset(dataset: Path, place: int, value: object) -> None:
    path = dataset / "transforms.json"
    whole = path.read_text()
    record = json.loads(whole)
    places = [(record, key) for key in record]
    places += [(record["head_model"], key) for key in record["head_model"]]
    places += [(record["splits"], key) for key in record["splits"]]
    places += [(record["frames"][5], key) for key in record["frames"][5]]
    node, key = places[place % len(places)]
    node[key] = value
    try:
        path.write_text(json.dumps(record))
        _taken_or_refused(lambda root: PartnerfaceReader(root).read(), dataset)
    finally:
        path.write_text(whole)


@given(
    relative=some.one_of(
        some.text(max_size=30),
        some.lists(
            some.sampled_from(["..", ".", "images", "link", "", "/", "a"]), min_size=1, max_size=6
        ).map("/".join),
    )
)
def test_no_path_leads_out_of_a_dataset(tmp_path: Path, relative: str) -> None:
    root, outside = tmp_path / "set", tmp_path / "outside"
    for folder in (root / "images", outside):
        folder.mkdir(parents=True, exist_ok=True)
    if not (root / "link").is_symlink():
        (root / "link").symlink_to(outside)
    try:
        path = resolve_inside(root, relative, root / "transforms.json")
    except UserError:
        return
    assert path.resolve().is_relative_to(root.resolve())
