"""choose_frames: the stretches of a long video that differ most, so that memory and time stay bounded."""

from __future__ import annotations

import numpy as np

from partnerface.files.video_reading.source import MAX_FRAMES
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.detection.shots import new_pictures

STRETCH_SECONDS = 1.0
"""Frames are chosen in stretches, for motion is smoothed and measured from frame to frame."""

TURN_WEIGHT = 2.0
"""A turn of the head by 30 degrees counts as much as one expression that goes from nothing to its full
extent."""


def choose_frames(track: LandmarkTrack, most: int = MAX_FRAMES) -> np.ndarray:
    """Numbers ``[N]`` of at most so many frames, in order; all if there are no more.

    A film of 24 or 30 pictures per second in a video of 60 loses its copies first: between them no frame has
    a neighbour that tells its motion. Of a longer video those are left out that show no face or are copies,
    and then stretches of a second are added one after another: the one whose expressions and head poses are
    farthest from those of the frames chosen before, on average over its frames.
    """
    frames = new_pictures(track)
    if len(frames) <= most:
        return frames
    frames = np.flatnonzero(track.used)
    if len(frames) <= most:
        return frames
    features = _features(track, frames)
    stretch = np.floor(track.timestamps[frames] / STRETCH_SECONDS).astype(int)
    _, stretch = np.unique(stretch, return_inverse=True)
    sizes = np.bincount(stretch)
    distance = np.linalg.norm(features - np.median(features, 0), axis=1)
    chosen = np.zeros(len(frames), bool)
    next_stretch = int((np.bincount(stretch, distance) / sizes).argmin())
    distance = np.full(len(frames), np.inf)
    while not chosen.all():
        added = np.flatnonzero(stretch == next_stretch)[: most - int(chosen.sum())]
        chosen[added] = True
        if chosen.sum() == most:
            break
        distance = np.minimum(distance, _distances(features, features[added]))
        means = np.bincount(stretch, distance) / sizes
        means[np.unique(stretch[chosen])] = -1.0
        next_stretch = int(means.argmax())
    return frames[chosen]


def _features(track: LandmarkTrack, frames: np.ndarray) -> np.ndarray:
    """``[N, F]`` expressions and head poses, in units of a full expression."""
    rotation = track.face_matrices[frames, :3, :3].reshape(len(frames), 9)
    return np.concatenate([track.scores[frames], rotation * TURN_WEIGHT / 2**0.5], 1).astype(np.float32)


def _distances(features: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """``[N]`` distance of each row to the nearest of the chosen rows."""
    squares = (features**2).sum(1)[:, None] + (chosen**2).sum(1) - 2 * features @ chosen.T
    return np.sqrt(squares.min(1).clip(0))
