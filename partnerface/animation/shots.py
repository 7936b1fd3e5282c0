"""Views for pictures of an avatar without a performer: camera paths, set expressions and sweeps."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from partnerface.animation.film import Shots
from partnerface.avatar.method import AvatarMethod
from partnerface.cameras.paths import orbit
from partnerface.cameras.pinhole import Camera
from partnerface.data.drivers.named_tracks import action_of
from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.files.plain_values import read_json_table

FRONT, ORBIT = "front", "orbit"
DEFAULT_FPS = 25.0
MOST_FRAMES = 100_000
STRAIGHT = 1e-3
"""Entries of a rotation matrix may be off by this."""

REGIONS = ("mouth", "eye", "brow", "cheek", "jaw", "nose")
"""Beginnings of expression names, which a sweep's name may leave out."""


def shots(
    avatar: AvatarMethod,
    view: View,
    path: str = ORBIT,
    sweep: str | None = None,
    *,
    seconds: float = 4.0,
    fps: float | None = None,
    degrees: float = 25.0,
) -> Shots:
    """Views along a camera path, with an expression swept from rest to full and back if requested.

    Args:
        avatar: who is shown.
        view: what stands still (F = 1): pose and expression, and the camera from which the path starts.
        path: ``front``, the camera of the view; ``orbit``, around the head; or a JSON file of cameras, see
            `read_cameras`.
        sweep: an expression coefficient, or an action of both sides without ``Left`` and ``Right``.
        seconds: length; ``front`` without a sweep is a single view, a file has as many as it lists.
        fps: views per second; by default as a file of cameras says, or else 25.
        degrees: how far an orbit goes to each side.

    Raises:
        UserError: a value is out of range, or there is no such file or expression.
    """
    rate = DEFAULT_FPS if fps is None else fps
    for flag, value, high in (("seconds", seconds, 3600.0), ("fps", rate, 240.0), ("degrees", degrees, 90.0)):
        if not 0 < value <= high:
            raise UserError(f"--{flag} {value:g}: give a number above 0 and up to {high:g}")
    names = [] if sweep is None else sweep_names(sweep, avatar.head_model.asset.expression_names)
    count = max(round(seconds * rate), 1)
    if count > MOST_FRAMES:
        raise UserError(f"--seconds {seconds:g}: {count} frames; at most {MOST_FRAMES:,}")
    if path == FRONT:
        cameras = view.camera.select([0] * (count if names else 1))
    elif path == ORBIT:
        cameras = orbit(view.camera, head_centre(avatar, view), side=degrees, up=0.3 * degrees, frames=count)
    elif Path(path).suffix.lower() == ".json":
        cameras, rate = read_cameras(Path(path), view.camera, fps)
    else:
        meant = difflib.get_close_matches(path, (FRONT, ORBIT), 1)
        ending = f"; did you mean {meant[0]}?" if meant else ""
        raise UserError(f"--path {path}: choose {FRONT}, {ORBIT} or a .json file of cameras{ending}")
    seen = view if path == FRONT else view.seen_from(cameras)
    views = []
    for number in range(len(cameras)):
        place = number if len(seen) > 1 else 0
        strength = 0.5 - 0.5 * math.cos(2 * math.pi * number / max(len(cameras) - 1, 1))
        views.append(seen.select([place]).with_expression(**dict.fromkeys(names, strength)))
    return Shots(views, rate)


def head_centre(avatar: AvatarMethod, view: View) -> torch.Tensor:
    """``[3]`` centre of the box around the head of a view (F = 1), without neck and shoulders, in metres."""
    vertices = avatar.head_model(view.head).vertices[0][avatar.head_model.head_weights() > 0.5]
    return 0.5 * (vertices.amin(0) + vertices.amax(0))


def parse_expression(text: str | None) -> dict[str, float]:
    """Coefficients by name of ``jawOpen=0.5,eyeBlinkLeft=1``.

    Raises:
        UserError: it is no such list.
    """
    found: dict[str, float] = {}
    for entry in (text or "").split(",") if text else ():
        name, _, value = (part.strip() for part in entry.partition("="))
        try:
            found[name] = float(value)
        except ValueError as error:
            raise UserError(
                f"--expression {text}: {entry.strip()!r} is not NAME=NUMBER; write jawOpen=0.5,eyeBlinkLeft=1"
            ) from error
    return found


