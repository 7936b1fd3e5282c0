"""Lids of single pictures in a filtered face, against eyes that are put together by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from partnerface.head_models.landmark_geometry import LEFT_EYE, LID_PAIRS, RIGHT_EYE
from partnerface.tracking.detection import landmarks
from partnerface.tracking.detection.landmarks import detect_landmarks
from partnerface.tracking.detection.unfiltered_eyes import with_unfiltered_eyes

SIZE = 512
CENTRES = {(33, 133): (180.0, 200.0), (263, 362): (320.0, 205.0)}
RINGS = (RIGHT_EYE, LEFT_EYE)


def face(opening: float) -> np.ndarray:
    """``[478, 3]``: noise, with two eyes 60 pixels wide whose lids are ``opening`` pixels apart."""
    points = np.random.default_rng(0).uniform(0, SIZE, (478, 3)).astype(np.float32)
    for (corners, (x, y)), ring, pairs in zip(
        CENTRES.items(), RINGS, [pairs for _, pairs in reversed(LID_PAIRS)], strict=True
    ):
        points[list(ring)] = x, y, 5.0
        points[corners[0], 0], points[corners[1], 0] = x - 30, x + 30
        for place, (upper, lower) in enumerate(pairs):
            points[[upper, lower], 0] = x + 10 * (place - 1)
            points[upper, 1], points[lower, 1] = y - opening / 2, y + opening / 2
    return points


def openings(points: np.ndarray) -> np.ndarray:
    pairs = np.array([pair for _, pairs in LID_PAIRS for pair in pairs])
    return np.linalg.norm(points[pairs[:, 0], :2] - points[pairs[:, 1], :2], axis=1)


def test_lids_are_those_of_the_picture_where_the_filter_has_the_eyes():
    """The picture's eyes are nudged, turned by 0.1 rad and 1.3 times as large: their lids are not."""
    filtered, single = face(20.0), face(2.0)
    turn, centre = 1.3 * np.exp(0.1j), complex(250, 202)
    moved = (single[:, 0] + 1j * single[:, 1] - centre) * turn + centre
    for corners in CENTRES:
        rows = list(corners)
        target = filtered[rows, 0] + 1j * filtered[rows, 1]
        rings = list(RINGS[0] if corners == (33, 133) else RINGS[1])
        moved[rings] += target.mean() - moved[rows].mean() + 3
    seen = np.stack([moved.real, moved.imag, 1.3 * single[:, 2]], 1).astype(np.float32)
    found = with_unfiltered_eyes(filtered, seen)
    np.testing.assert_allclose(openings(found), 2.0, atol=1e-3)
    for corners in CENTRES:
        np.testing.assert_allclose(found[list(corners)], filtered[list(corners)], atol=1e-3)
    untouched = [1, 152, 10, 61, 291]
    np.testing.assert_array_equal(found[untouched], filtered[untouched])


def test_the_eyes_of_another_face_are_not_taken():
    filtered, single = face(20.0), face(2.0)
    single[:, 0] += 200
    np.testing.assert_array_equal(with_unfiltered_eyes(filtered, single), filtered)


class LaggingLandmarker:
    """Lids that follow a filter over time in video mode, and the picture's own in single pictures."""

    def __init__(self, video_mode: bool):
        self.filtered, self.video_mode = 20.0, video_mode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def detect(self, image, *_):
        opening = float(image[0, 0, 0])
        self.filtered += 0.3 * (opening - self.filtered)
        points = face(self.filtered if self.video_mode else opening) / SIZE
        score = SimpleNamespace(category_name="eyeBlinkLeft", score=1 - opening / 20)
        other = SimpleNamespace(category_name="jawOpen", score=0.25 if self.video_mode else 0.75)
        return SimpleNamespace(
            face_landmarks=[[SimpleNamespace(x=x, y=y, z=z) for x, y, z in points]],
            face_blendshapes=[[score, other]],
            facial_transformation_matrixes=[np.eye(4)],
        )

    detect_for_video = detect


@pytest.mark.parametrize("unfiltered", [True, False])
def test_a_blink_of_two_frames_is_seen_in_those_frames(monkeypatch, unfiltered):
    monkeypatch.setattr(landmarks, "face_landmarker", lambda video_mode, **_: LaggingLandmarker(video_mode))
    monkeypatch.setattr(landmarks, "to_mediapipe_image", lambda image: image)
    true = np.array([20, 20, 20, 2, 2, 20, 20, 20], np.float64)
    frames = ((i / 25, np.full((SIZE, SIZE, 3), value, np.uint8)) for i, value in enumerate(true))
    track = detect_landmarks(frames, unfiltered_eyes=unfiltered)
    error = np.abs([openings(points).mean() for points in track.landmarks] - true)
    assert (error.max() < 0.01) == unfiltered
    # Other landmarks and scores keep their filter.
    assert (track.scores[:, track.score_names.index("jawOpen")] == 0.25).all()
    assert ("unfiltered" in track.model_sha256) == unfiltered
