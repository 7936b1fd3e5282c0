"""The server of the pages: on this machine only, one avatar, any number of open pages."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import socket
import threading
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import viser
import websockets.asyncio.server

from partnerface.avatar.method import AvatarMethod
from partnerface.data.drivers.driver import Driver
from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.evaluation.part_effects import part_summaries
from partnerface.viewer.avatar_page import AvatarPage, Home
from partnerface.viewer.playback import LiveViews
from partnerface.viewer.render_loop import RenderLoop, Resolution

HOST = "127.0.0.1"
LOCAL_ORIGINS = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
"""Pages that may connect: those that this machine serves. Any other web page that is open in the browser
could reach a server on this machine too."""


def listening_socket(port: int) -> socket.socket:
    """A socket that listens on a port of this machine, 0 for any that is free.

    Raises:
        UserError: the port is taken or reserved.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise UserError(
            f"--port {port}: cannot be used ({error.strerror}); choose another one, 0 takes any that is free"
        ) from error
    return listening


class LocalServer(viser.ViserServer):
    """A viser server that only this machine reaches and that no page can make public."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        return None

    @classmethod
    def on(cls, listening: socket.socket) -> LocalServer:
        """Serve at a socket that listens."""
        original = websockets.asyncio.server.serve

        def serve(handler, host, port, **options):
            # viser itself would take the next free port, and pages of any origin.
            return original(handler, sock=listening, origins=[LOCAL_ORIGINS, None], **options)

        websockets.asyncio.server.serve = serve
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                return cls(host=HOST, port=listening.getsockname()[1], verbose=False)
        finally:
            websockets.asyncio.server.serve = original


class Viewer:
    """Serves pages that show an avatar.

    Args:
        avatar: what is shown, on its device.
        still: the view (F = 1) that a new page shows.
        performances: what a page can play: makes a driver, by name. Drivers are made once and shared.
        live: what happens now, such as a camera's pictures: makes a source for each page that asks.
        full: height of the finest pictures in pixels.
        port: a port of this machine; 0 for any that is free.
        title: stands above the controls.

    Attributes:
        address: where the pages are.
        parts: what is known of each part of the avatar, by effect.
        pages: the open ones, by viser's number of the client.

    Raises:
        UserError: the port cannot be used.
    """

    def __init__(
        self,
        avatar: AvatarMethod,
        still: View,
        performances: Mapping[str, Callable[[], Driver]],
        full: int,
        port: int = 8080,
        title: str = "avatar",
        live: Mapping[str, Callable[[], LiveViews]] | None = None,
    ) -> None:
        listening = listening_socket(port)
        self.avatar, self.still, self.parts = avatar, still, part_summaries(avatar)
        once = {name: _made_once(make) for name, make in performances.items()}
        self.performances = {**(live or {}), **once}
        self.pages: dict[int, AvatarPage] = {}
        self.loop = RenderLoop(Resolution(full))
        self._server = LocalServer.on(listening)
        self.address = f"http://{HOST}:{self._server.get_port()}"
        # A browser that is closed is no fault to report.
        logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", "Queued a .* on a closed connection")
        self._place_camera(still)
        gui = self._server.gui
        gui.set_panel_label(title)
        gui.configure_theme(
            show_logo=False, show_share_button=False, control_width="large", brand_color=(45, 95, 160)
        )
        gui.main_panel.dock_right()
        self._server.on_client_connect(self._open)
        self._server.on_client_disconnect(self._close)
        self._thread = threading.Thread(target=self.loop.run, name="render", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close all pages."""
        self.loop.stop()
        self._thread.join()
        for client in list(self.pages):
            self._forget(client)
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.stop()

    def _place_camera(self, still: View) -> None:
        """Let pages start at the avatar's camera and turn about the head."""
        home, start = Home.of(still), self._server.initial_camera
        self._server.scene.set_up_direction(home.up)
        start.position, start.up, start.look_at = home.position, home.up, home.look_at
        focal, height = float(still.camera.intrinsics[0, 1]), still.camera.height
        start.fov = 2 * float(np.arctan(height / (2 * focal)))
        start.near, start.far = 0.01, 100.0

    def _open(self, client: viser.ClientHandle) -> None:
        page = AvatarPage(client, self.avatar, self.parts, self.still, self.performances, self.loop)
        self.pages[client.client_id] = page
        self.loop.open(page)
        if client.client_id not in self._server.get_clients():
            # It went while its controls were made.
            self._forget(client.client_id)

    def _close(self, client: viser.ClientHandle) -> None:
        self._forget(client.client_id)

    def _forget(self, client_id: int) -> None:
        if (page := self.pages.pop(client_id, None)) is not None:
            self.loop.close(page)
            page.close()


def _made_once(make: Callable[[], Driver]) -> Callable[[], Driver]:
    """A function that calls another one at the first call only; a failure is not kept."""
    lock, made = threading.Lock(), []

    def driver() -> Driver:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return driver
