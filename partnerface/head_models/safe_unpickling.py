"""A restricted unpickler for model files that exist only as pickles: arrays in, nothing executed."""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path

import numpy as np

from partnerface.errors import UserError

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


LARGEST_FILE = 1_000_000_000
"""Bytes of a pickle."""


def load_pickled_arrays(path: Path) -> dict:
    """Read a pickled dictionary of arrays, as written by Python 2 or 3.

    Only numpy arrays, scipy sparse matrices and chumpy arrays are admitted; the latter two are read by
    stand-ins, so neither library is needed or run.

    Raises:
        UserError: the file is no such pickle, or it asks for anything else.
    """
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise ValueError(f"{size / 1e6:,.0f} MB, {LARGEST_FILE / 1e6:,.0f} MB at most")
        with path.open("rb") as file:
            values = _ArrayUnpickler(file, path).load()
    except UserError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(f"{path}: is no readable pickle ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds a {type(values).__name__}, not a dictionary of arrays")
    return values


def _encode(text: str, encoding: str) -> bytes:
    """Python 3 writes bytes for old protocols as latin-1 text."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"text encoded as {encoding}")
    return text.encode(encoding)


def _no_bytes() -> bytes:
    """How Python 3 writes the bytes of an empty array for old protocols."""
    return b""


def _reconstruct_object(kind: type, _parent: type, _state: object) -> PickledObject:
    if not (isinstance(kind, type) and issubclass(kind, PickledObject)):
        raise ValueError(f"an object of type {kind}")
    return kind()


def _reconstruct_array(_kind: type, _shape: tuple, _typecode: bytes) -> PickledArray:
    return PickledArray()


def _array_from_buffer(content: bytes, dtype: PickledType, shape: tuple, order: str) -> PickledArray:
    array = PickledArray()
    array.__setstate__((1, shape, dtype, order == "F", bytes(content)))
    return array


def _scalar(dtype: PickledType, content: bytes | str) -> PickledArray:
    return _array_from_buffer(
        content.encode("latin1") if isinstance(content, str) else content, dtype, (), "C"
    )


_ADMITTED = {
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledType,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "object"): object,
    ("__builtin__", "object"): object,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("copyreg", "_reconstructor"): _reconstruct_object,
    ("copy_reg", "_reconstructor"): _reconstruct_object,
    ("chumpy.ch", "Ch"): ChumpyArray,
}
for _package in ("numpy.core", "numpy._core"):
    _ADMITTED[f"{_package}.multiarray", "_reconstruct"] = _reconstruct_array
    _ADMITTED[f"{_package}.multiarray", "scalar"] = _scalar
    _ADMITTED[f"{_package}.numeric", "_frombuffer"] = _array_from_buffer
for _short, _stand_in in (
    ("csc", CompressedSparseMatrix),
    ("csr", CompressedSparseRowMatrix),
    ("coo", CoordinateSparseMatrix),
):
    for _module in (f"scipy.sparse.{_short}", f"scipy.sparse._{_short}"):
        for _kind in ("matrix", "array"):
            _ADMITTED[_module, f"{_short}_{_kind}"] = _stand_in


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, file, path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ADMITTED:
            raise UserError(
                f"{self._path}: asks for {module}.{name}, which no model file needs; it was not opened. "
                "Use the file as downloaded from the FLAME site, or convert it to npz"
            )
        return _ADMITTED[module, name]
