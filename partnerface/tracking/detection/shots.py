"""Shots: cuts and stalls, and the one shot that shows the face."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from partnerface.data.formats.plausibility import frame_runs
from partnerface.errors import UserError
from partnerface.files.video_reading.source import MIN_TRACKED_FRAMES
from partnerface.tracking.detection.landmark_track import SKIN_LANDMARKS, LandmarkTrack
from partnerface.tracking.detection.picture_changes import CUT_CONTENT_CHANGE, NOTHING_BEFORE

CUT_CONTENT_FACTOR = 8.0
CUT_FACE_JUMP = 0.12
CUT_FACE_GROWTH = 0.1
"""Change of a face's height from frame to frame, as a logarithm, that only another framing makes."""

CUT_SURE_CHANGE = 0.2
SAME_BACKGROUND_CHANGE = 0.06
STRAY_FACE_FRAMES = 2
"""A face in at most so many frames of a shot is taken for a false detection."""

STALL_SECONDS = 0.5
STALL_INTERVALS = 5
"""A stall lasts longer than both this time and so many usual intervals between frames."""

LULL_INTERVALS = 3.5
"""So many usual intervals without a new picture are no part of a rhythm such as 2, 3, 2, 3 frames each."""

REGULAR_COPIES = 0.95
"""Share of the rate of frames below which new pictures come regularly slower."""


def check_face_found(track: LandmarkTrack, video: Path) -> None:
    """At least ten frames must show a face, and not all the same picture.

    Raises:
        UserError: the video is too short, or too few of its frames show a face.
    """
    tracked, used = int(track.valid.sum()), int(track.used.sum())
    if tracked == 0:
        raise UserError(f"{video}: no face found in any of {len(track)} frames; use a video of one head")
    if tracked < MIN_TRACKED_FRAMES:
        raise UserError(
            f"{video}: a face in only {tracked} of {len(track)} frames; "
            f"at least {MIN_TRACKED_FRAMES} are needed, some hundred make a good avatar"
        )
    if used < MIN_TRACKED_FRAMES:
        raise UserError(
            f"{video}: only {used} of {tracked} frames with a face differ from those before them; "
            "a picture that stands still makes no avatar"
        )


def single_shot(track: LandmarkTrack, video: Path) -> LandmarkTrack:
    """The track with faces in one shot only; jump cuts before one background do not end a shot.

    Shots without a face, a title or an empty room, lose the stray faces that were found in them, and are
    named in the notes.

    Raises:
        UserError: a face is seen before and after a cut to another background or another framing.
    """
    cuts = [i for i in find_cuts(track) if track.background_change[i] > SAME_BACKGROUND_CHANGE]
    borders = [0, *cuts, len(track)]
    shots = [range(*pair) for pair in pairwise(borders)]
    faces = [shot for shot in shots if track.valid[shot].sum() > STRAY_FACE_FRAMES] or shots[:1]
    if len(faces) > 1:
        frame = faces[1].start
        raise UserError(
            f"{video}: a cut at frame {frame} ({track.timestamps[frame]:.2f} s); "
            "trim the video to one continuous shot"
        )
    if len(shots) == 1:
        return track
    inside = np.zeros(len(track), bool)
    inside[faces[0]] = True
    note = f"frames of another scene without a face, not used: {frame_runs(np.flatnonzero(~inside).tolist())}"
    return replace(track, valid=track.valid & inside, notes=list(dict.fromkeys([*track.notes, note])))


def find_cuts(track: LandmarkTrack) -> list[int]:
    """First frames of new shots, jump cuts among them.

    A cut changes the whole picture far more than the frames around it do, and the face jumps or grows, or
    comes or goes together with another background; a change as large as between unrelated pictures
    is a cut on its own. A hand before the face is none, nor is a stall, after which all may have moved.
    After black pictures another background alone is a cut, for a face is not found before it is bright.
    """
    jumps, stalls = _face_jumps(track), set(find_stalls(track))
    growth = np.r_[0.0, np.abs(np.diff(np.log(track.face_heights())))]
    cuts = []
    for i in range(1, len(track)):
        change = track.content_change[i]
        around = np.r_[track.content_change[max(1, i - 12) : i], track.content_change[i + 1 : i + 13]]
        usual = float(np.median(around)) if len(around) else 0.0
        sudden = change > max(CUT_CONTENT_CHANGE, CUT_CONTENT_FACTOR * usual)
        other_scene = track.background_change[i] > SAME_BACKGROUND_CHANGE
        # The first frame too has no change.
        after_black = i > 1 and track.content_change[i - 1] == NOTHING_BEFORE
        face_jumps = jumps[i] > CUT_FACE_JUMP or growth[i] > CUT_FACE_GROWTH
        face_cut = other_scene if after_black or np.isinf(jumps[i]) else face_jumps
        if sudden and ((face_cut and i not in stalls) or change > CUT_SURE_CHANGE):
            cuts.append(i)
    return cuts


