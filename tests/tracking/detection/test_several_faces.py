"""Living faces and photos, by landmarks of a known head that moves and of one that does not."""

from pathlib import Path

import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.tracking.detection.several_faces import (
    SeenFace,
    cover_faces,
    face_motion,
    follow_faces,
    follows_any,
    require_one_person,
    still_face_note,
)

FRAMES = 20
AWAY = np.float32([400, 10, 0])


@pytest.fixture(scope="module")
def moving(synthetic_track):
    return synthetic_track(FRAMES).track


@pytest.fixture(scope="module")
def photo(moving):
    """The first face beside the others, as a detector sees it in a noisy video."""
    height = np.ptp(moving.landmarks[0, :, 1])
    noise = np.random.default_rng(0).normal(size=moving.landmarks.shape)
    return (moving.landmarks[0] + AWAY + 0.003 * height * noise).astype(np.float32)


def test_faces_are_told_apart_by_place_and_motion(moving, photo):
    """The order within a picture changes; a false detection comes twice."""
    pictures = []
    for frame in range(FRAMES):
        faces = [moving.landmarks[frame], photo[frame]][:: (-1) ** frame]
        pictures.append((2 * frame, faces + [photo[frame] + 500] * (frame in (3, 4))))
    living, still = sorted(follow_faces(pictures), key=lambda face: face.landmarks[0, 0, 0])
    assert (living.moves, still.moves) == (True, False)
    np.testing.assert_array_equal(living.landmarks, moving.landmarks[:, :468, :2])
    np.testing.assert_array_equal(still.landmarks, photo[:, :468, :2])
    assert living.frames.tolist() == list(range(0, 2 * FRAMES, 2))
    assert "photo in the right of" in still_face_note(still, 640)
    assert "photo in the middle of" in still_face_note(still, 1000)


def test_a_photo_before_a_moving_camera_stands_still(moving, photo):
    """Shift, roll and zoom leave its shape, whose motion is that of the noise."""
    time = np.linspace(0, 1, FRAMES)[:, None]
    points = photo[:, :468, 0] + 1j * photo[:, :468, 1]
    filmed = points * (1 + 0.3 * time) * np.exp(0.3j * time) + 80 * time
    seen = np.stack([filmed.real, filmed.imag], -1)
    assert face_motion(seen) == pytest.approx(face_motion(photo[:, :468, :2]), rel=0.2)
    assert not SeenFace(np.arange(FRAMES), seen).moves
    assert face_motion(moving.landmarks[:, :468, :2]) > 0.02


def test_two_living_faces_are_refused_unless_one_is_far_behind(moving):
    def seen(scale, start):
        points = scale * moving.landmarks[start:, :468, :2] + 300 * (scale < 1)
        return SeenFace(np.arange(start, FRAMES), points)

    with pytest.raises(UserError, match=r"a\.mp4: several faces, first at frame 6 \(1\.20 s\); crop"):
        require_one_person([seen(1, 0), seen(0.6, 6)], moving.timestamps, Path("a.mp4"))
    require_one_person([seen(1, 0), seen(0.4, 6)], moving.timestamps, Path("a.mp4"))
    require_one_person([], moving.timestamps, Path("a.mp4"))


def test_a_person_who_changes_place_is_one_person(moving):
    """Never in both places in one picture."""
    before = SeenFace(np.arange(0, 10), np.zeros((10, 468, 2)) + [[0, 0], [50, 80]] * 234)
    after = SeenFace(np.arange(12, 20), before.landmarks[:8] + 400)
    require_one_person([before, after], np.arange(30) / 5, Path("a.mp4"))
    both = SeenFace(np.arange(5, 20), np.concatenate([after.landmarks, after.landmarks[:7]]))
    with pytest.raises(UserError, match=r"first at frame 5 \(1.00 s\)"):
        require_one_person([before, both], np.arange(30) / 5, Path("a.mp4"))


def test_a_cover_hides_the_photo_wherever_no_living_face_passes(moving, photo):
    image = np.random.default_rng(1).integers(0, 256, (300, 700, 3), np.uint8)
    still = SeenFace(np.array([0, FRAMES - 1]), np.stack([photo[0, :468, :2], photo[0, :468, :2] - [80, 0]]))
    frame = (FRAMES - 1) // 2
    low, high = still.box(frame)
    np.testing.assert_allclose(
        [low, high],
        [photo[0, :468, :2].min(0) - [80 * frame / 19, 0], photo[0, :468, :2].max(0) - [80 * frame / 19, 0]],
        rtol=1e-5,
    )
    margin = 0.35 * still.height
    y, x = np.mgrid[:300, :700]
    inside = (x > low[0] - margin + 1) & (x < high[0] + margin - 1)
    inside &= (y > low[1] - margin + 1) & (y < high[1] + margin - 1)
    outside = (x < low[0] - margin - 1) | (x > high[0] + margin + 1)
    outside |= (y < low[1] - margin - 1) | (y > high[1] + margin + 1)
    covered = cover_faces(image, frame, [still], [])
    np.testing.assert_array_equal(covered[outside], image[outside])
    assert np.abs(covered[inside] - image.mean((0, 1))).max() < 1
    half = SeenFace(still.frames, still.landmarks + np.array([np.ptp(still.landmarks[0, :, 0]), 0]))
    passing = cover_faces(image, frame, [still], [half])
    kept = inside & (x > half.box(frame)[0, 0] - margin + 1)
    np.testing.assert_array_equal(passing[kept], image[kept])
    assert np.ptp(passing[inside & (x < half.box(frame)[0, 0] - margin - 1)], axis=0).max() == 0


def test_a_track_that_once_jumped_to_the_photo_follows_it(moving, photo):
    still = SeenFace(np.arange(FRAMES), photo[:, :468, :2])
    assert not follows_any(moving, [still])
    jumped = moving.selected(np.arange(FRAMES))
    jumped.landmarks[7] = photo[7]
    assert follows_any(jumped, [still])
    jumped.valid[7] = False
    assert not follows_any(jumped, [still])
