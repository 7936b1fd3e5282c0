"""Archives of arrays: what is asked for comes back, and no more than is allowed is unpacked."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.files.arrays import read_array, read_arrays


def test_the_named_arrays_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.arange(6).reshape(2, 3, order="F"), b=np.array("text"), c=np.zeros(0))
    found = read_arrays(path, ["a", "c", "none"])
    assert found.keys() == {"a", "c"}
    np.testing.assert_array_equal(found["a"], np.arange(6).reshape(2, 3, order="F"))
    assert str(read_arrays(path)["b"]) == "text"


def test_nothing_is_unpacked_beyond_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, small=np.zeros(10), large=np.zeros(10_000_000))
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    with pytest.raises(UserError, match=r"a\.npz: .*'large' unpacks to 80 MB, all may take 10 MB"):
        read_arrays(path, largest_bytes=10_000_000)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert read_arrays(path, ["small"], largest_bytes=10_000)["small"].shape == (10,)


def test_an_archive_that_lies_about_its_size(tmp_path: Path) -> None:
    """The directory promises few bytes, the header an array of many: neither is believed alone."""
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        header = (
            b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999,)}"
        )
        archive.writestr("a.npy", header.ljust(127) + b"\n" + bytes(80))
    with pytest.raises(UserError, match="does not fit its"):
        read_arrays(path)


def test_objects_are_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", plain=np.zeros(2), objects=np.array([{}], object))
    assert read_arrays(tmp_path / "a.npz", ["plain"])["plain"].sum() == 0
    with pytest.raises(UserError, match="'objects' holds Python objects"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", [complex, "M8[s]", [("x", "f4")]])
def test_what_numpy_would_turn_into_numbers_half_lost_is_refused(tmp_path: Path, kind) -> None:
    np.savez(tmp_path / "a.npz", plain=np.zeros(2, np.float16), odd=np.zeros(2, kind))
    np.save(tmp_path / "b.npy", np.zeros(2, kind))
    assert read_arrays(tmp_path / "a.npz", ["plain"])["plain"].dtype == np.float16
    with pytest.raises(UserError, match=r"a\.npz: .*'odd' holds .* and not real numbers"):
        read_arrays(tmp_path / "a.npz")
    with pytest.raises(UserError, match=r"b\.npy: .*'b\.npy' holds .* and not real numbers"):
        read_array(tmp_path / "b.npy")