def find_stalls(track: LandmarkTrack) -> list[int]:
    """First frames after a time without new pictures: none came, or copies of the last."""
    if len(track) < 2:
        return []
    fresh = np.flatnonzero(~track.copies)
    return fresh[1:][np.diff(track.timestamps[fresh]) > _longest_pause(track.timestamps)].tolist()


def picture_rate(track: LandmarkTrack) -> float:
    """New pictures per second outside stalls, if they come regularly slower than frames; else ``track.fps``.

    A film of 24 pictures per second in a video of 60 shows each of them two or three times.
    """
    if track.copies.sum() < 2:
        return track.fps
    pauses = np.diff(track.timestamps[~track.copies])
    pauses = pauses[pauses <= _longest_pause(track.timestamps)]
    # A still opening is no rhythm.
    pauses = pauses[pauses < LULL_INTERVALS * np.median(pauses)] if len(pauses) else pauses
    rate = float(1 / pauses.mean()) if len(pauses) else track.fps
    return rate if rate < REGULAR_COPIES * track.fps else track.fps


def new_pictures(track: LandmarkTrack) -> np.ndarray:
    """Numbers ``[N]`` of the frames without copies where those come regularly, of all frames elsewhere."""
    slower = picture_rate(track) < track.fps
    return np.flatnonzero(~track.copies) if slower else np.arange(len(track))


def frame_rate(times: np.ndarray) -> float:
    """Frames per second outside stalls, of the times ``[T]`` of frames in seconds; 25 of a single frame."""
    pauses = np.diff(times)
    pauses = pauses[pauses <= _longest_pause(times)]
    return float(1 / pauses.mean()) if pauses.sum() > 0 else 25.0


def _longest_pause(times: np.ndarray) -> float:
    """Seconds between new pictures that are no stall yet."""
    pauses = np.diff(times)
    return max(STALL_SECONDS, STALL_INTERVALS * float(np.median(pauses))) if len(pauses) else STALL_SECONDS


def stall_notes(track: LandmarkTrack) -> list[str]:
    """Where the video stalls, and how many frames are copies, in words for the user."""
    times, fresh = track.timestamps, np.flatnonzero(~track.copies)
    lines = []
    for frame in find_stalls(track):
        before = fresh[np.searchsorted(fresh, frame) - 1]
        lines.append(f"no new picture for {times[frame] - times[before]:.2f} s from {times[before]:.2f} s on")
    if (rate := picture_rate(track)) < track.fps:
        lines.append(f"{rate:.3g} new pictures per second among {track.fps:.3g}; copies are left out")
    elif copies := int((track.copies & track.valid).sum()):
        lines.append(f"{copies} frames are copies of those before them and do not count as data")
    return lines


def smoothing_times(track: LandmarkTrack) -> np.ndarray:
    """``[T]`` seconds; a cut or a stall takes a second more, so that nothing is smoothed across it."""
    pauses = np.zeros(len(track))
    pauses[find_cuts(track) + find_stalls(track)] = 1.0
    return track.timestamps + np.cumsum(pauses)


def _face_jumps(track: LandmarkTrack) -> np.ndarray:
    """``[T]`` mean landmark step relative to the face height; infinite where a face comes or goes."""
    steps = np.linalg.norm(np.diff(track.landmarks[:, :SKIN_LANDMARKS, :2], axis=0), axis=-1).mean(1)
    jumps = np.r_[0.0, steps] / np.nanmedian(track.face_heights())
    both_missing = ~track.valid & ~np.r_[True, track.valid[:-1]]
    return np.where(np.isfinite(jumps), jumps, np.where(both_missing, 0.0, np.inf))
