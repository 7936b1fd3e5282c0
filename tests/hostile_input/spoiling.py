"""Ways to spoil a dataset, each a function of the bench."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Spoil = Callable[[Any], None]


class Payload:
    """Unpickles by running a command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def record(change: Callable[[dict], Any]) -> Spoil:
    """Change ``transforms.json``."""

    def spoil(bench) -> None:
        path = bench.root / "transforms.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return spoil


def key(name: str, value: Any) -> Spoil:
    """Set a key of the dataset."""
    return record(lambda content: content.update({name: value}))


def no_key(name: str) -> Spoil:
    return record(lambda content: content.pop(name))


def frame_key(name: str, value: Any, frame: int = 3) -> Spoil:
    """Set a key of one frame."""
    return record(lambda content: content["frames"][frame].update({name: value}))


def no_frame_key(name: str) -> Spoil:
    return record(lambda content: content["frames"][2].pop(name))


def splits(**changed: Any) -> Spoil:
    """Set splits; training and test frames stay as they are unless named."""
    return record(lambda content: content["splits"].update(changed))


def head_model(**changed: Any) -> Spoil:
    return record(lambda content: content["head_model"].update(changed))


def content(name: str, data: bytes | str) -> Spoil:
    """Replace a file's content."""
    data = data.encode() if isinstance(data, str) else data
    return lambda bench: (bench.root / name).write_bytes(data) and None


def cut(name: str, share: float = 0.5) -> Spoil:
    """Keep only the first part of a file."""

    def spoil(bench) -> None:
        whole = (bench.root / name).read_bytes()
        (bench.root / name).write_bytes(whole[: int(share * len(whole))])

    return spoil


def flipped(name: str, place: float = 0.5) -> Spoil:
    """Flip one byte of a file."""

    def spoil(bench) -> None:
        data = bytearray((bench.root / name).read_bytes())
        data[int(place * len(data))] ^= 255
        (bench.root / name).write_bytes(data)

    return spoil


def missing(name: str) -> Spoil:
    return lambda bench: (bench.root / name).unlink()


def folder_instead(name: str) -> Spoil:
    def spoil(bench) -> None:
        (bench.root / name).unlink()
        (bench.root / name).mkdir()

    return spoil


def pipe_instead(name: str) -> Spoil:
    """A named pipe, at which a reader would wait for ever."""

    def spoil(bench) -> None:
        (bench.root / name).unlink()
        os.mkfifo(bench.root / name)

    return spoil


def link_out(name: str) -> Spoil:
    """The file lies outside and is linked; but for its place it is in order."""

    def spoil(bench) -> None:
        target = bench.outside / Path(name).name
        (bench.root / name).rename(target)
        (bench.root / name).symlink_to(target)

    return spoil


def link_to(name: str, target: str) -> Spoil:
    def spoil(bench) -> None:
        (bench.root / name).unlink()
        (bench.root / name).symlink_to(target)

    return spoil


def path_out(frame_entry: str, kind: str) -> Spoil:
    """A frame's file lies outside and is named from there."""

    def spoil(bench) -> None:
        entry = json.loads((bench.root / "transforms.json").read_text())["frames"][0][frame_entry]
        target = bench.outside / "file"
        (bench.root / entry).rename(target)
        named = {"absolute": str(target), "parent": "../outside/file", "hidden": "images/../../outside/file"}
        frame_key(frame_entry, named[kind], 0)(bench)

    return spoil


def sparse(name: str, size: int) -> Spoil:
    """An enormous file that takes no room."""
    return lambda bench: os.truncate(bench.root / name, size)


def arrays(name: str, **changed: Any) -> Spoil:
    """Change arrays of an npz; None leaves one out."""

    def spoil(bench) -> None:
        with np.load(bench.root / name) as archive:
            kept = {k: v for k, v in {**archive, **changed}.items() if v is not None}
        np.savez(bench.root / name, **kept)

    return spoil


def pickled_array(name: str, array: str) -> Spoil:
    """An array of objects that run a command when they are unpickled."""

    def spoil(bench) -> None:
        objects = np.empty(1, object)
        objects[0] = Payload(bench.canary)
        arrays(name, **{array: objects})(bench)

    return spoil


def pickle_instead(name: str) -> Spoil:
    return lambda bench: content(name, pickle.dumps(Payload(bench.canary)))(bench)


def npy_header(name: str, array: str, header: bytes, data: bytes = b"") -> Spoil:
    """An array whose header is written by hand."""

    def spoil(bench) -> None:
        with np.load(bench.root / name) as archive:
            kept = {k: v for k, v in archive.items() if k != array}
        with zipfile.ZipFile(bench.root / name, "w") as archive:
            for k, v in kept.items():
                with archive.open(f"{k}.npy", "w") as file:
                    np.lib.format.write_array(file, v)
            archive.writestr(f"{array}.npy", npy(header, data))

    return spoil


def npy(header: bytes, data: bytes = b"") -> bytes:
    header += b" " * (-(10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def unpacking_array(name: str, array: str, megabytes: int) -> Spoil:
    """Zeros that pack a thousandfold."""

    def spoil(bench) -> None:
        np.savez_compressed(bench.root / name, **{array: np.zeros(megabytes * 250_000, np.float32)})

    return spoil


def image(name: str, picture: Image.Image, format_: str = "PNG") -> Spoil:
    """Replace a picture, in any format, whatever its name says."""
    buffer = io.BytesIO()
    picture.save(buffer, format_)
    return content(name, buffer.getvalue())


def png_header(name: str, width: int, height: int, text: bytes = b"") -> Spoil:
    """A PNG that says it is of a size, with no pixels worth the name, after compressed text."""
    chunks = _chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    chunks += _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(text)) if text else b""
    chunks += _chunk(b"IDAT", zlib.compress(b"\0" * 100)) + _chunk(b"IEND", b"")
    return content(name, b"\x89PNG\r\n\x1a\n" + chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