def sweep_names(text: str, names: Sequence[str]) -> list[str]:
    """The coefficients of an action: a name in full, or one without its side and its region of the face.

    >>> sweep_names("smile", ["jawOpen", "mouthSmileLeft", "mouthSmileRight"])
    ['mouthSmileLeft', 'mouthSmileRight']

    Raises:
        UserError: there is none.
    """
    wanted = text.lower()
    for keys in ({name: name for name in names}, _actions(names), _actions(names, without_region=True)):
        if found := [name for name, key in keys.items() if key.lower() == wanted]:
            return found
    choices = {
        key.lower(): key for table in (_actions(names), _actions(names, True)) for key in table.values()
    }
    meant = difflib.get_close_matches(wanted, choices, 1, 0.5)
    advice = f"did you mean {choices[meant[0]]}?" if meant else f"there are {', '.join(names[:3])}, ..."
    raise UserError(f"--sweep {text}: no expression has that name; {advice}")


def _actions(names: Sequence[str], without_region: bool = False) -> dict[str, str]:
    """Each coefficient's name without its side, and without its region."""
    found = {}
    for name in names:
        action = action_of(name)
        region = next((region for region in REGIONS if action.startswith(region)), "")
        shortened = action[len(region) :]
        found[name] = shortened[0].lower() + shortened[1:] if without_region and shortened else action
    return found


def read_cameras(path: Path, default: Camera, fps: float | None = None) -> tuple[Camera, float]:
    """Cameras of a JSON file, and its frames per second.

    The table has ``cameras``, a list of tables with ``camera_to_world`` (three or four rows of four numbers,
    metres, OpenCV axes) and, if they are not those of the avatar, ``intrinsics`` (fx, fy, cx, cy in pixels
    of the avatar's own size); and ``fps``, which may be left out.

    Args:
        path: the file.
        default: the camera that gives their size, and the intrinsics of those that have none.
        fps: instead of what the file says.

    Raises:
        UserError: the file is missing, or a camera is none.
    """
    table = read_json_table(path, "give a table with a list of cameras")
    listed = table.get("cameras")
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_FRAMES:
        raise UserError(f"{path}: 'cameras' must be a list of 1 to {MOST_FRAMES:,} cameras")
    poses, intrinsics = [], []
    for number, entry in enumerate(listed):
        where = f"{path}: camera {number}"
        if not isinstance(entry, dict):
            raise UserError(f"{where}: must be a table with camera_to_world")
        rows = entry.get("camera_to_world")
        rows = rows[:3] if isinstance(rows, list) and len(rows) in (3, 4) else rows
        pose = _numbers(
            rows, (3, 4), f"{where}: camera_to_world", "three or four rows of four finite numbers"
        )
        rotation = pose[:, :3]
        if (rotation @ rotation.T - torch.eye(3)).abs().max() > STRAIGHT or torch.linalg.det(rotation) < 0:
            raise UserError(f"{where}: camera_to_world: its first three columns are no rotation")
        poses.append(pose)
        given = entry.get("intrinsics", default.intrinsics[0].tolist())
        lens = _numbers(given, (4,), f"{where}: intrinsics", "four finite numbers: fx, fy, cx, cy")
        if lens[:2].min() <= 0:
            raise UserError(f"{where}: intrinsics: focal lengths must be above 0")
        intrinsics.append(lens)
    rate = table.get("fps", DEFAULT_FPS) if fps is None else fps
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate <= 240:
        raise UserError(f"{path}: 'fps' must be a number above 0 and up to 240")
    device = default.intrinsics.device
    stacked = torch.stack(intrinsics).to(device), torch.stack(poses).to(device)
    return Camera(*stacked, default.width, default.height), float(rate)


def _numbers(values: Any, shape: tuple[int, ...], where: str, wanted: str) -> torch.Tensor:
    try:
        found = torch.tensor(values, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError(f"{where}: must be {wanted}") from error
    if found.shape != shape or not torch.isfinite(found).all():
        raise UserError(f"{where}: must be {wanted}")
    return found
