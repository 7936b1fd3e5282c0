"""Faces in one video: which of them move, and covering those that do not, such as a poster's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from partnerface.errors import UserError
from partnerface.tracking.detection.landmark_track import SKIN_LANDMARKS, LandmarkTrack

STILL_MOTION = 0.007
"""`face_motion` below which a face is a picture of one. Landmarks of photos jitter by 0.002 to 0.004 (by up
to 0.01 where a face is 40 pixels high and noisy); living faces of four clips moved by 0.012 to 0.028 within
five seconds."""

FEWEST_PICTURES = 3
"""A face that is seen less often is taken for a false detection."""

COMPARABLE_HEIGHT = 0.5
"""Share of the largest moving face's height from which another one cannot be told from the person."""

COVER_MARGIN = 0.35
"""How far a cover reaches beyond the landmarks, in face heights: forehead and hair help a detector."""


class SeveralPeople(UserError):
    """A video shows more than one person."""


@dataclass(frozen=True)
class SeenFace:
    """One face, followed through the N pictures of a video that it was found in.

    Attributes:
        frames: ``[N]`` their numbers, increasing.
        landmarks: ``[N, 468, 2]`` landmarks of its skin in pixels.
    """

    frames: np.ndarray
    landmarks: np.ndarray

    @property
    def height(self) -> float:
        """Median height in pixels."""
        return float(np.median(np.ptp(self.landmarks[..., 1], axis=1)))

    @property
    def moves(self) -> bool:
        """True for a living face, False for a photo."""
        return face_motion(self.landmarks) >= STILL_MOTION

    def box(self, frame: int) -> np.ndarray:
        """``[2, 2]`` lower and upper corner of the landmarks in a frame, interpolated in time."""
        corners = np.stack([self.landmarks.min(1), self.landmarks.max(1)], 1).reshape(-1, 4)
        return np.array([np.interp(frame, self.frames, column) for column in corners.T]).reshape(2, 2)

    def holds(self, point: np.ndarray, frame: int) -> bool:
        """True if a point ``[2]`` in pixels lies on the face in a frame."""
        low, high = self.box(frame)
        return bool(((point >= low) & (point <= high)).all())


def follow_faces(pictures: Sequence[tuple[int, Sequence[np.ndarray]]]) -> list[SeenFace]:
    """The faces of some pictures of a video, put together by place.

    Args:
        pictures: frame numbers, increasing, with the landmarks ``[478, 3]`` of every face in the frame; each
            belongs to the face whose last place is nearest and less than a face height away.

    Returns:
        Faces that were found in at least three pictures, the largest first.
    """
    followed: list[list[tuple[int, np.ndarray]]] = []
    for frame, faces in pictures:
        free = list(followed)
        for face in faces:
            points = face[:SKIN_LANDMARKS, :2]
            reach = np.ptp(points[:, 1])
            distances = [float(np.linalg.norm(one[-1][1].mean(0) - points.mean(0))) for one in free]
            if distances and min(distances) < reach:
                free.pop(int(np.argmin(distances))).append((frame, points))
            else:
                followed.append([(frame, points)])
    found = [
        SeenFace(np.array([frame for frame, _ in one]), np.stack([points for _, points in one]))
        for one in followed
        if len(one) >= FEWEST_PICTURES
    ]
    return sorted(found, key=lambda face: -face.height)


def face_motion(landmarks: np.ndarray) -> float:
    """How much a face ``[N, K, 2]`` changes its shape over N pictures, in face heights.

    Shift, turn in the image plane and scale are taken out, so that a photo before a moving camera stands
    still, and a head that turns, speaks or blinks moves. It is the root mean square over the landmarks of
    their distance to the mean shape, of which a tenth of the pictures exceeds the result.
    """
    points = landmarks[..., 0] + 1j * landmarks[..., 1]
    points = points - points.mean(1, keepdims=True)
    mean = points[0]
    for _ in range(2):
        # Least squares of one complex factor per picture: a turn and a scale.
        factor = (points.conj() * mean).sum(1) / (np.abs(points) ** 2).sum(1)
        aligned = factor[:, None] * points
        mean = aligned.mean(0)
    deviation = np.sqrt((np.abs(aligned - mean) ** 2).mean(1))
    return float(np.quantile(deviation, 0.9) / np.ptp(mean.imag))


def require_one_person(
    faces: Sequence[SeenFace], times: np.ndarray | Mapping[int, float], video: Path
) -> None:
    """Refuse a second face of comparable size beside the first; ``times`` are those of the frames in seconds,
    by their numbers.

    A person who changes place is one face after another, never both in one picture.

    Raises:
        SeveralPeople: there is one; names the first frame that shows both.
    """
    large = [face for face in faces if face.height >= COMPARABLE_HEIGHT * faces[0].height]
    shared = [np.intersect1d(one.frames, other.frames) for one, other in combinations(large, 2)]
    if together := [int(frames[0]) for frames in shared if len(frames) >= FEWEST_PICTURES]:
        first = min(together)
        raise SeveralPeople(
            f"{video}: several faces, first at frame {first} ({times[first]:.2f} s); "
            "crop the video to one person"
        )


def follows_any(track: LandmarkTrack, faces: Sequence[SeenFace]) -> bool:
    """True if the landmarks of any frame lie on one of the faces."""
    return any(
        face.holds(track.landmarks[frame, :SKIN_LANDMARKS, :2].mean(0), frame)
        for frame in np.flatnonzero(track.valid)
        for face in faces
    )


def still_face_note(face: SeenFace, width: int) -> str:
    """What is said of a face that does not move, in a picture of that width."""
    centre = float(face.landmarks[..., 0].mean()) / width
    place = "left" if centre < 1 / 3 else "right" if centre > 2 / 3 else "middle"
    return f"a face that never moves, a poster or a photo in the {place} of the picture, is left out"


def cover_faces(
    image: np.ndarray, frame: int, still: Sequence[SeenFace], moving: Sequence[SeenFace]
) -> np.ndarray:
    """The picture ``[H, W, 3]`` uint8 with its still faces painted over in its mean colour.

    What lies within a moving face is kept, for a head may pass before a poster.
    """
    height, width = image.shape[:2]
    hidden = np.zeros((height, width), bool)
    for faces, value in ((still, True), (moving, False)):
        for face in faces:
            margin = COVER_MARGIN * face.height
            low, high = face.box(frame) + np.array([[-margin], [margin]])
            x0, y0, x1, y1 = np.round([*low, *high]).astype(int).clip(0)
            hidden[y0:y1, x0:x1] = value
    covered = image.copy()
    covered[hidden] = image.mean((0, 1)).astype(np.uint8)
    return covered
