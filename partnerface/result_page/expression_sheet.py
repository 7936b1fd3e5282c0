"""ExpressionSheet: pictures of an avatar over pairs of sliders, for a player that needs no avatar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from partnerface.avatar.method import AvatarMethod
from partnerface.data.view import View

LEAST_REACH = 0.3
"""How far a slider moves a coefficient of the expression that training hardly used."""
TURN, NOD = 15.0, 10.0
"""Degrees to each side of the default view; most clips have turned the head as far."""
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
JAW = 0.25
"""Radians by which a jaw opens that is a joint."""


@dataclass(frozen=True)
class Slider:
    """One motion of the avatar.

    Attributes:
        low: what its lower end shows.
        high: what its upper end shows.
        move: a view with this motion, by a share in [-1, 1] of its reach, or in [0, 1] if it has no
            lower end; 0 leaves the view as it is.
        two_sided: whether there is a lower end, of share -1.
    """

    low: str
    high: str
    move: Callable[[View, float], View]
    two_sided: bool = True

    def shares(self, positions: int) -> list[float]:
        """Evenly spaced shares, from the lower end to the upper; 0 is among them."""
        return (
            np.linspace(-1.0 if self.two_sided else 0.0, 1.0, positions).tolist() if positions > 1 else [0.0]
        )


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
        longer_side: of a tile, in pixels; never more than that of the avatar's default view.
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
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _arranged(
    sliders: Sequence[tuple[str, Slider, Slider]], density: Sequence[tuple[int, int]]
) -> list[SliderPair]:
    pairs: list[SliderPair] = []
    first = 0
    for (title, across, down), (columns, rows) in zip(sliders, density, strict=False):
        pairs.append(SliderPair(title, across, down, across.shares(columns), down.shares(rows), first))
        first += columns * rows
    return pairs


def slider_pairs(avatar: AvatarMethod) -> list[tuple[str, Slider, Slider]]:
    """Title and both sliders of each pair that the avatar's head model can show."""
    names, joints = avatar.head_model.asset.expression_names, avatar.head_model.asset.joint_names
    brows_up = ["browInnerUp", "browOuterUpLeft", "browOuterUpRight"]
    pairs = []
    jaw = _expressed(avatar, ["jawOpen"]) if "jawOpen" in names else None
    if jaw is None and "jaw" in joints:
        jaw = _joint_turned(avatar.head_model.joint("jaw"), JAW)
    if jaw is not None:
        smile = _expressed(avatar, ["mouthSmileLeft", "mouthSmileRight"], ["mouthPucker"])
        across = Slider("pucker", "smile", smile)
        if "mouthSmileLeft" not in names:
            across = Slider(f"{names[0]} at its least", "at its greatest", _expressed(avatar, [names[0]]))
        pairs.append(("Mouth", across, Slider("closed", "open", jaw, two_sided=False)))
    if "eyeBlinkLeft" in names:
        brows = _expressed(avatar, brows_up, ["browDownLeft", "browDownRight"])
        blink = _expressed(avatar, ["eyeBlinkLeft", "eyeBlinkRight"])
        down = Slider("eyes open", "eyes closed", blink, two_sided=False)
        pairs.append(("Eyes and brows", Slider("brows down", "brows up", brows), down))
    yaw, pitch = _head_turned(avatar, yaw=TURN), _head_turned(avatar, pitch=-NOD)
    across = Slider(f"{TURN:g}° left", f"{TURN:g}° right", yaw)
    return [*pairs, ("Head", across, Slider(f"{NOD:g}° up", f"{NOD:g}° down", pitch))]


def facing_view(avatar: AvatarMethod) -> View:
    """The default view (F = 1) with the head turned as it was held on average in training."""
    view = avatar.default_view()
    turn = axis_angle_to_matrix(avatar.mean_pose[None, :3])
    torso = view.head.torso_rotation
    return _with_rotation(avatar, view, turn if torso is None else torso @ turn)


def _expressed(
    avatar: AvatarMethod, upper: Sequence[str], lower: Sequence[str] = ()
) -> Callable[[View, float], View]:
    """Move coefficients as far as training did: ``upper`` for shares above 0, ``lower`` for those below.

    Without ``lower``, ``upper`` falls to the least values of training. Names that the head model lacks are
    left out.
    """
    defaults, names = avatar.view_defaults, avatar.head_model.asset.expression_names

    def move(view: View, share: float) -> View:
        expression = view.head.expression.clone()
        for name in (lower or upper) if share < 0 else upper:
            if name in names:
                k = names.index(name)
                start = expression[:, k]
                end = (start + LEAST_REACH).clamp_min(defaults.expression_high[k])
                if share < 0 and not lower:
                    end = (start - LEAST_REACH).clamp_max(defaults.expression_low[k])
                expression[:, k] = start + abs(share) * (end - start)
        return replace(view, head=replace(view.head, expression=expression))

    return move


def _joint_turned(joint: int, radians: float) -> Callable[[View, float], View]:
    """Turn a joint about the x axis."""

    def move(view: View, share: float) -> View:
        turned = view.head.joint_rotations.clone()
        turned[:, joint] = turned[:, joint] @ _rotation(turned, (share * radians, 0.0, 0.0))
        return replace(view, head=replace(view.head, joint_rotations=turned))

    return move


def _head_turned(avatar: AvatarMethod, yaw: float = 0.0, pitch: float = 0.0) -> Callable[[View, float], View]:
    """Turn the head by degrees, to the subject's left and up; the torso stays."""

    def move(view: View, share: float) -> View:
        radians = (-np.deg2rad(pitch) * share, np.deg2rad(yaw) * share, 0.0)
        rotation = view.head.rotation
        return _with_rotation(avatar, view, rotation @ _rotation(rotation, radians))

    return move


def _with_rotation(avatar: AvatarMethod, view: View, rotation: Tensor) -> View:
    """The view with the head turned about its neck to a rotation ``[1, 3, 3]``."""
    head = view.head
    pivot = avatar.head_model(head).joints[:, avatar.head_model.joint("neck")]
    arm = head.rotation.transpose(1, 2) @ (pivot - head.translation)[..., None]
    translation = pivot - (rotation @ arm)[..., 0]
    turned = replace(head, rotation=rotation, translation=translation, angular_velocity=None)
    return replace(view, head=turned)


def _rotation(like: Tensor, axis_angle: tuple[float, float, float]) -> Tensor:
    return axis_angle_to_matrix(torch.tensor(axis_angle).to(like))
