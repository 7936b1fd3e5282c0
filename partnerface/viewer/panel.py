"""Panel: the controls of one page, and what they are set to."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import viser

from partnerface.avatar.method import AvatarMethod
from partnerface.evaluation.part_effects import PartSummary
from partnerface.viewer.controls import (
    EYE_DEGREES,
    HEAD_DEGREES,
    JAW_DEGREES,
    REGIONS,
    Controls,
    label_of,
    other_side,
    preset_expression,
    presets_for,
    region_of,
)
from partnerface.viewer.drawing import CHANNELS
from partnerface.viewer.parts_tab import PartsTab

STILL = "None: the sliders alone"


@dataclass
class Actions:
    """What a page does when a control is used; called in a thread of the server.

    Attributes:
        changed: something that is shown has changed.
        reset_camera: back to the avatar's own camera.
        screenshot: download the picture.
        record: start a recording, or end it and download the video.
        perform: take the performance of that name, None for none.
        play: play, or pause.
        seek: go to a frame of the performance.
        loop: play a performance again and again, or once.
    """

    changed: Callable[[], None]
    reset_camera: Callable[[], None]
    screenshot: Callable[[], None]
    record: Callable[[], None]
    perform: Callable[[str | None], None]
    play: Callable[[], None]
    seek: Callable[[int], None]
    loop: Callable[[bool], None]


class Panel:
    """The controls of one page.

    Args:
        client: the page.
        avatar: gives the names of expressions and joints.
        parts: what is known of each of its parts, in the order to list them.
        performances: names of what can be played.
        actions: what the controls do.
    """

    def __init__(
        self,
        client: viser.ClientHandle,
        avatar: AvatarMethod,
        parts: Sequence[PartSummary],
        performances: Sequence[str],
        actions: Actions,
    ) -> None:
        self.client, self.avatar, self.actions = client, avatar, actions
        gui, names = client.gui, avatar.head_model.asset.expression_names
        self.names, self._playing = list(names), False
        with client.atomic():
            self._status = gui.add_html("")
            buttons = gui.add_button_group("Picture", ("Reset view", "Screenshot"))
            buttons.on_click(lambda event: self._press(event.target.value))
            shown = [channel for channel in CHANNELS if channel != "Parts" or len(parts) > 1]
            self.channel = self._changing(gui.add_dropdown("Show", shown))
            self.wireframe = self._changing(
                gui.add_checkbox(
                    "Head model", False, hint="Draw the edges of the head model over the picture"
                )
            )
            tabs = gui.add_tab_group()
            with tabs.add_tab("Face"):
                self._add_face(gui)
            with tabs.add_tab("Head"):
                self._add_head(gui)
            with tabs.add_tab("Play"):
                self._add_playback(gui, performances)
            self.parts = None
            if len(parts) > 1:
                with tabs.add_tab("Parts"):
                    self.parts = PartsTab(client, parts, actions.changed)
            with tabs.add_tab("Scene"):
                self.background = self._changing(gui.add_rgb("Background", (255, 255, 255)))

    def _add_face(self, gui: viser.GuiApi) -> None:
        low, high = (float(value) for value in self.avatar.head_model.asset.expression_range)
        presets = gui.add_button_group("Presets", presets_for(self.names))
        presets.on_click(lambda event: self.set_expression(preset_expression(event.target.value, self.names)))
        self.linked = gui.add_checkbox(
            "Both sides", True, hint="A slider of one side moves the other side too"
        )
        by_region = defaultdict(list)
        for name in self.names:
            by_region[region_of(name)].append(name)
        self.sliders = {}
        for region in (region for region in REGIONS if region in by_region):
            with gui.add_folder(region, expand_by_default=region in ("Jaw and mouth", "Other")):
                for name in by_region[region]:
                    slider = gui.add_slider(label_of(name), min(low, 0.0), high, 0.01, 0.0, hint=name)
                    self.sliders[name] = self._changing(slider)
        for name, slider in self.sliders.items():
            if other := other_side(name, self.names):
                slider.on_update(self._linked_to(self.sliders[other]))

    def _add_head(self, gui: viser.GuiApi) -> None:
        self.turns = [
            self._changing(gui.add_slider(label, -HEAD_DEGREES, HEAD_DEGREES, 0.5, 0.0, hint=hint))
            for label, hint in (
                ("turn", "Degrees to the subject's left"),
                ("nod", "Degrees upwards"),
                ("tilt", "Degrees to the subject's left shoulder"),
            )
        ]
        self.joints = {}
        joints = [n for n in self.avatar.head_model.asset.joint_names if n not in ("root", "neck", "head")]
        for name in joints:
            furthest = EYE_DEGREES if name.startswith("eye") else JAW_DEGREES
            with gui.add_folder(name.replace("_", " ").capitalize()):
                self.joints[name] = [
                    self._changing(gui.add_slider(label, -furthest, furthest, 0.5, 0.0, hint=hint))
                    for label, hint in (
                        ("turn", "Degrees to the subject's left"),
                        ("lift", "Degrees upwards"),
                    )
                ]
        eyes = [self.joints[name] for name in ("eye_left", "eye_right") if name in self.joints]
        if len(eyes) == 2:
            for left, right in zip(*eyes, strict=True):
                left.on_update(self._linked_to(right))
                right.on_update(self._linked_to(left))
        gui.add_button("Straighten").on_click(lambda _: self.straighten())

    def _add_playback(self, gui: viser.GuiApi, performances: Sequence[str]) -> None:
        performance = gui.add_dropdown("Performance", (STILL, *performances))
        performance.on_update(lambda event: self._perform(event.target.value))
        self.play = gui.add_button("Play", icon=viser.Icon.PLAYER_PLAY, disabled=True)
        self.play.on_click(lambda _: self.actions.play())
        self.timeline = gui.add_slider("Frame", 0, 1, 1, 0, disabled=True)
        self.timeline.on_update(lambda event: self._seek(event))
        loop = gui.add_checkbox("Loop", True)
        loop.on_update(lambda event: self.actions.loop(event.target.value))
        hint = "Record what is shown; of a performance that plays, every frame at full size"
        self.record = gui.add_button("Record", icon=viser.Icon.PLAYER_RECORD, hint=hint)
        self.record.on_click(lambda _: self.actions.record())

    def controls(self, camera_to_world: np.ndarray | None) -> Controls:
        """What the controls are set to; values that a page made up are brought into their range.

        Args:
            camera_to_world: ``[3, 4]`` of the page, None for the avatar's own.
        """
        turns = {name: [_value(slider) for slider in pair] for name, pair in self.joints.items()}
        parts = self.parts
        gains = [] if parts is None else [_value(slider) for _, slider in sorted(parts.sliders.items())]
        head_model = self.avatar.head_model
        return Controls(
            expression=tuple(_value(self.sliders[name]) for name in self.names),
            head_turn=tuple(_value(slider) for slider in self.turns),
            joint_turns=tuple((head_model.joint(name), *pair) for name, pair in turns.items() if any(pair)),
            camera_to_world=None if camera_to_world is None else tuple(map(tuple, camera_to_world.tolist())),
            part_gains=tuple(gains) if any(gain != 1 for gain in gains) else (),
            highlighted=() if parts is None else parts.highlighted,
            channel=self.channel.value if self.channel.value in CHANNELS else CHANNELS[0],
            wireframe=bool(self.wireframe.value),
            background=tuple(min(max(int(value), 0), 255) for value in self.background.value),
        )

    def set_expression(self, values: Sequence[float]) -> None:
        """Move all sliders of the face."""
        with self.client.atomic():
            for name, value in zip(self.names, values, strict=True):
                self.sliders[name].value = float(value)

    def straighten(self) -> None:
        """Head, eyes and jaw as in the frame that is shown."""
        with self.client.atomic():
            for slider in (*self.turns, *(slider for pair in self.joints.values() for slider in pair)):
                slider.value = 0.0

    def show_status(self, text: str) -> None:
        """Replace the line at the top."""
        style = "padding: 2px 12px 6px; font-size: 12px; color: #667; font-variant-numeric: tabular-nums"
        self._status.content = f'<div style="{style}">{html.escape(text)}</div>'

    def show_place(self, place: int, count: int, playing: bool) -> None:
        """Show the place in a performance of ``count`` frames."""
        if not count:
            return
        self.timeline.value = place
        if playing == self._playing:
            return
        self._playing = playing
        self.play.label = "Pause" if playing else "Play"
        self.play.icon = viser.Icon.PLAYER_PAUSE if playing else viser.Icon.PLAYER_PLAY

    def show_performance(self, count: int) -> None:
        """Enable what plays a performance of ``count`` frames, 0 for none."""
        self.timeline.max = max(count - 1, 1)
        self.timeline.value = 0
        self.timeline.disabled = self.play.disabled = count == 0

    def show_recording(self, recording: bool) -> None:
        """Say on the button what it does next."""
        self.record.label = "Stop and download" if recording else "Record"
        self.record.icon = viser.Icon.PLAYER_STOP if recording else viser.Icon.PLAYER_RECORD

    def _changing(self, handle):
        """A control that changes the picture."""
        handle.on_update(lambda _: self.actions.changed())
        return handle

    def _linked_to(self, other) -> Callable[[viser.GuiEvent], None]:
        def follow(event: viser.GuiEvent) -> None:
            # A value that this program sets has no client; it would be sent to and fro for ever.
            if event.client is not None and self.linked.value:
                other.value = event.target.value

        return follow

    def _press(self, button: str) -> None:
        (self.actions.reset_camera if button == "Reset view" else self.actions.screenshot)()

    def _perform(self, name: str) -> None:
        self.actions.perform(None if name == STILL else name)

    def _seek(self, event: viser.GuiEvent) -> None:
        if event.client is not None:
            self.actions.seek(int(event.target.value))


def _value(slider: viser.GuiSliderHandle) -> float:
    value = float(slider.value)
    return min(max(value, float(slider.min)), float(slider.max)) if np.isfinite(value) else 0.0
