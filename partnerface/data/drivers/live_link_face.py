"""Live Link Face: the CSV that the app records on an iPhone, ARKit's 52 expressions, turns of head and eyes.

Columns are found by name, without case, in any order; see docs/driving.md.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from partnerface.data.drivers.named_tracks import by_name, eye_angles, eye_joints, plain_name, rotations
from partnerface.data.drivers.performance import Recording, evenly_spaced
from partnerface.errors import UserError
from partnerface.files.csv_tables import read_csv
from partnerface.head_models.head_model import HeadModel

DEFAULT_FPS = 60.0
FRAME_RATES = (24, 25, 30, 48, 50, 60, 90, 100, 120, 240)
FARTHEST_TURN = math.pi / 2
"""Radians: a head that is tracked does not turn farther from where it mostly is."""
LARGEST_RADIANS = 3.2
"""Half a turn, which a phone on its side or upside down may add to the head's angles: larger are degrees."""

LARGEST_VALUE = 2.0
"""An expression's. Apps keep to 1, editors overshoot a little; percent are something else."""

MOST_MISSING = 12
"""Expressions that a file may lack. With fewer columns it is no recording of a face."""

MOST_ADDED = 10
"""Frames per row that a timecode with gaps may be filled to."""


def read_live_link_face(
    path: Path,
    head_model: HeadModel,
    *,
    fps: float | None = None,
    angles: str = "auto",
    flip: str = "",
) -> Recording:
    """Read a recording, evenly spaced in time.

    A row with a value that is no number counts as a frame without a face. Where the timecode leaves frames
    out, they are interpolated; of rows with one timecode the first is taken. A last row that is cut off is
    left out.

    Args:
        path: the file.
        head_model: gives the expressions that they become, by name.
        fps: rows per second; by default as the timecode says, or else 60.
        angles: ``radians``, ``degrees``, or ``auto`` by their size and how far they change.
        flip: angles of the head that turn the other way: names of axes with commas between.

    Raises:
        UserError: the file or an argument cannot be used.
    """
    header, rows = read_csv(path, cut_off=True)
    notes = []
    if rows and len(rows[-1]) < len(header):
        notes.append(f"{path.name}: its last row is cut off and left out")
        rows.pop()
    columns: dict[str, int] = {}
    for number, name in enumerate(header):
        if columns.setdefault(plain_name(name), number) != number:
            raise UserError(f"{path}: two columns {name}")
    table = torch.tensor([[_number(value) for value in row] for row in rows], dtype=torch.float32)
    table = table.reshape(len(rows), len(header))
    expression, missing = by_name(table, header, head_model)
    if len(missing) > min(MOST_MISSING, len(head_model.asset.expression_names) - 1):
        raise UserError(
            f"{path}: no columns for {len(missing)} expressions of the head model "
            f"{head_model.asset.name} ({', '.join(missing[:4])}, ...); "
            "is it a Live Link Face recording?"
        )
    if not rows:
        raise UserError(f"{path}: a header without rows; record again")
    times, kept, time_note = _times(rows, columns, fps)
    table, expression = table[kept], expression[kept]
    tracked = expression.isfinite().all(1)
    turns, unit_note = _turns(table, columns, tracked, path, angles)
    if not tracked.any():
        raise UserError(f"{path}: no row has numbers in all columns")
    if (largest := float(expression[tracked].abs().max())) > LARGEST_VALUE:
        raise UserError(f"{path}: expressions of up to {largest:g}; they must lie between 0 and 1")
    if missing:
        notes.append(f"{path.name}: no columns for {', '.join(missing)}: taken as zero")
    signs = _signs(flip)
    head = [sign * turns.get(f"head{axis}", table.new_zeros(len(table))) for axis, sign in signs.items()]
    joints = eye_joints(_eyes(expression.nan_to_num(0), turns, head_model), head_model)
    notes += [note for note in (unit_note, time_note) if note]
    recording = Recording(
        name=path.name,
        fps=_rate(times, fps),
        expression=expression.nan_to_num(0),
        joint_rotations=joints,
        rotation=rotations(*head),
        translation=None,
        tracked=tracked,
        notes=notes,
    )
    if float(times[-1]) * recording.fps > MOST_ADDED * len(times):
        raise UserError(
            f"{path.name}: the timecode spans {float(times[-1]):,.0f} s with {len(times)} rows; "
            "give the rate by --fps"
        )
    return evenly_spaced(recording, times)


