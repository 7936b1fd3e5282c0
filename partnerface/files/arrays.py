"""Read npz and npy files, which may come from strangers: real numbers and text, a limited size. Write npz."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import ArrayLike

from partnerface.errors import UserError
from partnerface.files.regular_files import file_size
from partnerface.files.whole_files import whole_file

PLAIN_KINDS = "biufSU"
"""Kinds of types that are read: numpy turns complex numbers, dates and records into plain ones half lost."""
LARGEST_ARRAYS_BYTES = 2_000_000_000
"""Limit to the unpacked arrays of one file: a head model with all its components takes a tenth."""


def read_arrays(
    path: Path, names: Iterable[str] | None = None, largest_bytes: int = LARGEST_ARRAYS_BYTES
) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name.

    Args:
        path: the file.
        names: arrays to read, those that the file lacks are left out; all if None.
        largest_bytes: limit to their unpacked size, checked before unpacking.

    Raises:
        UserError: the file is missing, damaged, too large once unpacked, or holds anything but real numbers
            and text.
    """
    try:
        file_size(path)  # raises at a pipe
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            wanted = members if names is None else [name for name in names if name in members]
            sizes = {name: members[name].file_size for name in wanted}
            if sum(sizes.values()) > largest_bytes:
                largest = max(sizes, key=sizes.get)
                raise ValueError(
                    f"{largest!r} unpacks to {sizes[largest] / 1e6:,.0f} MB, all may take "
                    f"{largest_bytes / 1e6:,.0f} MB"
                )
            return {name: _read_array(archive, members[name], name) for name in wanted}
    except Exception as error:
        # What a damaged archive raises depends on where it is damaged.
        raise UserError(f"{path}: cannot be read ({_reason(error)})") from error


def read_array(path: Path, largest_bytes: int = LARGEST_ARRAYS_BYTES) -> np.ndarray:
    """The array of an npy file.

    Raises:
        UserError: the file is missing, damaged, too large, or holds anything but real numbers and text.
    """
    try:
        if (size := file_size(path)) > largest_bytes:
            raise ValueError(f"{size / 1e6:,.0f} MB, at most {largest_bytes / 1e6:,.0f} MB are read")
        with path.open("rb") as file:
            _check_header(file, size, path.name)
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:
        raise UserError(f"{path}: cannot be read ({_reason(error)})") from error


def write_arrays(path: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Write a compressed npz file whole or not at all.

    Raises:
        NotWritten: it cannot be written.
    """
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


def shape_fault(
    arrays: Mapping[str, np.ndarray], axes: Mapping[str, str], sizes: dict[str, int] | None = None
) -> str | None:
    """The first array whose shape contradicts those before it, in words; None where all agree.

    Args:
        arrays: by name; those that ``axes`` does not name are not looked at.
        axes: a letter for each axis of an array, of one length wherever it stands; a digit is a length.
        sizes: lengths by letter that are known; those that are found are added.
    """
    sizes = {} if sizes is None else sizes
    for name, letters in axes.items():
        if name not in arrays:
            continue
        shape = arrays[name].shape
        lengths = zip(letters, shape, strict=False)
        differs = any(sizes.setdefault(a, int(a) if a.isdigit() else n) != n for a, n in lengths)
        if differs or len(shape) != len(letters):
            wanted = " x ".join(str(sizes.get(letter, "any")) for letter in letters)
            return f"{name} has shape {shape}, expected {wanted or 'a number'}"
    return None


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> np.ndarray:
    with archive.open(member) as file:
        _check_header(file, member.file_size, name)
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _check_header(file: IO[bytes], size: int, name: str) -> None:
    """Make sure that the array's header, which decides how much memory is allocated, agrees with its size."""
    version = np.lib.format.read_magic(file)
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}.get(version[0])
    if read is None:
        raise ValueError(f"{name!r} has format version {version[0]}")
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError(f"{name!r} holds Python objects, which are never loaded")
    if dtype.kind not in PLAIN_KINDS:
        raise ValueError(f"{name!r} holds {dtype!s:.40} and not real numbers")
    count = 1
    for length in shape:
        count *= length
    if min(shape, default=0) < 0 or count * dtype.itemsize != size - file.tell():
        raise ValueError(f"{name!r} of shape {shape} does not fit its {size} bytes")


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text or type(error).__name__
