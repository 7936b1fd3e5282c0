"""GlbFile: accessors, buffer views and the two chunks of a binary glTF 2.0 file."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

import partnerface
from partnerface.files.whole_files import whole_file

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
_COMPONENTS = {"uint8": 5121, "uint16": 5123, "uint32": 5125, "float32": 5126}
_TYPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}


class GlbFile:
    """A binary glTF file that is being put together.

    Attributes:
        content: the JSON chunk: nodes, meshes and whatever refers to the accessors by number.
    """

    def __init__(self) -> None:
        self.content: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"partnerface {partnerface.__version__}"},
            "accessors": [],
            "bufferViews": [],
        }
        self._binary = bytearray()

    def buffer_view(self, data: bytes, target: int | None = None) -> int:
        """Number of a new buffer view of some bytes."""
        self._binary += bytes(-len(self._binary) % 4)
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data)}
        self._binary += data
        self.content["bufferViews"].append(view if target is None else {**view, "target": target})
        return len(self.content["bufferViews"]) - 1

    def accessor(self, values: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """Number of a new accessor of values ``[N, ...]``; matrices ``[N, 4, 4]`` by rows, as numpy has them.

        ``bounds`` adds least and greatest values, which glTF wants of positions and times.
        """
        stored = values.swapaxes(1, 2) if values.ndim == 3 else values
        view = self.buffer_view(np.ascontiguousarray(stored).tobytes(), target)
        return self._add(values, {"bufferView": view, "count": len(values)}, bounds)

    def sparse_accessor(self, values: np.ndarray, bounds: bool = False) -> int:
        """`accessor` of values whose rows are mostly zero: only the others are stored, where that is less."""
        rows = np.flatnonzero(values.any(1)) if values.any() else np.zeros(1, np.int64)
        if len(rows) * 2 > len(values):
            return self.accessor(values, ARRAY_BUFFER, bounds)
        kind = np.uint16 if len(values) <= 65535 else np.uint32
        indices = {
            "bufferView": self.buffer_view(rows.astype(kind).tobytes()),
            "componentType": _COMPONENTS[kind.__name__],
        }
        sparse = {
            "count": len(rows),
            "indices": indices,
            "values": {"bufferView": self.buffer_view(values[rows].tobytes())},
        }
        return self._add(values, {"count": len(values), "sparse": sparse}, bounds)

    def _add(self, values: np.ndarray, accessor: dict[str, Any], bounds: bool) -> int:
        accessor |= {
            "componentType": _COMPONENTS[values.dtype.name],
            "type": _TYPES[values.shape[1:]],
        }
        if bounds:
            low, high = values.min(0), values.max(0)
            accessor |= {"min": np.atleast_1d(low).tolist(), "max": np.atleast_1d(high).tolist()}
        self.content["accessors"].append(accessor)
        return len(self.content["accessors"]) - 1

    def write(self, path: Path) -> None:
        """Write the file whole or not at all.

        Raises:
            NotWritten: it cannot be written.
        """
        self._binary += bytes(-len(self._binary) % 4)
        text = json.dumps(
            {**self.content, "buffers": [{"byteLength": len(self._binary)}]},
            separators=(",", ":"),
            allow_nan=False,
        ).encode()
        text += b" " * (-len(text) % 4)
        length = 12 + 8 + len(text) + 8 + len(self._binary)
        with whole_file(path) as partial, partial.open("wb") as file:
            file.write(struct.pack("<4sII", b"glTF", 2, length))
            file.write(struct.pack("<I4s", len(text), b"JSON") + text)
            file.write(struct.pack("<I4s", len(self._binary), b"BIN\0") + self._binary)
