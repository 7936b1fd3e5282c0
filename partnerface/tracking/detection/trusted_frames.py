"""Frames whose landmarks are not to be trusted although a detector gave some: a covered or a cut face.

A detector draws a whole face whatever it sees: a closed mouth behind a hand, a chin beyond the picture.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import binary_dilation, binary_propagation, median_filter

from partnerface.data.formats.plausibility import frame_runs
from partnerface.files.video_reading.source import MIN_TRACKED_FRAMES
from partnerface.head_models.landmark_geometry import CHIN, FOREHEAD_TOP, LIPS, TEMPLES
from partnerface.head_models.similarity import similarity_alignment
from partnerface.tracking.detection.landmark_track import SKIN_LANDMARKS, LandmarkTrack

LOWER_FACE = (
    *LIPS,
    *(2, 94, 97, 98, 326, 327, 164, 165, 167, 391, 393, 92, 322, 186, 410, 57, 287, 212, 432, 214, 434),
    *(18, 200, 199, 175, 152, 83, 313, 182, 406, 194, 418, 201, 421, 204, 424, 211, 431, 208, 428, 171, 396),
    *(32, 262, 210, 430, 169, 394, 135, 364, 202, 422, 43, 273, 106, 335, 205, 425, 206, 426, 216, 436),
)
"""Landmarks between nose and chin."""

COVERED_LIKENESS = 0.4
"""`likeness` below which the lower face is covered: hands that were painted before two real faces lowered it
to 0.31 and less, and in 400 frames of a head that turns and speaks it stayed above 0.56."""

UNCOVERED_LIKENESS = 0.75
"""`likeness` below which a hand that comes or goes covers a part. One frame more either way is left out,
for the detector's filter over time."""

COLOUR_LIMIT = 3.0
"""Distance from a frame's median colour, in its median distance, to which colours count: a landmark at the
outline of a dark face may lie on a bright background, which would outweigh all others."""

MOST_COVERED = 0.3
"""Share of frames above which it is not a hand that makes them differ, and none is left out."""

MOST_OUTSIDE = 0.2
"""Share of the landmarks that may lie outside the picture."""

FAR_ASIDE_DEGREES = 45.0
"""Turn from which landmarks are looked at. MediaPipe's mean error on a rendered head grows from 1.0 % of the
face's height seen from the front to 2.1 % at 60 degrees; beyond 63 degrees it finds no face."""

WRONG_SHAPE, LEAST_SHAPE_CHANGE = 3.0, 0.06
"""Mean distance to the clip's face, in usual ones and in face heights, above which landmarks are wrong."""

JUMP_FRAMES = 3
"""Frames before and after that a frame is compared with."""

JUMP_SHIFT, JUMP_TURN = 0.12, 0.3
"""Shift in face heights and turn in radians, times the root of two, by which no head jumps there and back."""

FACE_PIXELS = 64
"""Height of the face in pixels at which colours are compared."""


def landmark_colours(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """``[K, 3]`` colours under the landmarks of the lower face.

    Args:
        image: ``[H, W, 3]`` uint8.
        landmarks: ``[478, 3]`` in pixels.
    """
    scale = min(1.0, FACE_PIXELS / max(float(np.ptp(landmarks[:, 1])), 1.0))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    small = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX), np.float32)
    places = (landmarks[list(LOWER_FACE), :2] * scale).astype(int)
    return small[places[:, 1].clip(0, height - 1), places[:, 0].clip(0, width - 1)]


def likeness(colours: np.ndarray) -> np.ndarray:
    """``[T]`` correlation of each frame's colours ``[T, K, 3]`` with their median over the clip.

    Each channel of a frame is centred first, so that light that changes as a whole counts for little, and
    limited to `COLOUR_LIMIT`.
    """
    away = colours - np.median(colours, 1, keepdims=True)
    # One of 255 at least: most of a nearly black face may have one colour.
    limit = COLOUR_LIMIT * np.median(np.abs(away), (1, 2), keepdims=True).clip(1)
    limited = away.clip(-limit, limit)
    centred = limited - limited.mean(1, keepdims=True)
    usual = np.nanmedian(centred, 0)
    product = (centred * usual).sum((1, 2))
    return product / np.sqrt((centred**2).sum((1, 2)) * (usual**2).sum()).clip(1e-6)


