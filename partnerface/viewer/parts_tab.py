"""PartsTab: what each part of an avatar does, found by place or driver, with a factor for each."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import viser

from partnerface.evaluation.part_effects import PartSummary
from partnerface.evaluation.pictures import part_colours

LARGEST_GAIN = 3.0
DRIVERS_SHOWN = 2

GAINS_OF_BUTTON: Mapping[str, tuple[float, float | None]] = {
    "Off": (0.0, None),
    "Only these": (1.0, 0.0),
    "Twice": (2.0, None),
    "Reset all": (1.0, 1.0),
}
"""Factors of the parts that are listed and of the others, by button; None where they stay."""

EXPLANATION = (
    "0 switches off what the network of a part adds, 1 is as trained. Numbers: levels of 255 by which the "
    "part changes the colour of its skin under an expression. With **Show: Parts**, click the face to find "
    "a part."
)


class PartsTab:
    """The controls of the parts of an avatar.

    One choice says which parts are listed: all, those of a region of the head, or a single one. The buttons
    act on these, and the map of the parts shows these alone.

    Args:
        client: the page, in whose tab they are.
        parts: what is known of each part, in the order to list them.
        changed: called when something that is shown has changed; in a thread of the server.

    Attributes:
        sliders: the factor of each part, by its number.
        listed: numbers of the parts that are listed.
    """

    def __init__(
        self, client: viser.ClientHandle, parts: Sequence[PartSummary], changed: Callable[[], None]
    ) -> None:
        self.client, self.changed, self.all = client, changed, f"All {len(parts)}"
        gui = client.gui
        by_region = defaultdict(list)
        for part in parts:
            by_region[part.region].append(part.number)
        self.choices = {
            self.all: [part.number for part in parts],
            **{f"{name.capitalize()} ({len(found)})": found for name, found in by_region.items() if name},
            **{f"Part {part.title}": [part.number] for part in parts},
        }
        self.listed = self.choices[self.all]
        gui.add_markdown(EXPLANATION)
        hint = "Type a region, an expression or a number to search"
        self.choice = gui.add_dropdown("List", tuple(self.choices), hint=hint)
        self.choice.on_update(lambda _: self._list())
        buttons = gui.add_button_group("Those listed", tuple(GAINS_OF_BUTTON))
        buttons.on_click(lambda event: self._press(event.target.value))
        colours = (255 * part_colours(len(parts))).round().int().tolist()
        self.captions, self.sliders = {}, {}
        for part in parts:
            self.captions[part.number] = gui.add_html(_caption(part, colours[part.number]))
            slider = gui.add_slider(f"part {part.number + 1}", 0.0, LARGEST_GAIN, 0.05, 1.0)
            slider.on_update(lambda _: changed())
            self.sliders[part.number] = slider

    @property
    def highlighted(self) -> tuple[int, ...]:
        """The parts that the map of parts is to show; empty for all."""
        return () if self.choice.value == self.all else tuple(self.listed)

    def list_part(self, number: int | None) -> None:
        """List a single part, or all of them if None."""
        single = (text for text, numbers in reversed(self.choices.items()) if numbers == [number])
        self.choice.value = self.all if number is None else next(single)

    def _list(self) -> None:
        # A page may make up a choice.
        self.listed = self.choices.get(self.choice.value, self.choices[self.all])
        with self.client.atomic():
            for number, slider in self.sliders.items():
                slider.visible = self.captions[number].visible = number in self.listed
        self.changed()

    def _press(self, button: str) -> None:
        listed, others = GAINS_OF_BUTTON.get(button, (None, None))
        with self.client.atomic():
            for number, slider in self.sliders.items():
                gain = listed if number in self.listed else others
                slider.value = slider.value if gain is None else gain


def _caption(part: PartSummary, colour: Sequence[int]) -> str:
    """A line above a part's slider: its colour, its place, and its strongest drivers."""
    drivers = ", ".join(f"{name} {effect:.0f}" for name, effect in part.drivers[:DRIVERS_SHOWN])
    text = html.escape(" · ".join(filter(None, (part.place.capitalize(), drivers))))
    style = "margin: 10px 12px 0; padding-left: 6px; font-size: 12px; line-height: 16px; min-height: 16px; "
    shade = "border-left: 14px solid rgb({}, {}, {})".format(*colour)
    return f'<div style="{style}{shade}">{text}</div>'
