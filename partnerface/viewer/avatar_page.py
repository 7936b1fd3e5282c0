"""AvatarPage: one open page: its controls, its place in a performance, its recording."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import RLock

import numpy as np
import torch
import viser
from PIL import Image
from torch import Tensor

from partnerface.avatar.method import AvatarMethod
from partnerface.data.drivers.driver import Driver
from partnerface.data.view import View
from partnerface.evaluation.part_effects import PartSummary
from partnerface.viewer.clip import ClipRecorder
from partnerface.viewer.drawing import Frame, channel_image, visible_edges
from partnerface.viewer.panel import Actions, Panel
from partnerface.viewer.playback import LiveViews, Playback
from partnerface.viewer.render_loop import Page, RenderLoop, checked_between_steps

LARGEST_CANVAS = 1200
"""Pixels of the longer side of what is sent to a browser, which enlarges it."""

SLIDER_FPS = 25.0
"""Frames per second of a recording without a performance."""

JPEG_QUALITY = 90


@dataclass
class Home:
    """Where a page's camera starts: at the avatar's own, turning about the head.

    Attributes:
        position: ``[3]`` metres.
        look_at: ``[3]`` the point before it that is as far away as the head.
        up: ``[3]`` unit vector.
        rotation: ``[3, 3]`` camera to world, OpenCV axes.
    """

    position: np.ndarray
    look_at: np.ndarray
    up: np.ndarray
    rotation: np.ndarray

    @classmethod
    def of(cls, still: View) -> Home:
        """The camera of a view (F = 1)."""
        pose = still.camera.camera_to_world[0].double().cpu().numpy()
        position, forward = pose[:, 3], pose[:, 2]
        distance = (still.head.translation[0].double().cpu().numpy() - position) @ forward
        return cls(position, position + max(distance, 0.1) * forward, -pose[:, 1], pose[:, :3])


class AvatarPage(Page):
    """One open page.

    Args:
        client: the page in viser.
        avatar: what is shown; only the thread of the loop renders with it.
        parts: what is known of each of its parts, in the order to list them.
        still: the view (F = 1) without a performance.
        performances: what can be played: makes a driver, by name.
        loop: renders.
    """

    def __init__(
        self,
        client: viser.ClientHandle,
        avatar: AvatarMethod,
        parts: Sequence[PartSummary],
        still: View,
        performances: Mapping[str, Callable[[], Driver | LiveViews]],
        loop: RenderLoop,
    ) -> None:
        self.client, self.avatar, self.performances, self.loop = client, avatar, performances, loop
        self.playback, self.recorder, self._wants_screenshot = Playback(still), None, False
        self._lock, self._interval, self._last_shown, self._closed = RLock(), 0.0, 0.0, False
        self._choice = 0
        self._home, self._clicked = Home.of(still), None
        self.panel = Panel(
            client,
            avatar,
            parts,
            list(performances),
            Actions(
                changed=self.changed,
                reset_camera=self.reset_camera,
                screenshot=self.screenshot,
                record=self.record,
                perform=self.perform,
                play=self.play,
                seek=self.seek,
                loop=self.set_loop,
            ),
        )
        client.camera.on_update(lambda _: self.changed())
        if self.panel.parts is not None:
            client.scene.on_click()(lambda event: self.click(event.screen_pos))

    @property
    def complete(self) -> bool:
        """True while each picture is recorded, and for the one that is saved."""
        return self.playback.every_frame or self._wants_screenshot

    def changed(self) -> None:
        self.loop.request(self)

    def seconds_to_next(self, now: float) -> float | None:
        with self._lock:
            return self.playback.seconds_to_next(now)

    def render(self, height: int, check: Callable[[], None]) -> None:
        start = time.monotonic()
        with self._lock:
            # What was asked for in the meantime is to be in the picture: it is for the next one.
            save, clicked = self._wants_screenshot, self._clicked
            # Its last picture ends a performance, and belongs to a recording of it.
            playing = self.playback.playing or self.playback.live is not None
            base, place = self.playback.view(start)
        controls, device = self.panel.controls(self._camera_to_world()), self.avatar.identity.device
        # Performances of any origin: on the CPU, and without names.
        base = replace(base, rig=base.rig or self.playback.still.rig).to(device)
        view = controls.view(base, self.avatar.head_model)
        width, height = self._size(height)
        view = view.resized(width, height)
        gains = controls.gains()
        self.avatar.scale_parts(None if gains is None else gains.to(device))
        try:
            with checked_between_steps(self.avatar, check):
                picture = self.avatar.render(view, with_parts=controls.channel == "Parts")
        finally:
            self.avatar.scale_parts(None)
        if self._closed:
            return
        background = torch.tensor(controls.background, device=device) / 255
        image = channel_image(picture, controls.channel, background, controls.highlighted)
        frame = Frame.around(*self._canvas(), width / height)
        if clicked is not None:
            if self._clicked is clicked:
                self._clicked = None
            self._list_part(frame.pixel(clicked, (width, height)), picture.part_weights)
        canvas = frame.filled(image, controls.background)
        if controls.wireframe:
            edges = visible_edges(self.avatar.head_model, view, picture.depth)
            frame.draw_edges(canvas, edges, (width, height))
            image = np.asarray(canvas.crop(frame.box))
        self.client.scene.set_background_image(np.asarray(canvas), "jpeg", jpeg_quality=JPEG_QUALITY)
        if save and height == self.loop.resolution.heights[-1]:
            self._wants_screenshot = False
            self._download("avatar.png", _png(image))
        self._after(image, height, start, place, playing)

    def _after(self, image: np.ndarray, height: int, start: float, place: int, playing: bool) -> None:
        """Record the picture, and say what it is."""
        now = time.monotonic()
        since, self._last_shown = now - self._last_shown, now
        moving = since < 1 and (playing or height < self.loop.resolution.heights[-1])
        self._interval = 0.7 * (self._interval or since) + 0.3 * since if moving else 0.0
        rate = f" · {1 / self._interval:.1f} frames/s" if self._interval else ""
        with self._lock:
            self.panel.show_place(place, len(self.playback), self.playback.playing)
            if self.recorder is not None:
                rate += f" · recording {self.recorder.frames / self.recorder.fps:.1f} s"
                if not self.playback.every_frame:
                    self.recorder.add_at(image, now)
                elif playing and height == self.loop.resolution.heights[-1]:
                    self.recorder.add_frame(image)
        wide, high = self._size(height)
        self.panel.show_status(f"{wide} x {high} pixels in {1000 * (now - start):.0f} ms{rate}")

    def report(self, message: str) -> None:
        with self._lock:
            self.playback.load(None) if self.playback.live else self.playback.pause(time.monotonic())
        self.client.add_notification("Cannot be shown", message, color="red")

    def reset_camera(self) -> None:
        with self.client.atomic():
            self.client.camera.position = self._home.position
            self.client.camera.look_at = self._home.look_at
            self.client.camera.up_direction = self._home.up
        self.changed()

    def screenshot(self) -> None:
        self._wants_screenshot = True
        self.changed()

    def click(self, place: tuple[float, float]) -> None:
        """List the part that a map of the parts shows at a place in the window, both from 0 to 1."""
        if self.panel.channel.value == "Parts":
            self._clicked = place
            self.changed()

    def perform(self, name: str | None) -> None:
        """Load a performance; a failure is shown. One that is chosen while it loads takes its place."""
        with self._lock:
            self._choice += 1
            choice = self._choice
        try:
            driver = None if name is None else self.performances[name]()
        except Exception as error:
            self.report(" ".join(str(error).split())[:300])
            driver = None
        if self.recorder is not None and self.playback.every_frame:
            self.record()  # its pictures have the pace of the performance that ends here
        with self._lock:
            if self._closed or choice != self._choice:
                if isinstance(driver, LiveViews):
                    driver.close()
                return
            self.playback.load(driver)
            self.panel.show_performance(len(self.playback))
            if driver is not None:
                self.playback.play(time.monotonic())
        self.changed()

    def play(self) -> None:
        """Play, or pause."""
        now = time.monotonic()
        with self._lock:
            self.playback.pause(now) if self.playback.playing else self.playback.play(now)
        self.changed()

    def seek(self, place: int) -> None:
        with self._lock:
            self.playback.seek(place, time.monotonic())
        self.changed()

    def set_loop(self, loop: bool) -> None:
        with self._lock:
            self.playback.loop = loop

    def record(self) -> None:
        """Start to record, or end and download."""
        with self._lock:
            recorder, self.recorder = self.recorder, None
            if recorder is None:
                every_frame = self.playback.playing
                self.playback.every_frame = every_frame
                fps = self.playback.driver.fps if every_frame else SLIDER_FPS
                self.recorder = ClipRecorder(fps, self._size(self.loop.resolution.heights[-1]))
            else:
                self.playback.every_frame = False
        self.panel.show_recording(recorder is None)
        self.changed()
        if recorder is None:
            return
        try:
            if (film := recorder.finish(time.monotonic())) is not None:
                self._download("avatar.mp4", film)
        except Exception as error:
            self.report(str(error))

    def close(self) -> None:
        """The browser is gone."""
        self._closed = True
        with self._lock:
            recorder, self.recorder = self.recorder, None
            self.playback.load(None)
        if recorder is not None:
            recorder.discard()

    def _list_part(self, pixel: tuple[int, int] | None, weights: Tensor | None) -> None:
        """List the strongest part at a pixel of part weights ``[H, W, P]``; all where there is no head."""
        if self.panel.parts is not None and weights is not None:
            seen = None if pixel is None else weights[pixel[1], pixel[0]]
            there = seen is not None and bool(seen.sum() > 0.5)
            self.panel.parts.list_part(int(seen.argmax()) if there else None)

    def _camera_to_world(self) -> np.ndarray | None:
        """``[3, 4]`` of the page's camera; None where it has not moved."""
        position = np.array(self.client.camera.position)
        rotation = viser.transforms.SO3(np.array(self.client.camera.wxyz)).as_matrix()
        home = self._home
        if np.allclose(position, home.position, atol=1e-4) and np.allclose(
            rotation, home.rotation, atol=1e-3
        ):
            return None
        pose = np.concatenate([rotation, position[:, None]], 1)
        return pose if np.isfinite(pose).all() else None

    def _size(self, height: int) -> tuple[int, int]:
        """Width and height of a picture of a height, with the aspect of the avatar's camera."""
        camera = self.playback.still.camera
        return max(1, round(height * camera.width / camera.height)), height

    def _canvas(self) -> tuple[int, int]:
        """Width and height of what is sent."""
        width, height = max(self.client.camera.image_width, 1), max(self.client.camera.image_height, 1)
        scale = min(1.0, LARGEST_CANVAS / max(width, height))
        return max(round(width * scale), 16), max(round(height * scale), 16)

    def _download(self, name: str, content: bytes) -> None:
        self.client.send_file_download(name, content, save_immediately=True)


def _png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()
