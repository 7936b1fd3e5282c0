"""A restricted unpickler for model files that exist only as pickles: arrays in, nothing executed."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from partnerface.user_error import UserError


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


class ChumpyArray(PickledObject):
    """``chumpy.ch.Ch``: an array under the key ``x``."""

    def to_array(self) -> np.ndarray:
        return dense_array(self.state["x"])


class CompressedSparseMatrix(PickledObject):
    """``scipy.sparse`` matrices in compressed column or row form."""

    by_columns = True

    def to_array(self) -> np.ndarray:
        shape = self.state.get("_shape", self.state.get("shape"))
        lines = np.repeat(np.arange(len(self.state["indptr"]) - 1), np.diff(self.state["indptr"]))
        dense = np.zeros(shape)
        where = (self.state["indices"], lines) if self.by_columns else (lines, self.state["indices"])
        np.add.at(dense, where, self.state["data"])
        return dense


class CompressedSparseRowMatrix(CompressedSparseMatrix):
    """The row form."""

    by_columns = False


class CoordinateSparseMatrix(PickledObject):
    """``scipy.sparse`` matrices in coordinate form."""

    def to_array(self) -> np.ndarray:
        shape = self.state.get("_shape", self.state.get("shape"))
        where = self.state["coords"] if "coords" in self.state else (self.state["row"], self.state["col"])
        dense = np.zeros(shape)
        np.add.at(dense, tuple(where), self.state["data"])
        return dense


def dense_array(value: object) -> np.ndarray:
    """An unpickled array, sparse matrix or chumpy array as a dense array.

    Raises:
        ValueError: the value is none of them.
    """
    if isinstance(value, PickledObject):
        try:
            return value.to_array()
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"a {type(value).__name__} without {error}") from error
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"values of type {array.dtype}")
    return array


def load_pickled_arrays(path: Path) -> dict:
    """Read a pickled dictionary of arrays, as written by Python 2 or 3.

    Only numpy arrays, scipy sparse matrices and chumpy arrays are admitted; the latter two are read by
    stand-ins, so neither library is needed or run.

    Raises:
        UserError: the file is no such pickle, or it asks for anything else.
    """
    try:
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


def _reconstruct_object(kind: type, _parent: type, _state: object) -> PickledObject:
    if not (isinstance(kind, type) and issubclass(kind, PickledObject)):
        raise ValueError(f"an object of type {kind}")
    return kind()


def _reconstruct_array(kind: type, shape: tuple, typecode: bytes) -> np.ndarray:
    return np.ndarray.__new__(np.ndarray, shape, typecode if isinstance(typecode, str) else typecode.decode())


def _array_from_buffer(buffer: bytes, dtype: np.dtype, shape: tuple, order: str) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _scalar(dtype: np.dtype, data: bytes | str) -> np.generic:
    return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype)[0]


_ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
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
