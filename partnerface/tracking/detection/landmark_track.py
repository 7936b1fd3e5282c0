"""LandmarkTrack: what detection hands to the fit, and its npz file."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
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
    "trusted": "T",
    "content_change": "T",
    "face_change": "T",
    "background_change": "T",
    "timestamps": "T",
    "notes": "N",
    **dict.fromkeys(
        ("fps", "width", "height", "model_sha256", "mode", "stream", "quarter_turns", "transparent"), ""
    ),
}

COPY_CHANGE = 2e-4
"""`face_change` below which a frame is a copy of the one before: half that of a quiet person's frames, and
more than an encoder leaves in copies."""


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
        content_change: ``[T]`` mean absolute difference to the previous frame's thumbnail, in [0, 1];
            negative where there is no picture before it.
        face_change: ``[T]`` the mean around the head alone, however small it is in the frame; by default
            ``content_change``.
        background_change: ``[T]`` the median instead of the mean: a person who moves leaves it small.
        timestamps: ``[T]`` seconds from the first frame.
        fps: mean frame rate.
        width: width of the image that the landmarks refer to.
        height: height of that image.
        model_sha256: digest of the detector's model file.
        mode: the detector's running mode.
        source: digest of the video file, empty if unknown.
        stream: index of the video stream in its container; -1 for the first.
        quarter_turns: turns by 90 degrees, counter-clockwise, that made the heads upright; landmarks are in
            pixels of the turned picture.
        transparent: the video has alpha.
        notes: what was done to the video to read it, in words for the user.
        trusted: ``[T]`` bool, False where a face was found whose landmarks are wrong; by default all True.
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
    stream: int = -1
    quarter_turns: int = 0
    transparent: bool = False
    notes: list[str] = field(default_factory=list)
    trusted: np.ndarray = field(default_factory=lambda: np.ones(0, bool))
    face_change: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        if not len(self.face_change):
            self.face_change = self.content_change
        if not len(self.trusted):
            self.trusted = np.ones(len(self.landmarks), bool)

    def __len__(self) -> int:
        return len(self.landmarks)

    @property
    def copies(self) -> np.ndarray:
        """``[T]`` bool, the frame repeats the one before, as a stalled camera or a player makes them."""
        return (self.face_change >= 0) & (self.face_change < COPY_CHANGE)

    @property
    def used(self) -> np.ndarray:
        """``[T]`` bool, a face was found and trusted, and the frame is no copy: it counts as data."""
        return self.valid & self.trusted & ~self.copies

    def selected(self, frames: np.ndarray) -> LandmarkTrack:
        """The same track of some of its frames ``[N]``, in order; they keep their times."""
        per_frame = [name for name, axes in _SHAPES.items() if axes.startswith("T")]
        return replace(self, **{name: getattr(self, name)[frames] for name in per_frame})

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
        for name in ("score_names", "notes"):
            values[name] = [str(text) for text in values[name]]
        values["fps"] = float(values["fps"])
        values |= {name: int(values[name]) for name in ("width", "height", "stream", "quarter_turns")}
        values["transparent"] = bool(values["transparent"])
        values |= {name: str(values[name]) for name in ("model_sha256", "mode", "source")}
        return cls(**values)


def _fault(values: dict[str, np.ndarray]) -> str | None:
    """The first field that is missing or has a wrong shape, type or value, in words; None if all is right."""
    if missing := [name for name in _SHAPES if name not in values]:
        return f"no {missing[0]}"
    if fault := shape_fault(values, _SHAPES, {"l": LANDMARKS}):
        return fault
    for name in _SHAPES:
        kinds = "US" if name in ("score_names", "model_sha256", "mode", "notes") else "fiub"
        # An empty list of words has no type of its own.
        if values[name].size and values[name].dtype.kind not in kinds:
            return f"{name} holds values of type {values[name].dtype}"
    valid = values["valid"].astype(bool)
    if not np.isfinite(values["landmarks"][valid]).all():
        return "landmarks of a face that was found are not finite"
    for name in ("fps", "width", "height"):
        if not 0 < values[name] < np.inf:
            return f"{name} is {values[name]}"
    return None if np.isfinite(values["timestamps"]).all() else "timestamps are not finite"