def _number(text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return math.nan


def _signs(flip: str) -> dict[str, float]:
    axes = [axis.strip() for axis in flip.split(",") if axis.strip()]
    if wrong := [axis for axis in axes if axis not in ("yaw", "pitch", "roll")]:
        raise UserError(f"--flip {wrong[0]}: choose from yaw, pitch and roll, with commas between")
    return {axis: -1.0 if axis in axes else 1.0 for axis in ("yaw", "pitch", "roll")}


def _turns(
    table: Tensor, columns: dict[str, int], tracked: Tensor, path: Path, unit: str
) -> tuple[dict[str, Tensor], str | None]:
    """Angles ``[T]`` in radians by column, such as ``headyaw``, and what unit they had, in words."""
    wanted = [
        f"{part}{axis}" for part in ("head", "lefteye", "righteye") for axis in ("yaw", "pitch", "roll")
    ]
    found = {name: table[:, columns[name]] for name in wanted if name in columns}
    # A column without a single number is as good as none.
    found = {name: values for name, values in found.items() if values.isfinite().any()}
    if not found:
        return {}, f"{path.name}: no angles; the head stays and the eyes follow eyeLook"
    tracked &= torch.stack(list(found.values())).isfinite().all(0)
    found = {name: values.nan_to_num(0) for name, values in found.items()}
    largest = max(float(values[tracked].abs().max()) if tracked.any() else 0.0 for values in found.values())
    if unit == "auto":
        far = tracked.any() and any(_turn(values[tracked]) > FARTHEST_TURN for values in found.values())
        unit = "degrees" if far or largest > LARGEST_RADIANS else "radians"
    if unit == "degrees":
        found = {name: values.deg2rad() for name, values in found.items()}
    elif unit != "radians":
        raise UserError(f"--angles {unit}: choose from auto, radians, degrees")
    return found, f"{path.name}: angles of up to {largest:.3g}, read as {unit} (--angles says otherwise)"


def _turn(angles: Tensor) -> float:
    """How far angles ``[T]``, as radians, go from their median, the shorter way round."""
    away = (angles - angles.median()).abs()
    return float(away.minimum((2 * math.pi - away).abs()).max())


def _eyes(
    expression: Tensor, turns: dict[str, Tensor], head_model: HeadModel
) -> dict[str, tuple[Tensor, Tensor]]:
    """Yaw and pitch of both eyes: the columns of angles where they hold something, else from eyeLook."""
    looks = eye_angles(expression, head_model)
    for side in looks:
        yaw, pitch = turns.get(f"{side}eyeyaw"), turns.get(f"{side}eyepitch")
        if yaw is not None and pitch is not None and bool((yaw.abs() + pitch.abs()).any()):
            looks[side] = yaw, pitch
    return looks


def _times(
    rows: list[list[str]], columns: dict[str, int], fps: float | None
) -> tuple[Tensor, Tensor, str | None]:
    """When rows were recorded, by timecode or else by their number.

    Returns:
        ``[K]`` seconds from the first on, ``[T]`` bool the K rows that are meant, and a note.
    """
    counted, all_rows = torch.arange(len(rows), dtype=torch.double), torch.ones(len(rows), dtype=torch.bool)
    if fps is not None:
        if not 1 <= fps <= 1000:
            raise UserError(f"--fps {fps:g}: give a number of 1 to 1000")
        return counted / fps, all_rows, f"{fps:g} rows per second as requested; the timecode is not used"
    by_row = counted / DEFAULT_FPS, all_rows
    default = f"{DEFAULT_FPS:g} rows per second assumed (--fps says otherwise)"
    if "timecode" not in columns:
        return *by_row, f"no timecode: {default}"
    fields = [re.split("[:;]", row[columns["timecode"]].strip()) for row in rows]
    times = _seconds(fields)
    if times is None:
        return *by_row, f"a timecode that is none: {default}"
    # A recording may last over midnight.
    times = times + 86400 * np.concatenate([[0], np.cumsum(np.diff(times) < -43200)])
    steps = np.diff(times)
    if (steps > 0).sum() <= (steps < 0).sum():
        return *by_row, f"a timecode that does not increase: {default}"
    changes = np.flatnonzero(np.concatenate([[True], steps != 0, [True]]))
    rows_of_one = float(np.median(np.diff(changes)))
    if rows_of_one > 1 or (steps < 0).any():
        rate = _usual_rate(rows_of_one / float(np.median(steps[steps > 0])))
        fault = "goes back" if (steps < 0).any() else f"stands for {rows_of_one:g} rows each"
        found = f"a timecode that {fault}: {rate:g} rows per second by its steps (--fps says otherwise)"
        return counted / rate, all_rows, found
    kept = np.concatenate([[True], steps > 0])
    repeated = len(rows) - int(kept.sum())
    note = f"{repeated} rows with the timecode of the row before them: left out" if repeated else None
    return torch.from_numpy((times - times[0])[kept]), torch.from_numpy(kept), note


def _seconds(fields: list[list[str]]) -> np.ndarray | None:
    """Seconds of HH:MM:SS:FF.sss, HH:MM:SS:mmm or HH:MM:SS.sss; None if they are something else."""
    lengths = {len(parts) for parts in fields}
    if lengths not in ({3}, {4}):
        return None
    try:
        values = np.array([[float(part) for part in parts] for parts in fields])
    except ValueError:
        return None
    if not np.isfinite(values).all() or (values < 0).any() or (values[:, 1:3] >= 60).any():
        return None
    whole = values[:, :3] @ [3600.0, 60.0, 1.0]
    if values.shape[1] == 3:
        return whole
    last = values[:, 3]
    whole_numbers = all("." not in parts[3] for parts in fields)
    if last.max() >= FRAME_RATES[-1] or (whole_numbers and max(len(parts[3]) for parts in fields) > 2):
        return whole + last / 1000 if last.max() < 1000 else None
    return whole + last / _counted_rate(values, last)


def _counted_rate(values: np.ndarray, frames: np.ndarray) -> float:
    """Frames that a second is counted in: where it turns, the count jumps back from the rate to near zero."""
    turns = np.diff(values[:, 2]) != 0
    if turns.any():
        highest = float(np.floor(frames[:-1][turns]).max())
    else:
        highest = max(float(np.floor(frames).max()), DEFAULT_FPS - 1)
    return float(next((rate for rate in FRAME_RATES if rate > highest), FRAME_RATES[-1]))


def _rate(times: Tensor, fps: float | None) -> float:
    """Frames per second: the reciprocal of the median step, or the standard rate near it."""
    if fps is not None or len(times) < 2:
        return float(DEFAULT_FPS if fps is None else fps)
    return _usual_rate(1 / float(times.diff().median()))


def _usual_rate(rate: float) -> float:
    """The standard rate within 2 % of a rate, or itself."""
    near = [standard for standard in FRAME_RATES if abs(rate / standard - 1) < 0.02]
    return float(near[0]) if near else rate
