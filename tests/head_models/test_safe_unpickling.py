"""The restricted unpickler; reading of real layouts is tested with FLAME."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from partnerface.head_models.pickled_arrays import dense_array
from partnerface.head_models.safe_unpickling import load_pickled_arrays
from partnerface.user_error import UserError


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
