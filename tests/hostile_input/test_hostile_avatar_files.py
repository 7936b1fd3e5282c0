"""Bad avatar files: each refused in one line, soon, and with no more memory than a good one takes."""

from __future__ import annotations

import json
import os
import pickle
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import partnerface
from partnerface.avatar_files.avatar_file import read_avatar_file
from partnerface.avatar_files.loading import export_avatar_file
from partnerface.errors import UserError
from tests.hostile_input import spoiling as bad

NAN = float("nan")


@pytest.fixture(scope="module")
def good(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.avatar"
    export_avatar_file(trained_run, path)
    return path


@pytest.fixture
def strange(bench, good: Path) -> Path:
    path = bench.folder / "strange.avatar"
    path.write_bytes(good.read_bytes())
    return path


def header_of(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(change: Callable[[dict], Any]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        header, rest = header_of(path)
        change(header)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + rest)

    return spoil


def metadata(**changed: Any) -> Callable[[Path], None]:
    """Set texts of the metadata; None removes one."""

    def change(header: dict) -> None:
        table = {**header["__metadata__"], **changed}
        header["__metadata__"] = {k: v for k, v in table.items() if v is not None}

    return with_header(change)


def avatar(*keys: str, to: Any) -> Callable[[Path], None]:
    """Set an entry of the avatar's configuration."""

    def change(header: dict) -> None:
        table = json.loads(header["__metadata__"]["avatar"])
        node = {"avatar": table}
        for key in ("avatar", *keys)[:-1]:
            node = node[key]
        node[("avatar", *keys)[-1]] = to
        header["__metadata__"]["avatar"] = json.dumps(table)

    return with_header(change)


def tensors(change: Callable[[dict], Any]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        values, header = load_file(path), header_of(path)[0]
        change(values)
        save_file(values, path, header["__metadata__"])

    return spoil


def shape(name: str, shape: list[int]) -> Callable[[Path], None]:
    return with_header(lambda header: header[name].update(shape=shape))


def head_model(**changed: Any) -> Callable[[Path], None]:
    def change(header: dict) -> None:
        table = json.loads(header["__metadata__"]["head_model"])
        header["__metadata__"]["head_model"] = json.dumps({**table, **changed})

    return with_header(change)


def start(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data + path.read_bytes()[len(data) :]) and None


def flame(path: str) -> Callable[[Path], None]:
    """FLAME in a file of the user's own for the head model."""
    table = {"class_path": "partnerface.head_models.flame.FlameHead", "init_args": {"path": path}}
    return avatar("init_args", "head_model", to=table)


PARTS = ("init_args", "deformation", "init_args")
CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (Path.unlink, "no such file"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "no such file"),
    "empty": (lambda path: path.write_bytes(b""), "not readable"),
    "text": (lambda path: path.write_text("not an avatar"), "no avatar file"),
    "one half": (lambda path: os.truncate(path, path.stat().st_size // 2), "not readable"),
    "a byte short": (lambda path: os.truncate(path, path.stat().st_size - 1), "not readable"),
    "a byte more": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "not readable"),
    "an enormous file": (lambda path: os.truncate(path, 10**12), "at most"),
    "a header as long as memory": (start(struct.pack("<Q", 2**63)), "no avatar file"),
    "a header of a gigabyte": (start(struct.pack("<Q", 10**9)), "no avatar file"),
    "a header that is cut": (start(struct.pack("<Q", 200)), "not readable"),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps({"avatar": 1})), "no avatar file"),
    "a command": (
        lambda path: path.write_bytes(pickle.dumps(bad.Payload(path.with_name("canary")))),
        "no avatar file",
    ),
    "a checkpoint that was renamed": (lambda path: torch.save({"a": torch.zeros(2)}, path), "no avatar file"),
    "weights of something else": (lambda path: save_file({"a": torch.zeros(2)}, path), "no avatar file"),
    "an enormous shape": (shape("identity", [10**12]), "not readable"),
    "a shape beyond all numbers": (shape("identity", [2**40, 2**40]), "not readable"),
    "a negative shape": (shape("identity", [-3]), "not readable"),
    "values that are none": (tensors(lambda t: t["identity"].fill_(NAN)), "identity holds values"),
    "endless values": (tensors(lambda t: t["mean_pose"].fill_(-torch.inf)), "mean_pose holds values"),
    "a tensor missing": (tensors(lambda t: t.pop("mean_pose")), "mean_pose"),
    "a tensor too many": (tensors(lambda t: t.update(more=torch.zeros(3))), "more"),
    "no tensors": (tensors(dict.clear), "Missing key"),
    "another shape": (tensors(lambda t: t.update(mean_pose=torch.zeros(5))), "mean_pose"),
    "another type": (tensors(lambda t: t.update(mean_pose=torch.zeros(6, dtype=torch.int64))), "mean_pose"),
    "half precision": (tensors(lambda t: t.update(mean_pose=torch.zeros(6).half())), "mean_pose"),
    "an enormous picture": (
        tensors(lambda t: t["view_defaults.width_and_height"].fill_(10**6)),
        "1000000 x 1000000 pixels",
    ),
    "a picture of nothing": (tensors(lambda t: t["view_defaults.width_and_height"].fill_(0)), "0 x 0 pixels"),
    "no format": (metadata(format=None), "no avatar file"),
    "another format": (metadata(format="pt"), "no avatar file"),
    "no version of the format": (metadata(format_version=None), "no format version"),
    "a version that is text": (metadata(format_version="one"), "no format version"),
    "a version without end": (metadata(format_version="9" * 10**6), "no format version"),
    "of the future": (
        metadata(format_version="2", partnerface_version="9.1.0"),
        "pip install 'partnerface>=9.1.0'",
    ),
    "of a future that gives commands": (
        metadata(format_version="2", partnerface_version="1; rm -rf /"),
        "pip install a newer partnerface",
    ),
    "no configuration": (metadata(avatar=None), "avatar is no table"),
    "a configuration that is text": (
        metadata(avatar='"partnerface.avatar.avatar.Avatar"'),
        "avatar is no table",
    ),
    "a configuration that is not JSON": (metadata(avatar="{"), "not JSON"),
    "a configuration that is endless": (metadata(avatar='{"a": Infinity}'), "Infinity"),
    "lists in lists": (metadata(avatar="[" * 100_000 + "]" * 100_000), "nested"),
    "lists in lists, fewer": (metadata(avatar='{"a": ' + "[" * 500 + "]" * 500 + "}"), "nested"),
    "tables in scores": (metadata(scores='{"a":' * 300 + "1" + "}" * 300), "nested"),
    "a million values": (metadata(avatar='{"a": [' + "1," * 600_000 + "1]}"), "MB"),
    "a header that is huge": (metadata(more="x" * 5_000_000), "no avatar file"),
    "no class": (avatar("class_path", to=None), ""),
    "a class that is not trusted": (
        avatar("class_path", to="canary_module.Avatar"),
        "--trust canary_module ",
    ),
    "a field that is not trusted": (
        avatar("init_args", "field", to={"class_path": "canary_module.Field"}),
        "--trust canary_module ",
    ),
    "a class among keyword arguments": (
        avatar("init_args", "torso", "dict_kwargs", to={"more": {"class_path": "canary_module.Field"}}),
        "--trust canary_module ",
    ),
    "a program": (avatar("init_args", "field", to={"class_path": "subprocess.Popen"}), "subprocess.Popen"),
    "a function": (avatar("init_args", "field", "class_path", to="os.system"), "os.system"),
    "the load of an avatar": (
        avatar("class_path", to="partnerface.avatar_files.loading.load_avatar"),
        "no class that an avatar is made of",
    ),
    "an address for a table": (avatar("init_args", "torso", to="http://127.0.0.1:9/x.yaml"), "import path"),
    "a file for a table": (avatar("init_args", "torso", to="/etc/passwd"), "import path"),
    "an argument that is not there": (avatar(*PARTS, "more", to=1), "more"),
    "a number out of range": (avatar(*PARTS, "parts", to=10**9), "not between 1 and 1024"),
    "a network too large for memory": (
        avatar(*PARTS, "hidden_width", to=4096),
        "far more memory|size mismatch",
    ),
    "planes too large for memory": (
        avatar("init_args", "torso", "init_args", to={"resolutions": [4096, 4096], "channels": 256}),
        "far more memory",
    ),
    "another head model": (head_model(checksum="0" * 16), "another head model"),
    "no checksum": (head_model(checksum=None), "another head model"),
    "a head model that is a list": (metadata(head_model="[]"), "head_model is no table"),
    "a head model outside of the folder": (
        avatar(
            "init_args",
            "head_model",
            to={
                "class_path": "partnerface.head_models.flame.FlameHead",
                "init_args": {"path": "../../flame.npz"},
            },
        ),
        "lies beside it",
    ),
    "a head model that is not there": (
        flame("flame.npz"),
        "flame.npz: not found",
    ),
    "a head model that is a pickle": (
        lambda path: (
            path.with_name("flame.pkl").write_bytes(pickle.dumps(bad.Payload(path.with_name("canary")))),
            avatar(
                "init_args",
                "head_model",
                to={
                    "class_path": "partnerface.head_models.flame.FlameHead",
                    "init_args": {"path": "flame.pkl"},
                },
            )(path),
        ),
        "flame.pkl",
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_bad_avatar_file(bench, strange: Path, monkeypatch, kind: str) -> None:
    (bench.folder / "canary_module.py").write_text(f"open({str(bench.canary)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(bench.folder))
    spoil, words = CASES[kind]
    spoil(strange)
    line = bench.refuses(["export", "avatar", str(strange), "--out", "copy.avatar"], "strange.avatar")
    assert any(word in line for word in words.split("|")), line
    assert not (bench.folder / "copy.avatar").exists()


def test_a_stranger_takes_no_more_memory_than_there_is(strange: Path) -> None:
    """All that could ask for much, in a process that may have little more than a good file needs."""
    code = (
        "import sys, partnerface\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        partnerface.load_avatar(path)\n"
        "        print('loaded')\n"
        "    except partnerface.errors.UserError:\n"
        "        print('refused')\n"
    )
    kinds = (
        *("an enormous file", "an enormous shape", "a header as long as memory", "a million values"),
        *("planes too large for memory", "a network too large for memory", "lists in lists"),
    )
    paths = [strange]
    for number, kind in enumerate(kinds):
        paths.append(strange.with_name(f"{number}.avatar"))
        paths[-1].write_bytes(strange.read_bytes())
        CASES[kind][0](paths[-1])
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (2_500_000_000, 2_500_000_000)),
    )
    assert ended.stdout.split() == ["loaded", *["refused"] * len(kinds)], ended.stderr[-2000:]


def test_the_good_file_is_good(good: Path) -> None:
    """What the refusals above are worth."""
    assert partnerface.load_avatar(good).head_model is not None
    with pytest.raises(UserError, match="no such file"):
        read_avatar_file(good.with_name("other.avatar"))
