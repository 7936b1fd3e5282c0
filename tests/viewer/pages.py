"""A page without a browser: speaks viser's protocol, uses controls, and collects the pictures it is sent."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable

import msgspec
import numpy as np
import zstandard
from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class WirePage:
    """One client of a viewer, with a window of a size.

    Args:
        address: of the viewer, http://...
        width: of the window's picture.
        height: of it.
        origin: of the web page that connects.
    """

    def __init__(self, address: str, width: int = 64, height: int = 64, origin: str | None = None) -> None:
        import viser

        self._used = 0.0
        self.controls: dict[str, dict] = {}
        self.values: dict[str, object] = {}
        self.pictures: list[tuple[float, bytes]] = []
        self.notices: list[str] = []
        self.files: dict[str, bytes] = {}
        self._parts: dict[str, tuple[str, int, list[bytes]]] = {}
        self._size = width, height
        self._socket = connect(
            address.replace("http", "ws"),
            subprotocols=[f"viser-v{viser.__version__}"],
            origin=origin or address,
            max_size=None,
            compression=None,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def look(self, position: Iterable[float], wxyz: Iterable[float]) -> None:
        """Say where the camera is (OpenCV axes), as a browser does after every move."""
        width, height = self._size
        self._send(
            type="ViewerCameraMessage",
            wxyz=tuple(map(float, wxyz)),
            position=tuple(map(float, position)),
            fov=0.4,
            near=0.01,
            far=100.0,
            image_height=height,
            image_width=width,
            look_at=(0.0, 0.0, -1.0),
            up_direction=(0.0, 1.0, 0.0),
        )

    def click(self, across: float, down: float) -> None:
        """Click a place of the window's picture, both from 0 to 1."""
        self._used = time.monotonic()
        self._send(
            type="ScenePointerMessage",
            event_type="click",
            ray_origin=(0.0, 0.0, 0.0),
            ray_direction=(0.0, 0.0, -1.0),
            screen_pos=((across, down),),
            modifier=None,
        )

    def use(self, label: str, value: object = True) -> float:
        """Set a control; returns the time."""
        named = [u for u, props in self.controls.items() if label in (props.get("label"), props.get("hint"))]
        uuid = named[0]
        self._used = time.monotonic()
        self._send(type="GuiUpdateMessage", uuid=uuid, updates={"value": value})
        return self._used

    def wait(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.005)

    def settled(self, quiet: float = 0.4) -> np.ndarray:
        """The last picture ``[H, W, 3]`` uint8, when none has come for a while since a control was used."""
        self.wait(lambda: self.pictures and self._used < self.pictures[-1][0] < time.monotonic() - quiet)
        return np.asarray(Image.open(io.BytesIO(self.pictures[-1][1])).convert("RGB"))

    def shot(self) -> np.ndarray:
        """``[H, W, 3]`` the finest picture of the present state without loss, as the page downloads it."""
        self.files.pop("avatar.png", None)
        self.use("Picture", "Screenshot")
        self.wait(lambda: "avatar.png" in self.files)
        return np.asarray(Image.open(io.BytesIO(self.files["avatar.png"])))

    def value(self, label: str) -> object:
        """What the server has last set a control to; None if it never did."""
        named = [u for u, props in self.controls.items() if label in (props.get("label"), props.get("hint"))]
        return self.values.get(named[0])

    def vanish(self) -> None:
        """Break the connection without a word, as a browser that is killed."""
        self._socket.socket.close()

    def close(self) -> None:
        self._socket.close()

    def _send(self, **message: object) -> None:
        self._socket.send(msgspec.msgpack.encode(message))

    def _read(self) -> None:
        try:
            for raw in self._socket:
                size = int.from_bytes(raw[8:16], "little")
                content = zstandard.ZstdDecompressor().decompress(
                    raw[16 : 16 + size], max_output_size=int.from_bytes(raw[:8], "little")
                )
                for message in msgspec.msgpack.decode(content)["messages"]:
                    self._take(message)
        except (ConnectionClosed, OSError):
            return  # the viewer has closed it

    def _take(self, message: dict) -> None:
        kind = message["type"]
        if kind == "BackgroundImageMessage" and message["rgb_data"]:
            self.pictures.append((time.monotonic(), message["rgb_data"]))
        elif kind == "NotificationShowMessage":
            self.notices.append(message["props"]["body"])
        elif kind == "FileTransferStartDownload":
            self._parts[message["transfer_uuid"]] = message["filename"], message["part_count"], []
        elif kind == "FileTransferPart":
            name, count, parts = self._parts[message["transfer_uuid"]]
            parts.append(message["content"])
            if len(parts) == count:
                self.files[name] = b"".join(parts)
        elif kind == "GuiUpdateMessage":
            if "value" in message["updates"]:
                self.values[message["uuid"]] = message["updates"]["value"]
            self.controls.get(message["uuid"], {}).update(message["updates"])
        elif kind.startswith("Gui") and "uuid" in message and "props" in message:
            self.controls[message["uuid"]] = message["props"]
