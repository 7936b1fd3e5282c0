"""Arrays from model files that exist only as pickles, such as FLAME's, without running anything in them.

A pickle names the functions that rebuild its objects. Those of numpy, scipy.sparse and chumpy are answered
with stand-ins that only keep what they are given, all others are refused; `dense_array` then makes an array
of a stand-in. scipy and chumpy need not be installed.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np

from partnerface.errors import UserError
from partnerface.files.regular_files import file_size

LARGEST_FILE = 1_000_000_000
"""Bytes of a pickle that is opened."""

LARGEST_ARRAY = 2_000_000_000
"""Bytes of one array as `dense_array` returns it."""

_PLAIN_TYPE = re.compile(r"[<>=|]?[biuf?][0-9]*")


def load_pickled_arrays(path: Path) -> dict:
    """The dictionary in a pickle of Python 2 or 3; `dense_array` turns its values into arrays.

    Raises:
        UserError: the file is too large, is no pickle of a dictionary, or names anything but arrays.
    """
    try:
        if (size := file_size(path)) > LARGEST_FILE:
            raise ValueError(f"{size / 1e6:,.0f} MB, {LARGEST_FILE / 1e6:,.0f} MB at most")
        with path.open("rb") as file:
            values = _ArrayUnpickler(file, path, _FLAME_ADVICE).load()
    except UserError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(f"{path}: is no readable pickle ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds a {type(values).__name__}, not a dictionary of arrays")
    return values


def load_torch_dictionary(path: Path, largest_bytes: int) -> dict:
    """The dictionary of numpy arrays in a file of ``torch.save``; `dense_array` turns its values into arrays.

    Raises:
        UserError: the file is too large, no such file, or names anything but arrays.
    """
    try:
        file_size(path)  # raises at a pipe
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise ValueError("no data.pkl in it")
            if (size := archive.getinfo(names[0]).file_size) > largest_bytes:
                raise ValueError(f"{size / 1e6:,.0f} MB, {largest_bytes / 1e6:,.0f} MB at most")
            values = _ArrayUnpickler(io.BytesIO(archive.read(names[0])), path, _TORCH_ADVICE).load()
    except UserError:
        raise
    except Exception as error:  # a damaged archive may raise anything
        raise UserError(f"{path}: is no readable file of torch.save ({error}); copy it again") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds a {type(values).__name__}, not a dictionary of arrays")
    return values


def dense_array(value: object) -> np.ndarray:
    """A value of `load_pickled_arrays` as a dense array of plain numbers.

    Raises:
        ValueError: it is no array, sparse matrix or chumpy array, or its parts contradict each other.
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


class PickledObject:
    """Stand-in for an object: keeps the state that a pickle gives it.

    Attributes:
        state: the object's attributes by name.
    """

    def __new__(cls, *_args) -> PickledObject:
        return super().__new__(cls)

    def __init__(self, *_args) -> None:
        self.state: dict = {}

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, dict) else {}

    def to_array(self) -> np.ndarray:
        """The values as one dense array. Raises ValueError and whatever missing or odd state leads to."""
        raise ValueError(f"a {type(self).__name__} holds no array")


class PickledType(PickledObject):
    """Stand-in for ``numpy.dtype``, by the text that names the type."""

    def __init__(self, name: str | bytes = "", *_args) -> None:
        self.name = name.decode() if isinstance(name, bytes) else str(name)

    def __setstate__(self, state: object) -> None:
        # Only the byte order in a type's state matters for numbers.
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        order = order.decode() if isinstance(order, bytes) else order
        if order in ("<", ">"):
            self.name = order + self.name.lstrip("<>=|")

    def to_numpy(self) -> np.dtype:
        """The type, one of plain numbers. Raises ValueError for any other."""
        if not _PLAIN_TYPE.fullmatch(self.name):
            raise ValueError(f"values of type {self.name}")
        return np.dtype(self.name)


