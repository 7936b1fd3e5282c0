from types import SimpleNamespace

import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.files.videos import write_video
from partnerface.tracking.detection import landmarks
from partnerface.tracking.detection.landmarks import MediaPipeDetector


class FakeLandmarker:
    """Finds faces of the given heights in every frame."""

    def __init__(self, heights):
        self.heights = heights

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def detect(self, *_):
        faces = [
            [SimpleNamespace(x=0.1, y=0.1 + h * k, z=0.0) for k in np.linspace(0, 1, 478)]
            for h in self.heights
        ]
        return SimpleNamespace(
            face_landmarks=faces,
            face_blendshapes=[[]],
            facial_transformation_matrixes=[np.eye(4)],
        )

    detect_for_video = detect


@pytest.mark.parametrize(("heights", "crowded"), [((0.4, 0.3), True), ((0.4, 0.1), False), ((0.4,), False)])
def test_second_face_of_comparable_size(monkeypatch, tmp_path, heights, crowded):
    video = tmp_path / "clip.mp4"
    write_video(video, [np.zeros((32, 32, 3), np.uint8)] * 20, 10)
    monkeypatch.setattr(landmarks, "face_landmarker", lambda **_: FakeLandmarker(heights))
    monkeypatch.setattr(landmarks, "to_mediapipe_image", lambda image: image)
    seen = []
    if crowded:
        with pytest.raises(UserError, match=r"clip\.mp4: several faces, first at frame 0"):
            MediaPipeDetector().detect(video, lambda: seen.append(1))
    else:
        assert len(MediaPipeDetector().detect(video, lambda: seen.append(1))) == 20
    assert len(seen) == 20