def distrust_covered(track: LandmarkTrack, colours: np.ndarray) -> tuple[LandmarkTrack, list[str]]:
    """The track without trust in frames whose lower face is covered, and what to say of them.

    ``colours`` ``[T, K, 3]`` are `landmark_colours` of its frames; those of unused frames do not count.
    """
    compared = np.flatnonzero(track.used)
    alike = likeness(colours[compared])
    covered = alike < COVERED_LIKENESS
    if covered.sum() > MOST_COVERED * len(compared):
        return track, []
    covered = binary_dilation(binary_propagation(covered, mask=alike < UNCOVERED_LIKENESS))
    return _without(track, compared[covered], "something, such as a hand, covers the mouth")


def distrust_cut(track: LandmarkTrack) -> tuple[LandmarkTrack, list[str]]:
    """The track, in pixels of the whole picture, without trust in frames whose face it cuts; what to say."""
    points = track.landmarks[:, :SKIN_LANDMARKS, :2]
    outside = ((points < 0) | (points >= (track.width, track.height))).any(-1).mean(1) > MOST_OUTSIDE
    return _without(track, np.flatnonzero(outside & track.used), "the picture's edge cuts the face")


def distrust_wrong(track: LandmarkTrack) -> tuple[LandmarkTrack, list[str]]:
    """The track without trust in wrong landmarks of heads turned far aside, and what to say of them.

    Wrong are those that are not the clip's face but for its pose, or that jump away from the frames around
    them and back.
    """
    used = np.flatnonzero(track.used)
    points = track.landmarks[used, :SKIN_LANDMARKS].astype(np.float64)
    # Wrong landmarks may show another turn than the frames around them.
    degrees = _degrees_aside(points)
    aside = (
        np.maximum(degrees, median_filter(degrees, 2 * JUMP_FRAMES + 1, mode="nearest")) > FAR_ASIDE_DEGREES
    )
    if not aside.any() or aside.all():
        return track, []
    targets = torch.from_numpy(points)
    mean = targets[int(degrees.argmin())]
    rotation, scale, offset = similarity_alignment(mean, targets)
    aligned = scale[:, None, None] * (mean @ rotation.mT) + offset[:, None]
    size = scale * float(np.ptp(mean[:, 1].numpy()))
    shape = ((targets - aligned).norm(dim=-1).mean(1) / size).numpy()
    unlike = shape > max(LEAST_SHAPE_CHANGE, WRONG_SHAPE * float(np.median(shape[~aside])))
    state = np.concatenate([aligned.mean(1)[:, :2] / size[:, None], rotation.flatten(1)], 1)
    away = state - median_filter(state, (2 * JUMP_FRAMES + 1, 1), mode="nearest")
    jumps = (np.linalg.norm(away[:, :2], axis=1) > JUMP_SHIFT) | (
        np.linalg.norm(away[:, 2:], axis=1) > JUMP_TURN
    )
    reason = "the landmarks of a head turned far aside are wrong"
    return _without(track, used[aside & (unlike | jumps)], reason)


def _degrees_aside(points: np.ndarray) -> np.ndarray:
    """``[T]`` angle between where faces ``[T, 468, 3]`` look and the camera's axis, in degrees."""
    right, left, top, chin = (points[:, k] for k in (*TEMPLES, FOREHEAD_TOP, CHIN))
    forward = np.cross(left - right, top - chin)
    return np.degrees(np.arccos(np.abs(forward[:, 2]) / np.linalg.norm(forward, axis=1)))


def _without(track: LandmarkTrack, frames: np.ndarray, reason: str) -> tuple[LandmarkTrack, list[str]]:
    if len(frames) == 0:
        return track, []
    said = f"{reason} in {len(frames)} of {len(track)} frames"
    if track.used.sum() - len(frames) < MIN_TRACKED_FRAMES:
        return track, [f"{said}, which are used for lack of others"]
    trusted = track.trusted.copy()
    trusted[frames] = False
    return replace(track, trusted=trusted), [f"{said}, which have weight 0: {frame_runs(frames.tolist())}"]
