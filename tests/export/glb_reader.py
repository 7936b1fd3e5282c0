"""A reader of GLB files by the letter of the glTF 2.0 specification, and what a viewer shows."""

import json
import struct
from pathlib import Path

import numpy as np

KINDS = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """The two chunks of a file."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        magic, version, length = struct.unpack("<4sII", data[:12])
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack("<I4s", data[12:20])
        assert (kind, size % 4) == (b"JSON", 0)
        self.content = json.loads(data[20 : 20 + size])
        rest, kind = struct.unpack("<I4s", data[20 + size : 28 + size])
        assert (kind, rest) == (b"BIN\0", len(data) - size - 28)
        self._binary = data[28 + size :]

    def _bytes(self, view: int) -> bytes:
        found = self.content["bufferViews"][view]
        start = found.get("byteOffset", 0)
        assert start % 4 == 0
        return self._binary[start : start + found["byteLength"]]

    def values(self, number: int) -> np.ndarray:
        """``[N, C]`` of an accessor."""
        accessor = self.content["accessors"][number]
        kind, width, count = KINDS[accessor["componentType"]], WIDTHS[accessor["type"]], accessor["count"]
        values = np.zeros((count, width), kind)
        if "bufferView" in accessor:
            values[:] = np.frombuffer(self._bytes(accessor["bufferView"]), kind).reshape(count, width)
        if sparse := accessor.get("sparse"):
            rows = np.frombuffer(
                self._bytes(sparse["indices"]["bufferView"]), KINDS[sparse["indices"]["componentType"]]
            )
            assert (np.diff(rows.astype(int)) > 0).all()
            assert len(rows) == sparse["count"]
            values[rows] = np.frombuffer(self._bytes(sparse["values"]["bufferView"]), kind).reshape(-1, width)
        if "min" in accessor:
            np.testing.assert_array_equal(values.min(0), np.float32(accessor["min"]))
            np.testing.assert_array_equal(values.max(0), np.float32(accessor["max"]))
        return values

    @property
    def primitive(self) -> dict:
        return self.content["meshes"][0]["primitives"][0]

    def attribute(self, name: str) -> np.ndarray:
        return self.values(self.primitive["attributes"][name]).astype(float)

    def animated(self, frame: int) -> tuple[np.ndarray, dict[int, dict[str, np.ndarray]]]:
        """Morph weights and the node values at a frame of the first animation."""
        animation, nodes, weights = self.content["animations"][0], {}, None
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            keys = self.values(sampler["input"])
            output = self.values(sampler["output"]).reshape(len(keys), -1)[frame].astype(float)
            if channel["target"]["path"] == "weights":
                weights = output
            else:
                nodes.setdefault(channel["target"]["node"], {})[channel["target"]["path"]] = output
        return weights, nodes

    def shown(
        self, weights: np.ndarray, changed: dict[int, dict[str, np.ndarray]] | None = None
    ) -> np.ndarray:
        """``[N, 3]`` the vertices with morph weights and changed nodes: morph, then skin."""
        place = self.attribute("POSITION")
        for weight, target in zip(weights, self.primitive["targets"], strict=True):
            place = place + weight * self.values(target["POSITION"])
        nodes = self.content["nodes"]
        world: dict[int, np.ndarray] = {}

        def visit(number: int, parent: np.ndarray) -> None:
            node = {**nodes[number], **(changed or {}).get(number, {})}
            local = np.eye(4)
            local[:3, :3] = _rotation(np.array(node.get("rotation", [0, 0, 0, 1.0])))
            local[:3, 3] = node.get("translation", [0, 0, 0])
            world[number] = parent @ local
            for child in node.get("children", []):
                visit(child, world[number])

        for root in self.content["scenes"][self.content["scene"]]["nodes"]:
            visit(root, np.eye(4))
        skin = self.content["skins"][0]
        # Matrices lie in the file by columns.
        bind = self.values(skin["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)
        matrices = np.stack([world[joint] for joint in skin["joints"]]) @ bind
        blended = np.einsum(
            "nk,nkij->nij", self.attribute("WEIGHTS_0"), matrices[self.attribute("JOINTS_0").astype(int)]
        )
        return np.einsum("nij,nj->ni", blended[:, :3, :3], place) + blended[:, :3, 3]


def _rotation(quaternion: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_quat(quaternion).as_matrix()
