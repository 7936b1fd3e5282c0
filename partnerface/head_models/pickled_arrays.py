"""Stand-ins for the arrays of a pickle: data until somebody asks for the array, and never more than that."""

from __future__ import annotations

import math
import re

import numpy as np

LARGEST_ARRAY = 2_000_000_000
"""Bytes of one array written out in full."""

_PLAIN_TYPE = re.compile(r"[<>=|]?[biuf?][0-9]*")


class PickledObject:
    """Stands in for an object of a library that is not needed to read its arrays."""

    def __new__(cls, *_args) -> PickledObject:
        return super().__new__(cls)

    def __init__(self, *_args) -> None:
        self.state: dict = {}

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, dict) else {}

    def to_array(self) -> np.ndarray:
        """Its values as one dense array. Raises ValueError where there are none."""
        raise ValueError(f"a {type(self).__name__} holds no array")


class PickledType(PickledObject):
    """``numpy.dtype`` of plain numbers, as the text that names it."""

    def __init__(self, name: str | bytes = "", *_args) -> None:
        self.name = name.decode() if isinstance(name, bytes) else str(name)

    def __setstate__(self, state: object) -> None:
        # Of a type's state only the byte order says something about numbers.
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        order = order.decode() if isinstance(order, bytes) else order
        if order in ("<", ">"):
            self.name = order + self.name.lstrip("<>=|")

    def to_numpy(self) -> np.dtype:
        if not _PLAIN_TYPE.fullmatch(self.name):
            raise ValueError(f"values of type {self.name}")
        return np.dtype(self.name)


class PickledArray(PickledObject):
    """``numpy.ndarray``: its bytes become an array only once shape, type and length agree."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) == 5:
            _, shape, dtype, by_columns, content = state
            self.state = {"shape": shape, "dtype": dtype, "by_columns": by_columns, "content": content}

    def to_array(self) -> np.ndarray:
        content, kind = self.state["content"], self.state["dtype"]
        if isinstance(content, list) or not isinstance(kind, PickledType):
            raise ValueError("values of type object")
        dtype = kind.to_numpy()
        content = content.encode("latin1") if isinstance(content, str) else content
        shape = _checked_shape(self.state["shape"], dtype.itemsize)
        flat = np.frombuffer(content, dtype, math.prod(shape)) if 0 not in shape else np.zeros(0, dtype)
        return flat.reshape(shape, order="F" if self.state["by_columns"] else "C")


class ChumpyArray(PickledObject):
    """``chumpy.ch.Ch``: an array under the key ``x``."""

    def to_array(self) -> np.ndarray:
        return dense_array(self.state["x"])


class CompressedSparseMatrix(PickledObject):
    """``scipy.sparse`` matrices in compressed column or row form."""

    by_columns = True

    def to_array(self) -> np.ndarray:
        ends, indices = dense_array(self.state["indptr"]), dense_array(self.state["indices"])
        lines = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        where = (indices, lines) if self.by_columns else (lines, indices)
        return _scattered(self.state, where)


class CompressedSparseRowMatrix(CompressedSparseMatrix):
    """The row form."""

    by_columns = False


class CoordinateSparseMatrix(PickledObject):
    """``scipy.sparse`` matrices in coordinate form."""

    def to_array(self) -> np.ndarray:
        where = self.state["coords"] if "coords" in self.state else (self.state["row"], self.state["col"])
        return _scattered(self.state, tuple(dense_array(indices) for indices in where))


def _scattered(state: dict, where: tuple[np.ndarray, ...]) -> np.ndarray:
    """A dense array with a sparse matrix's values in their places."""
    dense = np.zeros(_checked_shape(state.get("_shape", state.get("shape")), 8))
    if any((indices < 0).any() for indices in where):
        raise ValueError("negative indices")
    np.add.at(dense, where, dense_array(state["data"]))
    return dense


def _checked_shape(shape: object, item_bytes: int) -> tuple[int, ...]:
    if isinstance(shape, tuple):
        shape = tuple(int(n.to_array()) if isinstance(n, PickledArray) else n for n in shape)
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"of shape {shape}")
    if math.prod(shape) * item_bytes > LARGEST_ARRAY:
        raise ValueError(f"of shape {shape}, which is too large")
    return shape


def dense_array(value: object) -> np.ndarray:
    """An unpickled array, sparse matrix or chumpy array as a dense array.

    Raises:
        ValueError: the value is none of them.
    """
    if isinstance(value, PickledObject):
        try:
            return value.to_array()
        except (LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"a {type(value).__name__} without {error}") from error
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"values of type {array.dtype}")
    return array
