"""A restricted unpickler for model files that exist only as pickles: arrays in, nothing executed."""

from __future__ import annotations

import pickle
from pathlib import Path

from partnerface.head_models.pickled_arrays import (
    ChumpyArray,
    CompressedSparseMatrix,
    CompressedSparseRowMatrix,
    CoordinateSparseMatrix,
    PickledArray,
    PickledObject,
    PickledType,
)
from partnerface.user_error import UserError

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
