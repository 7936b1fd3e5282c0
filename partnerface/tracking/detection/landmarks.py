"""LandmarkDetector: video -> LandmarkTrack; the default is MediaPipe's face landmarker (extra `track`).

Three traps shape this file. An array that is not contiguous is read wrongly without an exception.
Timestamps drive the landmark filter, so they are real milliseconds. The filter starts from the
detector's crop, so the first frame with a face is fed a few times before its result counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from partnerface.data.completion.matting import to_mediapipe_image
from partnerface.errors import UserError, import_extra
from partnerface.files.downloads import FACE_LANDMARKER, model_file
from partnerface.files.video_reading.read import VideoReader
from partnerface.files.video_reading.source import VideoSource, video_source
from partnerface.tracking.detection.landmark_track import LANDMARKS, LandmarkTrack
from partnerface.tracking.detection.scouting import choose_reading
from partnerface.tracking.detection.shots import PictureChanges
from partnerface.tracking.detection.unfiltered_eyes import with_unfiltered_eyes

WARM_UP_FRAMES = 5
WARM_UP_MS = 33
CHIN, FOREHEAD = 152, 10
"""Landmarks at the lower and the upper end of the face."""
UNFILTERED = "eyes unfiltered"
"""Mark of landmarks whose eyes no filter over time has passed."""
SECOND_FACE_RATIO = 0.5
SECOND_FACE_FRAMES = 3
SECOND_FACE_INTERVAL_S = 0.4


class LandmarkDetector(Protocol):
    """Finds the landmarks of a person's face in a video, numbered as MediaPipe numbers them.

    Attributes:
        model_sha256: digest of the model that it uses, also that of its `LandmarkTrack`; landmarks on disk
            of another model are not reused.
    """

    model_sha256: str

    def detect(self, video: VideoSource | Path, on_frame: Callable[[], None]) -> LandmarkTrack:
        """Landmarks of every frame; ``on_frame`` is called after each.

        The track names the stream and the turn of the pictures that the landmarks belong to.

        Raises:
            UserError: the video cannot be read, or shows several people.
        """
        ...


class MediaPipeDetector:
    """MediaPipe's face landmarker, one pass over the video.

    The eyes are those of `with_unfiltered_eyes`. No second face of comparable size may stay in the picture.
    Frames are sampled for that and detected on their own: with two faces MediaPipe's video mode would switch
    its landmark filter off.
    """

    model_sha256 = f"{FACE_LANDMARKER.sha256} {UNFILTERED}"

    def detect(self, video: VideoSource | Path, on_frame: Callable[[], None]) -> LandmarkTrack:
        """Track one face; raises UserError if there are two, or if MediaPipe or its model file is missing.

        Of several video streams the first that shows a face is taken, and heads are turned upright.
        """
        crowded: list[tuple[int, float]] = []
        with face_landmarker(video_mode=False) as one_face:
            source, notes = choose_reading(video_source(video), lambda image: face_roll(one_face, image))
        reader = VideoReader(source)

        def frames() -> Iterator[tuple[float, np.ndarray]]:
            due = 0.0
            with face_landmarker(video_mode=False, num_faces=2) as every_face:
                for index, frame in enumerate(reader):
                    yield frame.time, frame.image
                    if frame.time >= due:
                        due = frame.time + SECOND_FACE_INTERVAL_S
                        if _has_second_face(every_face.detect(to_mediapipe_image(frame.image)), frame.image):
                            crowded.append((index, frame.time))
                    on_frame()

        track = detect_landmarks(frames(), unfiltered_eyes=True)
        if len(crowded) >= SECOND_FACE_FRAMES:
            index, time = crowded[0]
            raise UserError(
                f"{source.path}: several faces, first at frame {index} ({time:.2f} s); "
                "crop the video to one person"
            )
        track.stream = -1 if source.stream is None else source.stream
        track.quarter_turns, track.transparent = source.quarter_turns, reader.transparent
        track.notes = [*reader.notes, *notes]
        return track


def face_roll(landmarker: Any, image: np.ndarray) -> float | None:
    """Degrees by which the face in a picture ``[H, W, 3]`` uint8 is turned clockwise; None without a face."""
    faces = landmarker.detect(to_mediapipe_image(image)).face_landmarks
    if not faces:
        return None
    points = landmark_pixels(faces[0], image.shape[1], image.shape[0])
    right, down = (points[FOREHEAD] - points[CHIN])[:2]
    return float(np.degrees(np.arctan2(right, -down)))


def _has_second_face(result: Any, image: np.ndarray) -> bool:
    heights = sorted(
        np.ptp(landmark_pixels(face, image.shape[1], image.shape[0])[:, 1]) for face in result.face_landmarks
    )
    return len(heights) > 1 and heights[-2] >= SECOND_FACE_RATIO * heights[-1]


def face_landmarker(video_mode: bool, num_faces: int = 1) -> Any:
    """A face landmarker, to be used in a ``with`` block: without one it complains at exit.

    In video mode it tracks from frame to frame and filters, which more than one face switches off; else every
    image is on its own. Of one face it gives blendshape scores too.
    """
    mediapipe = import_extra("mediapipe")
    vision, tasks = mediapipe.tasks.vision, mediapipe.tasks
    mode = vision.RunningMode.VIDEO if video_mode else vision.RunningMode.IMAGE
    options = vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(model_file(FACE_LANDMARKER))),
        running_mode=mode,
        num_faces=num_faces,
        output_face_blendshapes=num_faces == 1,
        output_facial_transformation_matrixes=video_mode,
    )
    return vision.FaceLandmarker.create_from_options(options)


def landmark_pixels(face: Any, width: int, height: int) -> np.ndarray:
    """``[478, 3]`` landmarks of one detected face in pixels; depth is scaled like x."""
    points = np.array([(p.x, p.y, p.z) for p in face], np.float32)
    return points * np.float32([width, height, width])


def blendshape_scores(result: Any) -> dict[str, float]:
    """Scores in [0, 1] of the first face of a result, by name."""
    return {category.category_name: category.score for category in result.face_blendshapes[0]}


@dataclass
class DetectedFace:
    """A face in one picture.

    Attributes:
        landmarks: ``[478, 3]`` in pixels, as in `LandmarkTrack`.
        scores: blendshape scores in [0, 1] by name.
        matrix: ``[4, 4]`` from the detector's face model to its camera (x right, y up, z backward), in
            centimetres.
    """

    landmarks: np.ndarray
    scores: dict[str, float]
    matrix: np.ndarray


class VideoFaceDetector:
    """Finds the face in the pictures of one video, one after another as they come; used in a ``with`` block.

    It stays with the face that it found first for as long as that is in the picture.

    Raises:
        UserError: MediaPipe or its model file is missing.
    """

    def __init__(self) -> None:
        self._landmarker = face_landmarker(video_mode=True)
        self._offset_ms: int | None = None
        self._stamp_ms = -1
        self._found = False

    def __enter__(self) -> Self:
        self._landmarker.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._landmarker.__exit__(*raised)

    def _detect(self, picture: Any, stamp_ms: int) -> Any:
        self._stamp_ms = max(self._stamp_ms + 1, stamp_ms)
        return self._landmarker.detect_for_video(picture, self._stamp_ms)

    def __call__(self, image: np.ndarray, time: float) -> DetectedFace | None:
        """The face in a picture ``[H, W, 3]`` uint8 RGB of ``time`` seconds; None where there is none."""
        picture = to_mediapipe_image(image)
        if self._offset_ms is None:
            self._offset_ms = -round(time * 1000)
        result = self._detect(picture, self._offset_ms + round(time * 1000))
        if result.face_landmarks and not self._found:
            for _ in range(WARM_UP_FRAMES):
                self._offset_ms += WARM_UP_MS
                result = self._detect(picture, self._offset_ms + round(time * 1000))
        self._found = bool(result.face_landmarks)
        if not result.face_landmarks:
            return None
        return DetectedFace(
            landmark_pixels(result.face_landmarks[0], image.shape[1], image.shape[0]),
            blendshape_scores(result),
            np.asarray(result.facial_transformation_matrixes[0], np.float32),
        )


def detect_landmarks(
    frames: Iterable[tuple[float, np.ndarray]], unfiltered_eyes: bool = False
) -> LandmarkTrack:
    """Detect the face in every frame of one video.

    Args:
        frames: pairs of a timestamp in seconds and an image ``[H, W, 3]`` uint8 RGB, all of one size.
        unfiltered_eyes: take lids, irises and the scores of eyes from each frame on its own, see
            `with_unfiltered_eyes`.

    Raises:
        UserError: MediaPipe or its model file is missing.
    """
    times, faces, changes = [], [], []
    width = height = 0
    change = PictureChanges()
    single = face_landmarker(video_mode=False) if unfiltered_eyes else nullcontext()
    with VideoFaceDetector() as detect, single as single_picture:
        for time, image in frames:
            height, width = image.shape[:2]
            face = detect(image, time)
            if face is not None and single_picture is not None:
                face = _with_eyes_of(face, single_picture.detect(to_mediapipe_image(image)), width, height)
            faces.append(face)
            times.append(time)
            changes.append(change(image))
    track = _assemble(times, faces, changes, width, height)
    return replace(track, model_sha256=f"{track.model_sha256} {UNFILTERED}") if unfiltered_eyes else track


def _with_eyes_of(face: DetectedFace, result: Any, width: int, height: int) -> DetectedFace:
    """The face with the eyes that the detector found in the picture alone, if it found any."""
    if not result.face_landmarks:
        return face
    single = landmark_pixels(result.face_landmarks[0], width, height)
    eyes = {name: score for name, score in blendshape_scores(result).items() if name.startswith("eye")}
    return replace(face, landmarks=with_unfiltered_eyes(face.landmarks, single), scores=face.scores | eyes)


def _assemble(
    times: list, faces: list[DetectedFace | None], changes: list, width: int, height: int
) -> LandmarkTrack:
    count = len(times)
    found = {i: face for i, face in enumerate(faces) if face is not None}
    names = sorted(next(iter(found.values())).scores) if found else []
    landmarks = np.full((count, LANDMARKS, 3), np.nan, np.float32)
    scores = np.full((count, len(names)), np.nan, np.float32)
    matrices = np.full((count, 4, 4), np.nan, np.float32)
    valid = np.zeros(count, bool)
    for i, face in found.items():
        landmarks[i], matrices[i], valid[i] = face.landmarks, face.matrix, True
        scores[i] = [face.scores[name] for name in names]
    timestamps = np.asarray(times, np.float64)
    duration = timestamps[-1] - timestamps[0] if count > 1 else 0.0
    return LandmarkTrack(
        landmarks=landmarks,
        scores=scores,
        score_names=names,
        face_matrices=matrices,
        valid=valid,
        content_change=np.array([mean for mean, _ in changes], np.float32),
        background_change=np.array([median for _, median in changes], np.float32),
        timestamps=timestamps,
        fps=float((count - 1) / duration) if duration > 0 else 25.0,
        width=width,
        height=height,
        model_sha256=FACE_LANDMARKER.sha256,
        mode="VIDEO",
    )
