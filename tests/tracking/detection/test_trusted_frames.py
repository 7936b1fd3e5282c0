"""Covered and cut faces: pictures of a rendered head whose landmarks are known, also with a hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from pytorch3d.transforms import euler_angles_to_matrix

from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.tracking.detection.glasses import bridge_contrast, glasses_note
from partnerface.tracking.detection.trusted_frames import (
    distrust_covered,
    distrust_cut,
    distrust_wrong,
    landmark_colours,
    likeness,
)
from partnerface.tracking.fit.head_fit import FitSettings
from partnerface.tracking.fit.problem import fit_head
from tests.tracking.conftest import project_landmarks

FRAMES, SIZE = 20, 128
HAND = [8, 9, 10, 11]


@pytest.fixture(scope="module")
def speaking(anny):
    """Pictures of a subject that speaks, and where a detector without error finds the landmarks."""
    subject = SubjectRenderer(anny, subject_named("a"), FRAMES, SIZE, seed=0)
    with torch.no_grad():
        vertices = anny(subject.head).vertices
    track = project_landmarks(anny, subject.head, vertices, subject.camera)
    return track, [subject.render(i).image for i in range(FRAMES)]


def _with_hand(image: np.ndarray, landmarks: np.ndarray, low: float = 0) -> np.ndarray:
    """A patch of the forehead's colour with stripes for fingers, from the nose to below the chin.

    It lies lower by a share of the face's height.
    """
    y, x = np.mgrid[:SIZE, :SIZE]
    (middle, lips), height = landmarks[[13, 14], :2].mean(0), np.ptp(landmarks[:468, 1])
    forehead = image[tuple(landmarks[151, :2].astype(int)[::-1])]
    stripes = 15 * np.sin((x - middle) / (0.02 * height))[..., None]
    inside = ((x - middle) / (0.32 * height)) ** 2 + ((y - lips - low * height) / (0.3 * height)) ** 2 < 1
    return np.where(inside[..., None], (forehead + stripes).clip(0, 255), image).astype(np.uint8)


def test_a_hand_before_the_mouth_takes_the_weight_and_speech_and_light_do_not(speaking):
    track, pictures = speaking
    light = np.linspace(0.4, 1, FRAMES)
    seen = list(pictures)
    for i in HAND:
        seen[i] = _with_hand(pictures[i], track.landmarks[i])
    for i in (HAND[0] - 1, HAND[-1] + 1):
        seen[i] = _with_hand(pictures[i], track.landmarks[i], low=0.2)
    colours = np.stack(
        [
            landmark_colours((gain * image).astype(np.uint8), track.landmarks[i])
            for i, (gain, image) in enumerate(zip(light, seen, strict=True))
        ]
    )
    found, notes = distrust_covered(track, colours)
    # Two in which it comes and goes, and a frame more either way.
    assert np.flatnonzero(~found.used).tolist() == list(range(6, 14))
    assert notes == [
        "something, such as a hand, covers the mouth in 8 of 20 frames, which have weight 0: 6-13"
    ]
    alike = likeness(colours)
    assert alike[HAND].max() < 0.3
    assert np.delete(alike, range(7, 13)).min() > 0.8
    # What is not used already is neither compared nor counted.
    lost = replace(track, valid=np.arange(FRAMES) != 9)
    assert "in 7 of 20" in distrust_covered(lost, colours)[1][0]


@pytest.mark.parametrize("gain", [0.2, 1.0])
def test_a_bright_background_beside_a_dark_face_is_no_hand(speaking, gain):
    """In every other frame a few landmarks at the jaw lie on a window behind the head."""
    track, pictures = speaking
    dark = [(gain * image).astype(np.uint8) for image in pictures]
    hands = [
        (gain * _with_hand(image, track.landmarks[i])).astype(np.uint8) if i in HAND else dark[i]
        for i, image in enumerate(pictures)
    ]
    for seen, covered in ((dark, []), (hands, [7, *HAND, 12])):
        colours = np.stack([landmark_colours(image, track.landmarks[i]) for i, image in enumerate(seen)])
        for i in range(0, FRAMES, 2):
            colours[i, [40 + i % 3, 43, 58 - i % 4]] = 240
        found, _ = distrust_covered(track, colours)
        assert np.flatnonzero(~found.used).tolist() == covered


@pytest.mark.parametrize(("width", "colour"), [(1, 60), (2, 20), (1, 230)])
def test_glasses_are_named_and_a_bare_nose_is_not(speaking, width, colour):
    """Two rings and a bridge are painted over the known eyes."""
    track, pictures = speaking
    bare = [bridge_contrast(image, points) for image, points in zip(pictures, track.landmarks, strict=True)]
    assert glasses_note(bare) == glasses_note([]) == []
    worn = []
    for image, points in zip(pictures, track.landmarks, strict=True):
        picture = Image.fromarray(image)
        draw = ImageDraw.Draw(picture)
        inner = points[[133, 362], :2]
        for eye, corner in zip(inner, points[[33, 263], :2], strict=True):
            centre, radius = (eye + corner) / 2, 0.75 * np.linalg.norm(eye - corner)
            draw.ellipse((*(centre - radius), *(centre + radius)), outline=(colour,) * 3, width=width)
        draw.line([tuple(point) for point in inner.tolist()], fill=(colour,) * 3, width=width)
        worn.append(bridge_contrast(np.asarray(picture), points))
    [note] = glasses_note(worn)
    assert "reflections" in note
    assert "not modelled" in note


def test_a_clip_that_differs_everywhere_keeps_its_frames(speaking):
    """Noise under the landmarks in half of the frames is no hand."""
    track, pictures = speaking
    colours = np.stack([landmark_colours(image, track.landmarks[i]) for i, image in enumerate(pictures)])
    colours[::2] = np.random.default_rng(0).uniform(0, 255, colours[::2].shape)
    assert distrust_covered(track, colours) == (track, [])


def test_faces_that_the_edge_cuts_are_counted(synthetic_track):
    track = synthetic_track(20).track
    widths = np.ptp(track.landmarks[:, :468, 0], axis=1)
    # A tenth of the face outside, then more than a half.
    for frame, share in ((3, 0.1), (4, 0.6), (5, 0.6)):
        track.landmarks[frame, :, 0] -= track.landmarks[frame, :468, 0].min() + share * widths[frame]
    found, notes = distrust_cut(track)
    assert np.flatnonzero(~found.used).tolist() == [4, 5]
    assert notes == ["the picture's edge cuts the face in 2 of 20 frames, which have weight 0: 4-5"]
    track.landmarks[..., 0] -= 150
    found, notes = distrust_cut(track)
    assert found.used.all()
    assert notes[0].endswith("which are used for lack of others")


def test_the_jaw_stays_where_a_covered_mouth_is_drawn_open(anny, synthetic_track):
    """A detector takes a hand for a mouth that is wide open; the frames' neighbours say that it is not."""
    made = synthetic_track(16)
    jaw = anny.expression_index("jawOpen")
    truth = made.head.expression[:, jaw].clone()
    wide = replace(made.head, expression=made.head.expression.clone())
    wide.expression[HAND, jaw] = 1.0 - truth[HAND].round()
    with torch.no_grad():
        drawn = project_landmarks(anny, wide, anny(wide).vertices, made.camera)

    def error(track):
        fit = fit_head(track, anny, settings=FitSettings(pose_steps=30, steps=100))
        return (fit.head.expression[:, jaw] - truth).abs()[HAND].max()

    trusted = np.ones(16, bool)
    trusted[HAND] = False
    # A straight line between the neighbours, where the jaw really moves by 0.3.
    assert error(replace(drawn, trusted=trusted)) < 0.2 < 0.3 < error(drawn)


