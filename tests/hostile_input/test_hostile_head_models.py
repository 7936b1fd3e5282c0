"""Bad head-model files, each refused in one line; nothing of a pickle is run."""

from __future__ import annotations

import os
import pickle
import pickletools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from partnerface.configuration.config_files import config_arguments
from tests.head_models.flame_files import flame_arrays
from tests.hostile_input import spoiling as bad

NAN = float("nan")


def _npz(**changed: np.ndarray | None) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        kept = {k: v for k, v in {**flame_arrays(), **changed}.items() if v is not None}
        np.savez(path, **kept)

    return write


def _pickle(protocol: int = 2, **changed: object) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(pickle.dumps({**flame_arrays(), **changed}, protocol))


def _bytes(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def _opcodes(text: bytes) -> Callable[[Path], None]:
    """A pickle of one key whose value is written in opcodes."""
    return _bytes(b"\x80\x02}X\x09\x00\x00\x00shapedirs" + text + b"s.")


def _payload(path: Path) -> None:
    canary = path.with_name("canary")
    path.write_bytes(pickle.dumps({**flame_arrays(), "extra": bad.Payload(canary)}))


def _payload_in_array(path: Path) -> None:
    objects = np.empty(1, object)
    objects[0] = bad.Payload(path.with_name("canary"))
    path.write_bytes(pickle.dumps({**flame_arrays(), "v_template": objects}))


def _nothing(path: Path) -> None:
    del path


def _whole_pickle() -> bytes:
    return pickle.dumps(flame_arrays())


def _self_containing(path: Path) -> None:
    """A chumpy array that is its own content."""
    _opcodes(b"cchumpy.ch\nCh\n)\x81q\x01}X\x01\x00\x00\x00xh\x01sb")(path)


MATRIX = b"cscipy.sparse.csc\ncsc_matrix\n)\x81}(X\x06\x00\x00\x00_shape%sX\x06\x00\x00\x00indptr]"
MATRIX += b"(K\x00K\x01eX\x07\x00\x00\x00indices](K%seX\x04\x00\x00\x00data](K\x01eub"
LARGE = b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
FACES = flame_arrays()["f"]

PICKLES = {
    "empty": (_bytes(b""), ""),
    "text": (_bytes(b"not a pickle"), ""),
    "cut": (_bytes(_whole_pickle()[:-1000]), ""),
    "a list": (_bytes(pickle.dumps([1])), ""),
    "a command": (_payload, "system"),
    "a command in an array": (_payload_in_array, ""),
    "a call of eval": (_opcodes(b"c__builtin__\neval\nX\x01\x00\x00\x001\x85R"), "eval"),
    "a call by its own name": (_opcodes(b"cbuiltins\ngetattr\n(cos\nX\x06\x00\x00\x00systemtR"), "getattr"),
    "a dotted name": (_bytes(b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93."), "ndarray.__class__"),
    "an import of a module": (_opcodes(b"cantigravity\nthis\n"), "antigravity"),
    "numpy's loader": (_opcodes(b"cnumpy\nload\nX\x05\x00\x00\x00a.npy\x85R"), "numpy.load"),
    "numpy's runstring": (_opcodes(b"cnumpy.testing._private.utils\nrunstring\n"), "runstring"),
    "another pickle": (_opcodes(b"cpickle\nloads\nC\x01.\x85R"), "loads"),
    "a persistent name": (_opcodes(b"X\x01\x00\x00\x00aQ"), ""),
    "an extension code": (_opcodes(b"\x82\x01"), ""),
    "an enormous text": (_opcodes(b"\x8d" + b"\xff" * 8), ""),
    "an enormous memo": (_opcodes(b"K\x01r\xff\xff\xff\x7f"), ""),
    "an enormous array": (_opcodes(b"cnumpy\nndarray\n" + LARGE + b"\x85R"), ""),
    "an enormous matrix": (_opcodes(MATRIX % (LARGE, b"\x00")), ""),
    "a matrix with a place outside": (_opcodes(MATRIX % (b"K\x02K\x02\x86", b"\x63")), ""),
    "an array that holds itself": (_self_containing, ""),
    "text in an array": (_pickle(v_template=np.array(["a"])), "v_template"),
    "objects in an array": (_pickle(v_template=np.array([None, {}])), "v_template"),
    "records in an array": (_pickle(v_template=np.zeros(3, [("x", "f4")])), "v_template"),
    "dates in an array": (_pickle(v_template=np.zeros(3, "M8[s]")), "v_template"),
    "a table for an array": (_pickle(weights={"a": 1}), "weights"),
    "nothing for an array": (_pickle(weights=None), "weights"),
    "an array without numbers": (_pickle(f=np.zeros((0, 3), np.uint32)), "f is empty"),
    "no numbers": (_pickle(4, v_template=np.full((60, 3), NAN)), "v_template"),
    "a folder": (Path.mkdir, "not found"),
    "a pipe": (os.mkfifo, "not found"),
    "missing": (_nothing, "not found"),
}

ARCHIVES = {
    **{f"no {key}": (_npz(**{key: None}), key) for key in flame_arrays()},
    **{f"{key} of another shape": (_npz(**{key: np.zeros((2, 2, 2, 2))}), key) for key in flame_arrays()},
    "empty": (_bytes(b""), ""),
    "cut": (_bytes(b"PK\x03\x04"), ""),
    "a pickle": (_payload, ""),
    "objects": (_npz(v_template=np.array([{}], object)), "v_template"),
    "numbers that are none": (_npz(shapedirs=np.full((60, 3, 400), NAN)), "shapedirs"),
    "endless numbers": (_npz(J_regressor=np.full((5, 60), np.inf)), "J_regressor"),
    "weights below zero": (_npz(weights=np.full((60, 5), -1.0)), "weights"),
    "weights of nothing": (_npz(weights=np.zeros((60, 5))), "weights"),
    "triangles outside": (_npz(f=FACES + 60), "f "),
    "triangles below zero": (_npz(f=FACES.astype(np.int64) - 9), "f "),
    "a joint before its parent": (
        _npz(kintree_table=np.array([[-1, 4, 1, 1, 1], [0, 1, 2, 3, 4]])),
        "kintree",
    ),
    "a parent that is not there": (
        _npz(kintree_table=np.array([[-1, 0, 9, 1, 1], [0, 1, 2, 3, 4]])),
        "kintree",
    ),
    "numbers with an imaginary part": (_npz(weights=np.zeros((60, 5), complex)), "weights"),
}
FILES = [("flame.pkl", name, *case) for name, case in PICKLES.items()]
FILES += [("flame.npz", name, *case) for name, case in ARCHIVES.items()]


@pytest.mark.parametrize(("name", "kind", "write", "word"), FILES, ids=[f"{n} {k}" for n, k, *_ in FILES])
def test_flame_files(bench, synthetic_dataset, name: str, kind: str, write, word: str) -> None:
    path = bench.folder / name
    write(path)
    bench.refuses(_with_flame(bench, synthetic_dataset, path), name, word)


def test_other_suffixes(bench, synthetic_dataset) -> None:
    path = bench.folder / "flame.exe"
    path.write_bytes(_whole_pickle())
    bench.refuses(_with_flame(bench, synthetic_dataset, path), "flame.exe", ".npz or .pkl")


def _with_flame(bench, dataset: Path, path: Path) -> list[str]:
    """``check`` of a dataset that says that it was tracked with FLAME."""
    if not bench.root.exists():
        shutil.copytree(dataset, bench.root)
        bad.head_model(name="flame")(bench)
    return ["check", str(bench.root), "--out", str(bench.out), "--head_model", str(path)]


def test_training_refuses_a_pickle_with_code(bench, smoke_arguments) -> None:
    path = bench.folder / "flame.pkl"
    _payload(path)
    flags = ["--model.avatar.head_model=partnerface.head_models.flame.FlameHead"]
    flags += [f"--model.avatar.head_model.init_args.path={path}", f"--run_dir={bench.out}"]
    shipped = config_arguments("head_model/flame")
    bench.refuses(["fit", *smoke_arguments, *shipped, *flags], "flame.pkl", "system")


LANDMARKS = {
    "empty": (_bytes(b""), ""),
    "no archive": (_bytes(b"landmarks"), ""),
    "a pipe": (os.mkfifo, "is no file"),
    "no spread": (lambda path: np.savez(path, vertex_ids=np.zeros((3, 3), int)), ""),
    "another length": (
        lambda path: np.savez(
            path, vertex_ids=np.zeros((3, 3), int), barycentric=np.zeros((4, 3)), spread=np.zeros(3)
        ),
        "barycentric",
    ),
    "numbers that are none": (
        lambda path: np.savez(
            path, vertex_ids=np.zeros((3, 3), int), barycentric=np.zeros((3, 3)), spread=np.full(3, NAN)
        ),
        "spread",
    ),
}


@pytest.mark.parametrize("kind", LANDMARKS)
def test_landmark_files(bench, kind: str) -> None:
    write, word = LANDMARKS[kind]
    path = bench.folder / "landmarks.npz"
    write(path)
    arguments = ["bake-head", "--out", str(bench.folder / "new.npz"), "--landmarks", str(path)]
    bench.refuses(arguments, "landmarks.npz", word)


@pytest.mark.parametrize(
    "kind", ["a call of eval", "an import of a module", "an array that holds itself", "an enormous matrix"]
)
def test_the_opcodes_above_are_pickles(tmp_path, kind: str) -> None:
    """They must fail for what they ask, not because they are no pickles."""
    PICKLES[kind][0](tmp_path / "opcodes.pkl")
    assert list(pickletools.genops((tmp_path / "opcodes.pkl").read_bytes()))[-1][0].name == "STOP"
