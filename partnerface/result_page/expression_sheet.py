"""ExpressionSheet: pictures of an avatar over pairs of sliders, for a player that needs no avatar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from partnerface.avatar.method import AvatarMethod
from partnerface.data.view import View
from partnerface.result_page.sliders import Slider, facing_view, slider_pairs

DENSITIES = (
    ((7, 6), (5, 4), (7, 3)),
    ((5, 5), (3, 4), (5, 3)),
    ((5, 4), (3, 3), (5, 1)),
    ((3, 3), (3, 2), (3, 1)),
    ((3, 2),),
)
"""Positions of both sliders of each pair, from the finest sheet to the coarsest; odd for two-sided ones."""
BLOCK = 16
"""Pixels: tiles begin at multiples of it, so that no block of a JPEG file lies in two of them."""
COLUMNS = 7
FEWEST_TILES = 6
"""Tiles of the coarsest sheet."""


@dataclass(frozen=True)
class SliderPair:
    """Two sliders and the tiles of all their positions.

    Attributes:
        title: what they move.
        across: moves from column to column of the tiles.
        down: moves from row to row.
        columns: shares of `across`.
        rows: shares of `down`.
        first: number of the first tile; they are numbered row by row.
    """

    title: str
    across: Slider
    down: Slider
    columns: list[float]
    rows: list[float]
    first: int

    def views(self, view: View) -> list[View]:
        """A view for each tile, in their order."""
        return [self.down.move(self.across.move(view, x), y) for y in self.rows for x in self.columns]


@dataclass(frozen=True)
class ExpressionSheet:
    """The tiles of all pairs in one picture.

    Attributes:
        pairs: the pairs of sliders.
        width: width of a tile in pixels.
        height: its height.
        tiles: ``[H, W, 3]`` uint8 pictures of all pairs.
    """

    pairs: list[SliderPair]
    width: int
    height: int
    tiles: list[np.ndarray]

    def place(self, number: int) -> tuple[int, int]:
        """Left and upper edge of a tile in `picture`."""
        cell = _cell(self.width), _cell(self.height)
        return number % COLUMNS * cell[0], number // COLUMNS * cell[1]

    def picture(self) -> np.ndarray:
        """``[rows * H', COLUMNS * W', 3]`` uint8: all tiles, each filled up to multiples of `BLOCK`."""
        rest = -len(self.tiles) % COLUMNS
        cells = [*self.tiles, *[np.full_like(self.tiles[0], 255)] * rest]
        more = (0, _cell(self.height) - self.height), (0, _cell(self.width) - self.width), (0, 0)
        cells = [np.pad(cell, more, mode="edge") for cell in cells]
        rows = [np.concatenate(cells[k : k + COLUMNS], 1) for k in range(0, len(cells), COLUMNS)]
        return np.concatenate(rows)


def _cell(pixels: int) -> int:
    return -(-pixels // BLOCK) * BLOCK


def expression_sheet(
    avatar: AvatarMethod,
    longer_side: int,
    seconds: float,
    track: Callable[[Sequence[View]], Iterable[View]] = lambda views: views,
) -> ExpressionSheet | None:
    """Render the avatar over pairs of sliders: mouth, eyes and brows, head; as many as time allows.

    Args:
        avatar: in evaluation mode.
        longer_side: pixels of a tile, never more than that of the avatar's default view.
        seconds: time that rendering may take, judged by one tile.
        track: passes the views through and shows how far they are.

    Returns:
        None where the avatar renders too slowly for the coarsest sheet.
    """
    view = facing_view(avatar)
    width, height = reduced_size(view, longer_side)
    # A quarter of a tile says soon enough that not even the coarsest sheet can be rendered.
    quarter = max(width // 2, 1), max(height // 2, 1)
    if _seconds_of(lambda: avatar.render(view, quarter)) > seconds / FEWEST_TILES:
        return None
    # The first picture may wait for kernels to be compiled.
    spent = [_seconds_of(lambda: avatar.render(view, (width, height))) for _ in range(2)]
    sliders = slider_pairs(avatar)
    for density in DENSITIES:
        pairs = _arranged(sliders, density)
        count = sum(len(pair.columns) * len(pair.rows) for pair in pairs)
        if pairs and count * min(spent) <= seconds:
            views = [moved for pair in pairs for moved in pair.views(view)]
            tiles = [avatar.render(moved, (width, height)).to_bytes() for moved in track(views)]
            return ExpressionSheet(pairs, width, height, tiles)
    return None


def reduced_size(view: View, longer_side: int) -> tuple[int, int]:
    """Width and height of a view's picture, its longer side not above ``longer_side``."""
    sides = view.camera.width, view.camera.height
    width, height = (max(round(side * min(longer_side / max(sides), 1.0)), 1) for side in sides)
    return width, height


def _seconds_of(work: Callable[[], object]) -> float:
    """Seconds that work takes, of all its threads where that is less: others may keep the machine busy."""
    start, of_threads = time.perf_counter(), time.process_time()
    work()
    return min(time.perf_counter() - start, time.process_time() - of_threads)


def _arranged(
    sliders: Sequence[tuple[str, Slider, Slider]], density: Sequence[tuple[int, int]]
) -> list[SliderPair]:
    pairs: list[SliderPair] = []
    first = 0
    for (title, across, down), (columns, rows) in zip(sliders, density, strict=False):
        pair = SliderPair(title, across, down, across.shares(columns), down.shares(rows), first)
        pairs.append(pair)
        first += len(pair.columns) * len(pair.rows)
    return pairs
