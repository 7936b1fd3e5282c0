"""LandmarkDetector: video -> LandmarkTrack; the default is MediaPipe's face landmarker (extra `track`).

Three traps shape this file. An array that is not contiguous is read wrongly without an exception.
Timestamps drive the landmark filter, so they are real milliseconds. The filter starts from the
detector's crop, so the first frame with a face is fed a few times before its result counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from partnerface.data.completion.matting import import_mediapipe, to_mediapipe_image
from partnerface.files.downloads import FACE_LANDMARKER, model_file
from partnerface.files.video_reading.read import VideoReader
from partnerface.files.video_reading.source import VideoSource, video_source
from partnerface.tracking.detection.landmark_track import LANDMARKS, SKIN_LANDMARKS, LandmarkTrack
from partnerface.tracking.detection.mattes import HeadCrop
from partnerface.tracking.detection.picture_changes import PictureChanges
from partnerface.tracking.detection.scouting import choose_reading, find_small_face, reading_notes
from partnerface.tracking.detection.several_faces import (
    SeenFace,
    cover_faces,
    follow_faces,
    follows_any,
    require_one_person,
    still_face_note,
)
from partnerface.tracking.detection.shots import frame_rate
from partnerface.tracking.detection.unfiltered_eyes import with_unfiltered_eyes

WARM_UP_FRAMES = 5
WARM_UP_MS = 33
MOST_FACES = 4
"""Faces that are looked for in one picture."""
SEVERAL_FACES_INTERVAL_S = 0.4
"""Time between the pictures in which several faces are looked for."""
FEW_FACES = 0.5
"""Share of frames with a face below which a small face is looked for."""
UNFILTERED = "eyes unfiltered, 2"
"""Mark of landmarks whose eyes no filter over time has passed; the number is raised when the same video gives
others than before.
"""


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
    """MediaPipe's face landmarker, one pass over the video; a second one where the first was misled.

    The eyes are those of `with_unfiltered_eyes`. Where few frames show a face or none of the faces moves, one
    that is small in the frame is looked for in a square around it. Faces that never change their shape, such
    as a poster's, are painted over. No second living face of comparable size may stay in the picture. Frames
    are sampled for that and detected on their own: with two faces MediaPipe's video mode would switch its
    landmark filter off.
    """

    model_sha256 = f"{FACE_LANDMARKER.sha256} {UNFILTERED}"

    def detect(self, video: VideoSource | Path, on_frame: Callable[[], None]) -> LandmarkTrack:
        """Track one face; raises UserError if two live, or if MediaPipe or its model file is missing.

        Of several video streams the first that shows a face is taken, and heads are turned upright.
        """
        given = video_source(video)
        with face_landmarker(video_mode=False) as one_face:
            source = choose_reading(given, lambda image: face_points(one_face, image))
        found = _Pass(VideoReader(source), on_frame)
        still, moving = _still_and_moving(found)
        notes = []
        few = found.track.valid.mean() < FEW_FACES
        if few or (still and not moving):
            # Where few frames show a face, a still one may be a person who is small and hardly moves.
            coverings = [still, []] if few and still else [still]
            closer = _look_closer(source if found.track.valid.any() else given, coverings, on_frame)
            moving_closer = [] if closer is None else _still_and_moving(closer)[1]
            if closer is not None and (closer.track.valid.sum() > found.track.valid.sum() or moving_closer):
                found, moving = closer, moving_closer
                height = float(np.nanmedian(found.track.face_heights()))
                size = f"{found.track.width}x{found.track.height}"
                notes.append(f"a small face, {height:.0f} pixels high in {size}: film closer")
        require_one_person(moving or still, found.track.timestamps, source.path)
        if moving and still:
            notes += [still_face_note(face, found.track.width) for face in still]
            if follows_any(found.track, still):
                found = _Pass(found.reader, on_frame, found.window, still, moving)
        track, source = found.track, found.reader.source
        track.stream = -1 if source.stream is None else source.stream
        track.quarter_turns, track.transparent = source.quarter_turns, found.reader.transparent
        track.notes = [*found.reader.notes, *reading_notes(given, source), *notes]
        return track


def _still_and_moving(found: _Pass) -> tuple[list[SeenFace], list[SeenFace]]:
    faces = follow_faces(found.pictures)
    return [face for face in faces if not face.moves], [face for face in faces if face.moves]


def _look_closer(
    source: VideoSource, coverings: Sequence[Sequence[SeenFace]], on_frame: Callable[[], None]
) -> _Pass | None:
    """A pass in a square around a face that is small in the frame; None without one.

    Args:
        source: the video; if it names no stream, each is looked at.
        coverings: faces that are painted over; the first with which a small face is found count.
        on_frame: called after each frame.
    """
    with face_landmarker(video_mode=False) as one_face:
        for covered in coverings:
            small = find_small_face(
                source,
                lambda image: face_points(one_face, image),
                lambda number, image, covered=covered: cover_faces(image, number, covered, []),
            )
            if small is not None:
                return _Pass(VideoReader(small[0]), on_frame, small[1], covered)
    return None


class _Pass:
    """One pass over a video.

    Args:
        reader: the video.
        on_frame: called after each frame.
        window: where the face is looked for, the whole picture by default.
        still: faces that are painted over.
        moving: faces that are not, where they pass before one of those.

    Attributes:
        reader: the video.
        window: where the face was looked for.
        track: landmarks of one face, in pixels of the whole picture.
        pictures: numbers of the frames that were looked at for several faces, and the landmarks
            ``[478, 3]`` of each of their faces.
    """

    def __init__(
        self,
        reader: VideoReader,
        on_frame: Callable[[], None] = lambda: None,
        window: HeadCrop | None = None,
        still: Sequence[SeenFace] = (),
        moving: Sequence[SeenFace] = (),
    ) -> None:
        self.reader, self.window = reader, window
        self.pictures: list[tuple[int, list[np.ndarray]]] = []
        self._shape: tuple[int, ...] = ()
        self._still, self._moving = still, moving
        track = detect_landmarks(self._frames(reader, on_frame), unfiltered_eyes=True)
        if window is not None:
            track.landmarks += np.float32([window.offset_x, window.offset_y, 0])
            track.height, track.width = self._shape
        self.track = track

    def _frames(
        self, reader: VideoReader, on_frame: Callable[[], None]
    ) -> Iterator[tuple[float, np.ndarray]]:
        due, offset = 0.0, np.zeros(3, np.float32)
        if self.window is not None:
            offset[:2] = self.window.offset_x, self.window.offset_y
        with face_landmarker(video_mode=False, num_faces=MOST_FACES) as every_face:
            for index, frame in enumerate(reader):
                image, self._shape = frame.image, frame.image.shape[:2]
                if self._still:
                    image = cover_faces(image, index, self._still, self._moving)
                if self.window is not None:
                    image = self.window.apply(image)
                yield frame.time, image
                if frame.time >= due:
                    due = frame.time + SEVERAL_FACES_INTERVAL_S
                    found = every_face.detect(to_mediapipe_image(image)).face_landmarks
                    height, width = image.shape[:2]
                    points = [landmark_pixels(face, width, height) + offset for face in found]
                    self.pictures.append((index, points))
                on_frame()


def face_points(landmarker: Any, image: np.ndarray) -> np.ndarray | None:
    """``[478, 3]`` landmarks of the face in a picture ``[H, W, 3]`` uint8, in pixels; None without a face."""
    faces = landmarker.detect(to_mediapipe_image(image)).face_landmarks
    return landmark_pixels(faces[0], image.shape[1], image.shape[0]) if faces else None


def face_landmarker(video_mode: bool, num_faces: int = 1) -> Any:
    """A face landmarker, to be used in a ``with`` block: without one it complains at exit.

    In video mode it tracks from frame to frame and filters, which more than one face switches off; else every
    image is on its own. Of one face it gives blendshape scores too.
    """
    mediapipe = import_mediapipe()
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
    times, faces = [], []
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
            change(image, None if face is None else face.landmarks[:SKIN_LANDMARKS])
    track = _assemble(times, faces, change.found, width, height)
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
    return LandmarkTrack(
        landmarks=landmarks,
        scores=scores,
        score_names=names,
        face_matrices=matrices,
        valid=valid,
        content_change=np.array([content for content, _, _ in changes], np.float32),
        background_change=np.array([background for _, background, _ in changes], np.float32),
        face_change=np.array([face for _, _, face in changes], np.float32),
        timestamps=timestamps,
        fps=frame_rate(timestamps),
        width=width,
        height=height,
        model_sha256=FACE_LANDMARKER.sha256,
        mode="VIDEO",
    )
