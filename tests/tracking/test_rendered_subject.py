"""MediaPipe on videos of the rendered embedded subject, whose landmarks and gaze are known."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.files.downloads import FACE_LANDMARKER, stored_file
from partnerface.files.videos import write_video
from partnerface.head_models.landmark_geometry import LIPS, landmark_geometry
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.detection.landmarks import MediaPipeDetector
from partnerface.tracking.detection.trusted_frames import distrust_covered, landmark_colours
from partnerface.tracking.fit.head_fit import FitSettings
from partnerface.tracking.fit.problem import fit_head
from tests.tracking.conftest import project_landmarks

pytest.importorskip("mediapipe", reason="mediapipe (extra `track`) is not installed")
pytestmark = pytest.mark.skipif(
    stored_file(FACE_LANDMARKER.name) is None,
    reason=f"{FACE_LANDMARKER.name} is neither in the folder PARTNERFACE_ASSETS nor in the cache",
)

SIZE, MOVING, FPS = 256, 6, 2.5
GAZES = (0.0, 15.0, -15.0)
"""Degrees to the subject's left; in the frames after the moving ones."""


class Speaker:
    """Pictures of subject a, who turns and speaks, then looks aside, and its landmarks ``[T, 478, 2]``."""

    def __init__(self, head_model) -> None:
        frames = MOVING + len(GAZES)
        renderer = SubjectRenderer(head_model, subject_named("a"), frames, SIZE, seed=0)
        phase = torch.zeros(frames)
        phase[:MOVING] = torch.arange(MOVING) / MOVING * 2 * math.pi
        head = renderer.head
        head.expression[:], head.joint_rotations[:], renderer.sway[:] = 0, torch.eye(3), 0
        head.expression[:, head_model.expression_index("jawOpen")] = 0.3 * (1 - phase.cos())
        head.rotation[:] = axis_angle_to_matrix(torch.stack([0 * phase, 0.25 * phase.sin(), 0 * phase], 1))
        head.translation[:] = head.torso_translation
        looks = torch.tensor([[0.0, math.radians(gaze), 0.0] for gaze in GAZES])
        for eye in ("eye_left", "eye_right"):
            head.joint_rotations[MOVING:, head_model.joint(eye)] = axis_angle_to_matrix(looks)
        self.pictures = [renderer.render(i).image for i in range(frames)]
        track = project_landmarks(head_model, head, head_model(head).vertices, renderer.camera)
        self.landmarks = track.landmarks[..., :2]


@pytest.fixture(scope="module")
def speaker(anny) -> Speaker:
    return Speaker(anny)


def detected(folder: Path, pictures: list[np.ndarray]) -> LandmarkTrack:
    write_video(folder / "clip.mp4", pictures, FPS)
    return MediaPipeDetector().detect(folder / "clip.mp4", lambda: None)


def error(track: LandmarkTrack, true: np.ndarray, anny) -> float:
    """Mean distance to true landmarks ``[T, 478, 2]`` in face heights in the worst frame."""
    numbers = landmark_geometry(anny).numbers
    distance = np.linalg.norm((track.landmarks[..., :2] - true)[:, numbers], axis=-1).mean(1)
    return float((distance / np.ptp(true[:, numbers, 1], axis=1)).max())


def test_a_small_face_in_a_large_frame_is_found_and_named(speaker, anny, tmp_path):
    """An eighth of the width, its face 41 pixels high."""
    side, x, y = 100, 820, 500
    frames = []
    for picture in speaker.pictures[:MOVING]:
        frame = np.full((720, 1280, 3), (140, 150, 160), np.uint8)
        resized = Image.fromarray(picture).resize((side, side), Image.Resampling.BOX)
        frame[y : y + side, x : x + side] = np.asarray(resized)
        frames.append(frame)
    track = detected(tmp_path, frames)
    assert (track.width, track.height) == (1280, 720)
    assert error(track, speaker.landmarks[:MOVING] * side / SIZE + np.float32([x, y]), anny) < 0.035
    [note] = track.notes
    assert "a small face, 4" in note
    assert "pixels high in 1280x720: film closer" in note


@pytest.mark.parametrize(("turns", "words"), [(1, "clockwise"), (3, "counter-clockwise")])
def test_a_head_on_its_side_is_turned_upright(speaker, anny, tmp_path, turns, words):
    turned = [np.ascontiguousarray(np.rot90(picture, turns)) for picture in speaker.pictures[:MOVING]]
    track = detected(tmp_path, turned)
    assert track.notes == [f"the head lies on its side: turned by 90 degrees {words}"]
    assert error(track, speaker.landmarks[:MOVING], anny) < 0.02


def test_a_poster_of_another_subject_is_left_out(speaker, anny, tmp_path):
    """It is the larger face."""
    other = SubjectRenderer(anny, subject_named("b"), 1, 128, seed=0).render(0).image
    poster = np.asarray(Image.fromarray(other).resize((320, 320)))
    frames = []
    for picture in speaker.pictures[:MOVING]:
        frame = np.full((320, 320 + SIZE, 3), (140, 150, 160), np.uint8)
        frame[64:, :SIZE], frame[:, SIZE:] = picture, poster
        frames.append(frame)
    track = detected(tmp_path, frames)
    left_out = "a face that never moves, a poster or a photo in the right of the picture, is left out"
    assert track.notes == [left_out]
    assert error(track, speaker.landmarks[:MOVING] + np.float32([0, 64]), anny) < 0.02


def test_a_hand_before_the_mouth_takes_the_trust_from_its_frames(speaker, tmp_path):
    """A patch of skin with gaps between fingers in three of 15 frames; one more on each side is lost."""
    covered = (6, 7, 8)
    frames, (y, x) = [], np.mgrid[:SIZE, :SIZE]
    for number in range(15):
        picture = speaker.pictures[number % MOVING].copy()
        if number in covered:
            across, down = speaker.landmarks[number % MOVING, list(LIPS)].mean(0)
            hand = ((x - across) / 36) ** 2 + ((y - down - 5) / 28) ** 2 < 1
            picture[hand] = (205, 150, 120)
            for finger in (-18, 0, 18):
                picture[hand & (np.abs(x - across - finger) < 1.5)] = (150, 100, 80)
        frames.append(picture)
    track = detected(tmp_path, frames)
    assert track.valid.all()
    colours = np.stack([landmark_colours(f, marks) for f, marks in zip(frames, track.landmarks, strict=True)])
    trusted, _ = distrust_covered(track, colours)
    assert np.flatnonzero(~trusted.used).tolist() == [5, *covered, 9]


def test_eyes_that_look_aside_are_found_to_within_three_degrees(speaker, anny, tmp_path):
    """Sideways; the detector's irises lie 4 to 6 degrees below those of this subject, wherever it looks."""
    track = detected(tmp_path, speaker.pictures[MOVING:] * 4)
    fit = fit_head(track, anny, settings=FitSettings(pose_steps=40, steps=150))
    x, y, z = fit.head.joint_rotations[:, anny.joint("eye_left"), :, 2].unbind(1)
    yaw, down = torch.rad2deg(torch.atan2(x, z)), torch.rad2deg(torch.asin(-y))
    assert yaw.reshape(4, 3).mean(0).tolist() == pytest.approx(GAZES, abs=3)
    assert down.abs().max() < 8
