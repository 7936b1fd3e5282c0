"""Does a video show a face in one shot? Each check raises a UserError that names the frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from partnerface.errors import UserError
from partnerface.tracking.detection.landmark_track import LandmarkTrack

MIN_TRACKED_FRAMES = 10
CUT_CONTENT_CHANGE = 0.03
CUT_CONTENT_FACTOR = 8.0
CUT_FACE_JUMP = 0.12
CUT_SURE_CHANGE = 0.2
SAME_BACKGROUND_CHANGE = 0.06


def check_face_found(track: LandmarkTrack, video: Path) -> None:
    """At least ten frames must show a face.

    Raises:
        UserError: the video is too short, or too few of its frames show a face.
    """
    tracked = int(track.valid.sum())
    if tracked == 0:
        raise UserError(f"{video}: no face found in any of {len(track)} frames; use a video of one head")
    if tracked < MIN_TRACKED_FRAMES:
        raise UserError(
            f"{video}: a face in only {tracked} of {len(track)} frames; "
            f"at least {MIN_TRACKED_FRAMES} are needed, some hundred make a good avatar"
        )


def check_single_shot(track: LandmarkTrack, video: Path) -> None:
    """The picture must not change to another scene. Jump cuts before one background may stay.

    Raises:
        UserError: there is a cut to another background or another framing.
    """
    for frame in find_cuts(track):
        if track.background_change[frame] > SAME_BACKGROUND_CHANGE:
            raise UserError(
                f"{video}: a cut at frame {frame} ({track.timestamps[frame]:.2f} s); "
                "trim the video to one continuous shot"
            )


def find_cuts(track: LandmarkTrack) -> list[int]:
    """First frames of new shots, jump cuts among them.

    A cut changes the whole picture far more than the frames around it do, and the face jumps, or
    comes or goes together with another background; a change as large as between unrelated pictures
    is a cut on its own. A hand before the face is none.
    """
    jumps = _face_jumps(track)
    cuts = []
    for i in range(1, len(track)):
        change = track.content_change[i]
        around = np.r_[track.content_change[max(1, i - 12) : i], track.content_change[i + 1 : i + 13]]
        usual = float(np.median(around)) if len(around) else 0.0
        sudden = change > max(CUT_CONTENT_CHANGE, CUT_CONTENT_FACTOR * usual)
        other_scene = track.background_change[i] > SAME_BACKGROUND_CHANGE
        face_cut = other_scene if np.isinf(jumps[i]) else jumps[i] > CUT_FACE_JUMP
        if sudden and (face_cut or change > CUT_SURE_CHANGE):
            cuts.append(i)
    return cuts


def smoothing_times(track: LandmarkTrack) -> np.ndarray:
    """``[T]`` timestamps in seconds; a cut takes a second more, so that nothing is smoothed across it."""
    pauses = np.zeros(len(track))
    pauses[find_cuts(track)] = 1.0
    return track.timestamps + np.cumsum(pauses)


def _face_jumps(track: LandmarkTrack) -> np.ndarray:
    """``[T]`` mean landmark step relative to the face height; infinite where a face comes or goes."""
    steps = np.linalg.norm(np.diff(track.landmarks[:, :468, :2], axis=0), axis=-1).mean(1)
    jumps = np.r_[0.0, steps] / np.nanmedian(track.face_heights())
    both_missing = ~track.valid & ~np.r_[True, track.valid[:-1]]
    return np.where(np.isfinite(jumps), jumps, np.where(both_missing, 0.0, np.inf))
