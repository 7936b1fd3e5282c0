"""The detector's passes, by a landmarker that sees painted faces: red rectangles, an expression in green."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from partnerface.errors import UserError
from partnerface.files.videos import write_video
from partnerface.tracking.detection import landmarks
from partnerface.tracking.detection.landmarks import MediaPipeDetector


class FakeLandmarker:
    """Finds faces of the given heights, which change their shape, in every frame."""

    def __init__(self, heights):
        self.heights, self.calls = heights, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def detect(self, *_):
        self.calls += 1
        shape = np.linspace(0, 1, 478) ** (1 + self.calls % 3 / 5)
        faces = [[SimpleNamespace(x=0.1, y=0.1 + h * k, z=0.0) for k in shape] for h in self.heights]
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


WIDTH, HEIGHT, FRAMES = 320, 180, 20
SMALLEST = 0.15
"""Share of a picture's height that a face must have to be found, as with detectors that see a small copy."""


class PaintedFaces(FakeLandmarker):
    """Sees each rectangle as a frame of a known head; the largest first, and no more than the number given.

    ``shapes`` ``[T, 478, 3]`` are its landmarks in face heights, from the upper left corner of the rectangle.
    """

    def __init__(self, shapes, number):
        self.shapes, self.number = shapes, number

    def detect(self, image, *_):
        marks, _ = ndimage.label((image[..., 0] > 200) & (image[..., 2] < 90))
        boxes = [box for box in ndimage.find_objects(marks) if np.ptp([box[0].start, box[0].stop]) > 4]
        boxes = sorted(boxes, key=lambda box: box[0].start - box[0].stop)
        found = []
        for rows, columns in boxes:
            height = rows.stop - rows.start
            if height < SMALLEST * image.shape[0]:
                continue
            expression = round(float(np.median(image[rows, columns, 1])) / 8)
            points = self.shapes[expression] * height + np.float32([columns.start, rows.start, 0])
            found.append([SimpleNamespace(x=x, y=y, z=z) for x, y, z in points / [*image.shape[1::-1], 1]])
        found = found[: self.number]
        return SimpleNamespace(
            face_landmarks=found,
            face_blendshapes=[[]] * len(found),
            facial_transformation_matrixes=[np.eye(4)] * len(found),
        )

    detect_for_video = detect


@pytest.fixture
def shapes(synthetic_track):
    """A head that turns and speaks, in its own heights; x and y of its upper left corner are 0 at first."""
    points = synthetic_track(FRAMES).track.landmarks[..., :3]
    low, height = points[0, :468].min(0), np.ptp(points[0, :468, 1])
    return (points - np.float32([*low[:2], 0])) / height


@pytest.fixture
def detect(monkeypatch, tmp_path, shapes):
    """Landmarks of a video of painted rectangles (x, y, height, expression), a list for each frame."""

    def run(faces):
        frames = []
        for painted in faces:
            image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
            for x, y, height, expression in painted:
                image[y : y + height, x : x + height] = (250, 8 * expression, 20)
            frames.append(image)
        monkeypatch.setattr(
            landmarks, "face_landmarker", lambda video_mode, num_faces=1: PaintedFaces(shapes, num_faces)
        )
        monkeypatch.setattr(landmarks, "to_mediapipe_image", lambda image: image)
        write_video(tmp_path / "clip.mp4", frames, 10)
        return MediaPipeDetector().detect(tmp_path / "clip.mp4", lambda: None)

    return run


def _known(shapes, faces):
    """``[T, 478, 2]`` landmarks of one painted face."""
    return np.stack([shapes[e, :, :2] * height + [x, y] for x, y, height, e in faces])


def test_the_living_face_is_taken_and_a_larger_photo_is_named(detect, shapes):
    """The person comes after half a second; a detector of one face would stay with the photo."""
    person = [(40 + 2 * k, 60, 50, k) for k in range(FRAMES)]
    photo = (220, 30, 80, 4)
    track = detect([[photo, *([one] if k >= 5 else [])] for k, one in enumerate(person)])
    assert np.flatnonzero(track.valid).tolist() == list(range(5, FRAMES))
    assert np.abs(track.landmarks[5:, :, :2] - _known(shapes, person)[5:]).max() < 3
    assert (
        "a face that never moves, a poster or a photo in the right of the picture, is left out" in track.notes
    )


def test_a_photo_that_is_never_mistaken_is_named_only(detect, shapes):
    person = [(40 + 2 * k, 60, 80, k) for k in range(FRAMES)]
    track = detect([[one, (250, 40, 50, 4)] for one in person])
    assert track.valid.all()
    assert np.abs(track.landmarks[..., :2] - _known(shapes, person)).max() < 3
    assert ["poster" in note for note in track.notes].count(True) == 1


def test_two_people_are_refused_and_a_photo_alone_is_not(detect):
    pairs = [[(30, 60, 60, k), (200, 60, 50, FRAMES - 1 - k)] for k in range(FRAMES)]
    with pytest.raises(UserError, match=r"several faces, first at frame 0 \(0\.00 s\)"):
        detect(pairs)
    track = detect([[(200, 60, 60, 3)]] * FRAMES)
    assert track.valid.all()
    assert not any("poster" in note for note in track.notes)


def test_a_small_face_is_found_in_tiles(detect, shapes):
    """Below the size that a detector sees in the whole picture; it walks through a part of the frame."""
    person = [(200 + 2 * k, 100 + k // 4, 20, k) for k in range(FRAMES)]
    track = detect([[one] for one in person])
    assert track.valid.all()
    assert (track.width, track.height) == (WIDTH, HEIGHT)
    assert np.abs(track.landmarks[..., :2] - _known(shapes, person)).max() < 3
    [note] = [note for note in track.notes if "small face" in note]
    assert note.endswith(f"in {WIDTH}x{HEIGHT}: film closer")
    assert not detect([[]] * FRAMES).valid.any()


def test_a_small_living_face_is_found_beside_a_large_photo(detect, shapes):
    """The photo is in every frame, so that the detector always finds a face; it is the wrong one."""
    person = [(40 + 2 * k, 100, 20, k) for k in range(FRAMES)]
    track = detect([[one, (200, 30, 80, 4)] for one in person])
    assert track.valid.all()
    assert np.abs(track.landmarks[..., :2] - _known(shapes, person)).max() < 3
    assert sorted("small face" in note or "poster" in note for note in track.notes) == [True, True]
