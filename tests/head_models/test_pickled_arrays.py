"""Stand-ins turn into arrays only once shape, type and bytes agree."""

import numpy as np
import pytest

from partnerface.head_models.pickled_arrays import (
    CompressedSparseMatrix,
    CoordinateSparseMatrix,
    PickledArray,
    PickledType,
    dense_array,
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
