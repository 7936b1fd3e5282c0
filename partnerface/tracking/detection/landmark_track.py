"""LandmarkTrack: what detection hands to the fit, its npz file, and whether it is one face in one shot."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from partnerface.errors import UserError
from partnerface.files.arrays import read_arrays, shape_fault, write_arrays

LANDMARKS = 478
"""Number of MediaPipe's landmarks: those of the skin, then ten of the irises."""

SKIN_LANDMARKS = 468
_SHAPES = {
    "landmarks": "Tl3",
    "scores": "TB",
    "score_names": "B",
    "face_matrices": "T44",
    "valid": "T",
    "content_change": "T",
    "background_change": "T",
    "timestamps": "T",
    **dict.fromkeys(("fps", "width", "height", "model_sha256", "mode"), ""),
}


@dataclass
class LandmarkTrack:
    """Face landmarks of all T frames of a video; missed frames stay in the time axis.

    Any detector with MediaPipe's 478 landmark numbers can make one: the fit reads nothing else.

    Attributes:
        landmarks: ``[T, 478, 3]`` float32 x, y and relative depth in pixels of the named image
            size (x right, y down, z away from the camera); NaN where no face was found.
        scores: ``[T, B]`` blendshape scores in [0, 1]; NaN where no face was found.
        score_names: ``[B]`` names of the scores; the fit matches them by name.
        face_matrices: ``[T, 4, 4]`` the detector's own head pose.
        valid: ``[T]`` bool, a face was found.
        content_change: ``[T]`` mean absolute difference to the previous frame's thumbnail, in [0, 1].
        background_change: ``[T]`` the median instead of the mean: a person who moves leaves it small.
        timestamps: ``[T]`` seconds from the first frame.
        fps: mean frame rate.
        width: width of the image that the landmarks refer to.
        height: height of that image.
        model_sha256: digest of the detector's model file.
        mode: the detector's running mode.
        source: digest of the video file, empty if unknown.
    """

    landmarks: np.ndarray
    scores: np.ndarray
    score_names: list[str]
    face_matrices: np.ndarray
    valid: np.ndarray
    content_change: np.ndarray
    background_change: np.ndarray
    timestamps: np.ndarray
    fps: float
    width: int
    height: int
    model_sha256: str
    mode: str
    source: str = ""

    def __len__(self) -> int:
        return len(self.landmarks)

    def cropped(self, offset_x: float, offset_y: float, scale: float, size: int) -> LandmarkTrack:
        """The same landmarks in pixels of a square crop, ``(x - offset) * scale``."""
        landmarks = self.landmarks * np.float32(scale)
        landmarks[..., 0] -= offset_x * scale
        landmarks[..., 1] -= offset_y * scale
        return replace(self, landmarks=landmarks, width=size, height=size)

    def face_heights(self) -> np.ndarray:
        """``[T]`` vertical extent of the face in pixels, NaN where no face was found."""
        heights = np.full(len(self), np.nan, np.float32)
        y = self.landmarks[self.valid, :SKIN_LANDMARKS, 1]
        heights[self.valid] = y.max(1) - y.min(1)
        return heights

    def save(self, path: Path) -> None:
        """Write a compressed npz; a reader never sees a half-written file.

        Raises:
            NotWritten: it cannot be written.
        """
        write_arrays(path, vars(self))

    @classmethod
    def load(cls, path: Path) -> LandmarkTrack:
        """Read an npz written by `save`.

        Raises:
            UserError: the file is unreadable, lacks a field, or its fields contradict each other.
        """
        try:
            values = read_arrays(path, [f.name for f in fields(cls)])
        except UserError as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise UserError(f"{path}: not a landmark track ({reason}); delete it and track again") from error
        if fault := _fault(values):
            raise UserError(f"{path}: not a landmark track ({fault}); delete it and track again")
        values.setdefault("source", "")
        values["score_names"] = [str(name) for name in values["score_names"]]
        values["fps"] = float(values["fps"])
        values |= {name: int(values[name]) for name in ("width", "height")}
        values |= {name: str(values[name]) for name in ("model_sha256", "mode", "source")}
        return cls(**values)


def _fault(values: dict[str, np.ndarray]) -> str | None:
    """The first field that is missing or has a wrong shape, type or value, in words; None if all is right."""
    if missing := [name for name in _SHAPES if name not in values]:
        return f"no {missing[0]}"
    if fault := shape_fault(values, _SHAPES, {"l": LANDMARKS}):
        return fault
    for name in _SHAPES:
        kinds = "US" if name in ("score_names", "model_sha256", "mode") else "fiub"
        if values[name].dtype.kind not in kinds:
            return f"{name} holds values of type {values[name].dtype}"
    valid = values["valid"].astype(bool)
    if not np.isfinite(values["landmarks"][valid]).all():
        return "landmarks of a face that was found are not finite"
    for name in ("fps", "width", "height"):
        if not 0 < values[name] < np.inf:
            return f"{name} is {values[name]}"
    return None if np.isfinite(values["timestamps"]).all() else "timestamps are not finite"


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
    steps = np.linalg.norm(np.diff(track.landmarks[:, :SKIN_LANDMARKS, :2], axis=0), axis=-1).mean(1)
    jumps = np.r_[0.0, steps] / np.nanmedian(track.face_heights())
    both_missing = ~track.valid & ~np.r_[True, track.valid[:-1]]
    return np.where(np.isfinite(jumps), jumps, np.where(both_missing, 0.0, np.inf))
