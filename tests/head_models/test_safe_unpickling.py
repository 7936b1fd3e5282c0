"""Stand-ins turn into arrays only once shape, type and bytes agree."""

from __future__ import annotations

import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from partnerface.errors import UserError
from partnerface.head_models.safe_unpickling import (
    CompressedSparseMatrix,
    CoordinateSparseMatrix,
    PickledArray,
    PickledType,
    dense_array,
    load_pickled_arrays,
    load_torch_dictionary,
)


def an_array(shape: object, kind: str, content: object, by_columns: bool = False) -> PickledArray:
    array = PickledArray()
    array.__setstate__((1, shape, PickledType(kind), by_columns, content))
    return array


def test_bytes_become_an_array():
    values = np.arange(6, dtype=np.int16)
    assert dense_array(an_array((2, 3), "i2", values.tobytes())).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert dense_array(an_array((2, 3), "i2", values.tobytes(), True)).tolist() == [[0, 2, 4], [1, 3, 5]]
    assert dense_array(an_array((), "f4", np.float32(2.5).tobytes())) == 2.5
    assert dense_array(an_array((0, 3), "f8", b"")).shape == (0, 3)


def test_the_byte_order_is_heeded():
    kind = PickledType("i4")
    kind.__setstate__((3, ">", None, None, None, -1, -1, 0))
    array = an_array((1,), "i4", (7).to_bytes(4, "big"))
    array.state["dtype"] = kind
    assert dense_array(array).tolist() == [7]


@pytest.mark.parametrize(
    ("shape", "kind", "content"),
    [
        ((4,), "f8", b"\0" * 31),
        ((10**6, 10**6), "f8", b""),
        ((-1,), "f8", b"\0" * 8),
        ((1.5,), "f8", b"\0" * 8),
        ("3", "f8", b""),
        ((1,), "O", b"\0" * 8),
        ((1,), "O8", [print]),
        ((1,), "V8", b"\0" * 8),
        ((1,), "U1", b"\0" * 4),
        ((1,), "f8,f8", b"\0" * 16),
        ((1,), "(9999999,9999999)f8", b"\0" * 8),
    ],
)
def test_what_does_not_agree_is_refused(shape, kind, content):
    with pytest.raises(ValueError, match=r"of shape|of type|buffer"):
        dense_array(an_array(shape, kind, content))


@pytest.mark.parametrize("indices", [[0, 5], [0, -1]])
def test_places_outside_a_sparse_matrix(indices):
    matrix = CompressedSparseMatrix()
    matrix.state = {"_shape": (2, 2), "indptr": [0, 1, 2], "indices": indices, "data": [1.0, 2.0]}
    with pytest.raises(ValueError, match=r"without|negative"):
        dense_array(matrix)


def test_a_sparse_matrix_that_would_fill_the_memory():
    matrix = CoordinateSparseMatrix()
    matrix.state = {"_shape": (10**6, 10**6), "row": [0], "col": [0], "data": [1.0]}
    with pytest.raises(ValueError, match="too large"):
        dense_array(matrix)


class Attack:
    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    "function", [os.system, eval, exec, getattr, __import__, np.load, np.fromfile, open, os.remove]
)
def test_pickle_that_calls_something_is_refused(tmp_path, function):
    witness = tmp_path / "witness"
    witness.touch()
    argument = f"touch {tmp_path / 'called'}" if function is os.system else str(witness)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"array": np.zeros(3), "extra": Attack(function, argument)}))
    with pytest.raises(UserError, match=r"model\.pkl: asks for"):
        load_pickled_arrays(path)
    assert witness.exists()
    assert not (tmp_path / "called").exists()


def test_names_of_numpy_1(tmp_path):
    """As in FLAME's files and in those of trackers, which are older than numpy 2."""
    values = {"array": np.arange(6.0).reshape(2, 3), "number": np.float32(2.5)}

    def renamed(content: bytes) -> bytes:
        content = content.replace(b"numpy._core.", b"numpy.core.")
        assert b"numpy.core.multiarray" in content
        return content

    (tmp_path / "flame.pkl").write_bytes(renamed(pickle.dumps(values, 2)))
    torch.save(values, tmp_path / "new.frame")
    with (
        zipfile.ZipFile(tmp_path / "new.frame") as new,
        zipfile.ZipFile(tmp_path / "00000.frame", "w") as old,
    ):
        for name in new.namelist():
            old.writestr(name, renamed(new.read(name)) if name.endswith("data.pkl") else new.read(name))
    for found in (
        load_pickled_arrays(tmp_path / "flame.pkl"),
        load_torch_dictionary(tmp_path / "00000.frame", 10**6),
    ):
        for name, value in values.items():
            np.testing.assert_array_equal(dense_array(found[name]), value)


def test_pickle_of_something_else(tmp_path):
    path = tmp_path / "model.pkl"
    for content in (
        b"",
        b"not a pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({"array": np.zeros(300)})[:-500],
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"model\.pkl"):
            load_pickled_arrays(path)


def test_a_pickle_that_numbers_more_objects_than_it_has(tmp_path):
    """Nine bytes that would take half a gigabyte."""
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x02Nr" + (30_000_000).to_bytes(4, "little") + b".")
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="holds a NoneType"):
            load_pickled_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_state_of_an_admitted_class_is_data_only(tmp_path):
    """A stand-in keeps what it is given; nested calls inside its state are refused too."""
    path = tmp_path / "model.pkl"
    text = b"cchumpy.ch\nCh\n)\x81}S'x'\ncos\nsystem\nsb."
    path.write_bytes(b"\x80\x02}S'v'\n" + text[:-1] + b"s.")
    with pytest.raises(UserError, match=r"asks for os\.system"):
        load_pickled_arrays(path)


@pytest.mark.parametrize("value", ["text", {"a": 1}, [None], np.array(["a"]), {1, 2}])
def test_no_array(value):
    with pytest.raises(ValueError, match="values of type"):
        dense_array(value)