class PickledArray(PickledObject):
    """Stand-in for ``numpy.ndarray``: bytes become an array only if shape, type and length agree."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) == 5:
            self.state = dict(zip(("shape", "dtype", "by_columns", "content"), state[1:], strict=True))

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
    """Stand-in for ``chumpy.ch.Ch``, whose values are its attribute ``x``."""

    def to_array(self) -> np.ndarray:
        return dense_array(self.state["x"])


class CoordinateSparseMatrix(PickledObject):
    """Stand-in for ``scipy.sparse`` matrices in coordinate form."""

    def places(self) -> tuple[np.ndarray, ...]:
        """Row and column of each stored value."""
        where = self.state["coords"] if "coords" in self.state else (self.state["row"], self.state["col"])
        return tuple(dense_array(indices) for indices in where)

    def to_array(self) -> np.ndarray:
        dense = np.zeros(_checked_shape(self.state.get("_shape", self.state.get("shape")), 8))
        where = self.places()
        if any((indices < 0).any() for indices in where):
            raise ValueError("negative indices")
        np.add.at(dense, where, dense_array(self.state["data"]))
        return dense


class CompressedSparseMatrix(CoordinateSparseMatrix):
    """Stand-in for ``scipy.sparse`` matrices in compressed column form."""

    def places(self) -> tuple[np.ndarray, ...]:
        ends, indices = dense_array(self.state["indptr"]), dense_array(self.state["indices"])
        return indices, np.repeat(np.arange(len(ends) - 1), np.diff(ends))


class CompressedSparseRowMatrix(CompressedSparseMatrix):
    """Stand-in for ``scipy.sparse`` matrices in compressed row form."""

    def places(self) -> tuple[np.ndarray, ...]:
        return super().places()[::-1]


def _checked_shape(shape: object, item_bytes: int) -> tuple[int, ...]:
    if isinstance(shape, tuple):
        shape = tuple(int(n.to_array()) if isinstance(n, PickledArray) else n for n in shape)
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"of shape {shape}")
    if math.prod(shape) * item_bytes > LARGEST_ARRAY:
        raise ValueError(f"of shape {shape}, which is too large")
    return shape


def _encode(text: str, encoding: str) -> bytes:
    """``_codecs.encode``: Python 3 writes bytes for old protocols as latin-1 text."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"text encoded as {encoding}")
    return text.encode(encoding)


def _no_bytes() -> bytes:
    """``bytes``: Python 3 writes those of an empty array for old protocols as a call without arguments."""
    return b""


def _new_object(kind: type, _parent: type, _state: object) -> PickledObject:
    """``copyreg._reconstructor``."""
    if not (isinstance(kind, type) and issubclass(kind, PickledObject)):
        raise ValueError(f"an object of type {kind}")
    return kind()


def _new_array(_kind: type, _shape: tuple, _typecode: bytes) -> PickledArray:
    """``numpy.core.multiarray._reconstruct``; the state that follows says everything."""
    return PickledArray()


def _array_from_buffer(content: bytes, dtype: PickledType, shape: tuple, order: str) -> PickledArray:
    """``numpy.core.numeric._frombuffer``."""
    array = PickledArray()
    array.__setstate__((1, shape, dtype, order == "F", bytes(content)))
    return array


def _scalar(dtype: PickledType, content: bytes | str) -> PickledArray:
    """``numpy.core.multiarray.scalar``."""
    content = content.encode("latin1") if isinstance(content, str) else content
    return _array_from_buffer(content, dtype, (), "C")


_STAND_INS = {
    "numpy.ndarray": PickledArray,
    "numpy.dtype": PickledType,
    "numpy.core.multiarray._reconstruct": _new_array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array_from_buffer,
    "scipy.sparse.csc.csc_matrix": CompressedSparseMatrix,
    "scipy.sparse.csc.csc_array": CompressedSparseMatrix,
    "scipy.sparse.csr.csr_matrix": CompressedSparseRowMatrix,
    "scipy.sparse.csr.csr_array": CompressedSparseRowMatrix,
    "scipy.sparse.coo.coo_matrix": CoordinateSparseMatrix,
    "scipy.sparse.coo.coo_array": CoordinateSparseMatrix,
    "chumpy.ch.Ch": ChumpyArray,
    "copyreg._reconstructor": _new_object,
    "_codecs.encode": _encode,
    "builtins.bytes": _no_bytes,
    "builtins.object": object,
    "builtins.set": set,
}
"""All that a pickle may name, and what it gets."""

_OTHER_NAMES = {
    "__builtin__.": "builtins.",
    "copy_reg.": "copyreg.",
    "numpy._core.": "numpy.core.",
    "scipy.sparse._": "scipy.sparse.",
}
"""How the same modules are called in Python 2, in numpy 2 and since scipy 1.8."""


_FLAME_ADVICE = "Use the file as downloaded from the FLAME site, or convert it to npz"
_TORCH_ADVICE = "Save nothing but numpy arrays, numbers and text in it"


class _ArrayUnpickler(pickle._Unpickler):
    # Python's own, not that in C, which reserves room for as many objects as the file says it numbers.
    def __init__(self, file, path: Path, advice: str) -> None:
        super().__init__(file, encoding="latin1")
        self._path, self._advice = path, advice

    def find_class(self, module: str, name: str) -> object:
        place = f"{module}.{name}"
        for other, usual in _OTHER_NAMES.items():
            if place.startswith(other):
                place = usual + place.removeprefix(other)
        if place not in _STAND_INS:
            raise UserError(
                f"{self._path}: asks for {module}.{name}, which no array needs; it was not opened. "
                f"{self._advice}"
            )
        return _STAND_INS[place]