def test_wrong_landmarks_of_a_head_turned_far_aside_are_found_and_bridged(anny, synthetic_track):
    """Up to 58 degrees; in some of the frames beyond 45 a detector draws a face of another yaw beside it."""
    made = synthetic_track(24)
    yaw = torch.deg2rad(58 * torch.sin(torch.linspace(0, torch.pi, 24)))
    head = replace(made.head, rotation=euler_angles_to_matrix(torch.stack([yaw, 0 * yaw, 0 * yaw], 1), "YXZ"))
    with torch.no_grad():
        track = project_landmarks(anny, head, anny(head).vertices, made.camera)
    wrong = [11, 12, 13]
    assert torch.rad2deg(yaw[wrong]).min() > 45
    height = np.ptp(track.landmarks[0, :468, 1])
    for frame, other in zip(wrong, (9, 4, 16), strict=True):
        track.landmarks[frame] = track.landmarks[other] + np.float32([0.2, 0.15, 0]) * height
    left, notes = distrust_wrong(track)
    assert np.flatnonzero(~left.used).tolist() == wrong
    assert notes == [
        "the landmarks of a head turned far aside are wrong in 3 of 24 frames, which have weight 0: 11-13"
    ]
    times, settings = np.arange(24) / 25, FitSettings(pose_steps=30, steps=60)

    def error(track):
        fit = fit_head(track, anny, times=times, settings=settings)
        cosine = ((fit.head.rotation.mT @ head.rotation).diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
        return torch.rad2deg(cosine.clamp(-1, 1).acos())[wrong].max()

    assert error(left) < 6 < error(track)


def test_right_landmarks_of_a_head_turned_far_aside_are_kept(anny, synthetic_track):
    """A head that turns to either side and speaks, with a detector's noise."""
    made = synthetic_track(40)
    yaw = 1.0 * torch.sin(torch.linspace(0, 4 * torch.pi, 40))
    head = replace(made.head, rotation=euler_angles_to_matrix(torch.stack([yaw, 0 * yaw, 0 * yaw], 1), "YXZ"))
    with torch.no_grad():
        track = project_landmarks(anny, head, anny(head).vertices, made.camera)
    noise = np.random.default_rng(0).normal(size=track.landmarks.shape)
    track.landmarks += (0.01 * np.nanmedian(track.face_heights()) * noise).astype(np.float32)
    assert distrust_wrong(track) == (track, [])
