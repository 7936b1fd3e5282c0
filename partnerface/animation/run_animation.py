"""The film at the end of ``demo`` and ``create``: some actions of the face, then an orbit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from partnerface.animation.film import Shots, make_film
from partnerface.animation.film_output import FilmOutput
from partnerface.animation.open_avatar import open_avatar
from partnerface.animation.open_driver import DrivingOptions, open_driver
from partnerface.animation.shots import ORBIT, shots
from partnerface.data.drivers.motions import FPS, MOVING_SHARE, SECONDS_PER_ACTION
from partnerface.runs.run import LAST_CHECKPOINT

ANIMATION_FILE = "animation.mp4"
ACTIONS = ("eyeBlinkLeft", "jawOpen", "mouthSmileLeft", "mouthPucker", "browInnerUp")
"""Seen well, and each of another region; those of two sides move together."""

ACTION_FRAMES, ORBIT_FRAMES, ANIMATION_FPS = 8, 32, 12.5
"""Few, since rendering them is to take at most a twentieth of the whole command."""


def animate_run(run_dir: Path) -> Path:
    """Write ``animation.mp4`` into the folder of a run, unless it is there and no older than the avatar.

    Raises:
        UserError: the avatar cannot be loaded, or the film cannot be written.
    """
    path, checkpoint = run_dir / ANIMATION_FILE, run_dir / LAST_CHECKPOINT
    if path.is_file() and path.stat().st_mtime >= checkpoint.stat().st_mtime:
        return path
    opened = open_avatar(checkpoint)
    motion = open_driver("range_of_motion", opened.avatar, DrivingOptions(), say=lambda line: None)
    names, reach = motion.performance.expression_names, 0.5 * MOVING_SHARE * SECONDS_PER_ACTION * FPS
    views = []
    for action in ACTIONS:
        if action in names:
            peak = int(motion.performance.expression[:, names.index(action)].argmax())
            places = np.linspace(peak - reach, peak + reach, ACTION_FRAMES, endpoint=False)
            views += [motion[int(place)] for place in places.round().clip(0, len(motion) - 1)]
    seconds = ORBIT_FRAMES / ANIMATION_FPS
    orbit = shots(opened.avatar, opened.still_view(), ORBIT, seconds=seconds, fps=ANIMATION_FPS)
    film = Shots([*views, *orbit.views], ANIMATION_FPS)
    return make_film(opened.avatar, film, FilmOutput.parse(path, None, "white"))[0]
