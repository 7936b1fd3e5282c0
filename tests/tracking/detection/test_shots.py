"""Light, late faces, stalls and copies: what is a cut, and what counts as data."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import zoom

from partnerface.errors import UserError
from partnerface.tracking.detection.frame_choice import choose_frames
from partnerface.tracking.detection.landmark_track import COPY_CHANGE
from partnerface.tracking.detection.picture_changes import PictureChanges
from partnerface.tracking.detection.shots import (
    SAME_BACKGROUND_CHANGE,
    check_face_found,
    find_cuts,
    find_stalls,
    frame_rate,
    picture_rate,
    single_shot,
    smoothing_times,
    stall_notes,
)

VIDEO = Path("clip.mp4")


@pytest.fixture
def track(synthetic_track):
    return synthetic_track(30).track


def _scene(seed: int, size: int = 128) -> np.ndarray:
    """A picture of soft blobs, ``[H, W, 3]`` in [0, 255]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    image = np.zeros((size, size, 3))
    for _ in range(12):
        centre, width = rng.uniform(0, 1, 2), rng.uniform(0.05, 0.2)
        blob = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / width**2)
        image += blob[..., None] * rng.uniform(0, 180, 3)
    return image.clip(0, 255)


def _changes(pictures) -> tuple[np.ndarray, np.ndarray]:
    change = PictureChanges()
    for picture in pictures:
        change(np.asarray(picture).round().astype(np.uint8))
    return np.array(change.found).T[:2]


def _seen(track, pictures, valid=None):
    content, background = _changes(pictures)
    valid = np.ones(30, bool) if valid is None else valid
    landmarks = np.where(valid[:, None, None], track.landmarks, np.nan).astype(np.float32)
    return replace(
        track,
        content_change=content,
        face_change=content,
        background_change=background,
        valid=valid,
        landmarks=landmarks,
    )


def _quiet(count: int, seed: int = 0) -> list[np.ndarray]:
    """A scene with a blob that moves, so that no frame is a copy."""
    y, x = np.mgrid[:128, :128]
    blobs = [60 * np.exp(-((x - 50 - k % 9) ** 2 + (y - 60) ** 2) / 200) for k in range(count)]
    return [(_scene(seed) + blob[..., None]).clip(0, 255) for blob in blobs]


@pytest.mark.parametrize("dark", ["black", "fading", "brightens at once"])
def test_light_is_no_cut(track, dark):
    gains = np.ones(30)
    if dark == "black":
        gains[:12] = 0
    elif dark == "fading":
        gains[:12] = np.linspace(0, 1, 13)[:12] ** 2
    else:
        gains[:12] = 0.4
    seen = _seen(
        track, [gain * picture for gain, picture in zip(gains, _quiet(30), strict=True)], gains > 0.02
    )
    assert find_cuts(seen) == []
    assert single_shot(seen, VIDEO) is seen
    assert not seen.copies[12]


def test_another_scene_after_black_is_a_cut(track):
    pictures = [*_quiet(15, 0), *[np.zeros((128, 128, 3))] * 3, *_quiet(12, 1)]
    seen = _seen(track, pictures, np.array([k not in (15, 16, 17) for k in range(30)]))
    with pytest.raises(UserError, match=r"a cut at frame 18 \(3\.60 s\)"):
        single_shot(seen, VIDEO)


FADE = np.r_[np.ones(8), np.linspace(1, 0, 6)[1:], 0, 0, np.linspace(0, 1, 6)[1:], np.ones(10)]
"""Light of 30 frames; 12 to 14 are black."""


def _lit(pictures, towards: float = 0.0) -> list[np.ndarray]:
    """Pictures that fade out to a grey level and in again."""
    return [towards + gain * (picture - towards) for gain, picture in zip(FADE, pictures, strict=True)]


@pytest.mark.parametrize("towards", [0, 255], ids=["black", "white"])
@pytest.mark.parametrize("found_from", [0.1, 0.9], ids=["found in the dark", "found when bright"])
def test_another_scene_that_fades_in_is_a_cut(track, towards, found_from):
    """Whether the face is found at once or later: no frame differs much from the one before it."""
    other = [*_quiet(15, 0), *_quiet(15, 1)]
    faces = found_from <= FADE
    seen = _seen(track, _lit(other, towards), faces)
    with pytest.raises(UserError, match=r"a cut at frame 15 \(3\.00 s\)"):
        single_shot(seen, VIDEO)
    one = _seen(track, _lit(_quiet(30), towards), faces)
    assert find_cuts(one) == []
    assert single_shot(one, VIDEO) is one


@pytest.mark.parametrize("closer", [True, False])
def test_a_jump_to_a_closer_framing_is_a_cut(track, closer):
    """Of the same scene, in its middle; the detector's filter follows the face within frames. A mouth that is
    opened as far at once, by which little of the picture changes, is none.
    """
    pictures, grown = _quiet(30), track.landmarks.copy()
    if closer:
        pictures[15:] = [zoom(picture[15:113, 15:113], (1.3, 1.3, 1), order=1) for picture in pictures[15:]]
        pictures[15:] = [picture[:127, :127] for picture in pictures[15:]]
        pictures[:15] = [picture[:127, :127] for picture in pictures[:15]]
    for k in range(15, 30):
        middle = grown[k].mean(0)
        grown[k] = middle + (1.16 if k == 15 else 1.3) * (grown[k] - middle)
    assert find_cuts(_seen(replace(track, landmarks=grown), pictures)) == ([15] if closer else [])


def test_a_title_that_fades_out_before_the_person_fades_in(track):
    valid = (np.arange(30) > 14) & (FADE > 0.1)
    kept = single_shot(_seen(track, _lit([*_quiet(15, 2), *_quiet(15, 0)]), valid), VIDEO)
    assert np.flatnonzero(kept.valid).tolist() == np.flatnonzero(valid).tolist()
    assert kept.notes == ["frames of another scene without a face, not used: 0-14"]


@pytest.mark.parametrize("what", ["hand on the lens", "half a picture", "lamp with its switch on the wall"])
def test_what_is_seen_just_before_and_after_the_dark_is_no_cut(track, what):
    pictures, valid = _lit(_quiet(30)), FADE > 0.1
    if what == "hand on the lens":
        for shown, frame in enumerate((*range(8, 13), *range(19, 14, -1))):
            pictures[frame] = _quiet(30)[frame]
            pictures[frame][:, : 24 * (shown % 5 + 1)] = 25
    elif what == "half a picture":
        pictures[8:20] = [0 * pictures[0]] * 12
        pictures[7][64:] = pictures[20][:64] = 0
    else:
        # It is switched off, somebody's phone shines, and it is switched on again.
        pictures[8:20] = [0 * pictures[0]] * 12
        pictures[12] = 0.3 * _quiet(30)[12]
        valid[8:20] = False
    seen = _seen(track, pictures, valid)
    assert single_shot(seen, VIDEO) is seen


def test_a_scene_without_a_face_before_the_face_is_left_out(track):
    """A title, in which a face was found by mistake once."""
    valid = np.array([k >= 7 or k == 3 for k in range(30)])
    seen = _seen(track, [*_quiet(7, 2), *_quiet(23, 0)], valid)
    assert find_cuts(seen) == [7]
    kept = single_shot(seen, VIDEO)
    assert np.flatnonzero(kept.valid).tolist() == list(range(7, 30))
    assert kept.notes == ["frames of another scene without a face, not used: 0-6"]
    assert single_shot(kept, VIDEO).notes == kept.notes


@pytest.mark.parametrize("leaves", [False, True])
def test_a_person_who_walks_in_or_out_is_no_cut(track, leaves):
    """An opaque figure enters from the left within two seconds, or leaves; the face is found while inside."""
    y, x = np.mgrid[:128, :128]
    pictures = []
    for k, scene in enumerate(_quiet(30)):
        body = (np.abs(x - min(-30 + 10 * k, 64)) < 30) & (y > 30)
        pictures.append(np.where(body[..., None], [200, 150, 120], scene))
    order = slice(None, None, -1) if leaves else slice(None)
    inside = (np.arange(30) >= 7)[order]
    seen = _seen(track, pictures[order], inside)
    assert single_shot(seen, VIDEO) is seen


def test_copies_are_found_and_count_for_nothing(track):
    pictures = _quiet(30)
    pictures[10:20] = [pictures[9]] * 10
    seen = _seen(track, pictures)
    assert np.flatnonzero(seen.copies).tolist() == list(range(10, 20))
    assert np.flatnonzero(seen.used).tolist() == [*range(10), *range(20, 30)]
    assert find_stalls(seen) == [20]
    assert stall_notes(seen) == [
        "no new picture for 2.20 s from 1.80 s on",
        "10 frames are copies of those before them and do not count as data",
    ]
    steps = np.diff(smoothing_times(seen))
    assert steps[19] == pytest.approx(1.2)
    still = _seen(track, [pictures[0]] * 25 + pictures[:5])
    with pytest.raises(UserError, match="only 5 of 30 frames with a face differ"):
        check_face_found(still, VIDEO)


@pytest.mark.parametrize("shown", [(2,), (2, 3), (1, 1, 1, 2)], ids=["30 in 60", "24 in 60", "24 in 30"])
def test_slower_pictures_in_a_faster_video_lose_their_copies(track, shown):
    """Each picture is shown so many times, in turn; the last third stands still, which is no rate."""
    numbers = [k for k in range(20) for _ in range(shown[k % len(shown)])][:20]
    new = np.flatnonzero(np.diff([-1, *numbers]))
    pictures = _quiet(20)
    seen = _seen(track, [pictures[k] for k in numbers + [numbers[-1]] * 10])
    rate = len(shown) / sum(shown) * seen.fps
    assert picture_rate(seen) == pytest.approx(rate, rel=0.05)
    assert choose_frames(seen).tolist() == new.tolist()
    assert stall_notes(seen)[-1].startswith(f"{picture_rate(seen):.3g} new pictures per second among ")
    shown_once = seen.selected(new)
    assert not shown_once.copies[1:].any()
    assert shown_once.used.all()


def test_a_still_opening_does_not_slow_the_pictures_down(track):
    """Six frames of the first picture, then a new one in each: 20.7 a second, were that a rate."""
    pictures = _quiet(30)
    pictures[:6] = [pictures[0]] * 6
    seen = _seen(track, pictures)
    assert find_stalls(replace(seen, timestamps=seen.timestamps / 5)) == []
    even = replace(seen, timestamps=seen.timestamps / 5, fps=5 * seen.fps)
    assert picture_rate(even) == even.fps
    assert stall_notes(even) == ["5 frames are copies of those before them and do not count as data"]


def test_a_gap_in_time_is_neither_smoothed_nor_cut(track):
    """After three seconds without a frame the head is elsewhere."""
    track.timestamps[17:] += 3.0
    track.content_change[17] = 0.1
    track.landmarks[17:, :, 0] += 60
    assert find_stalls(track) == [17]
    assert frame_rate(track.timestamps) == pytest.approx(5)
    assert find_cuts(track) == []
    assert np.diff(smoothing_times(track))[16] == pytest.approx(0.2 + 3 + 1)
    assert stall_notes(track) == ["no new picture for 3.20 s from 3.20 s on"]
    track.content_change[17], track.background_change[17] = 0.3, 2 * SAME_BACKGROUND_CHANGE
    with pytest.raises(UserError, match="a cut at frame 17"):
        single_shot(track, VIDEO)


def test_frames_of_a_long_video_are_chosen_by_variety(synthetic_track):
    """Ten minutes of one face, in which three seconds differ: these are among the frames chosen."""
    short = synthetic_track(30).track
    frames = 3000
    rng = np.random.default_rng(0)
    scores = 0.1 * rng.random((frames, len(short.score_names)), np.float32)
    rare = np.r_[700:705, 1500:1505, 2890:2895]
    scores[rare, 5] += 1
    scores[1500:1505, 9] += 1
    long = replace(
        short,
        landmarks=np.zeros((frames, 478, 3), np.float32),
        scores=scores,
        face_matrices=np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1)),
        valid=np.arange(frames) != 702,
        trusted=np.ones(frames, bool),
        content_change=np.full(frames, 0.005),
        face_change=np.where(np.arange(frames) == 1501, 0, 0.005),
        background_change=np.zeros(frames),
        timestamps=np.arange(frames) / 5,
    )
    chosen = choose_frames(long, 200)
    assert len(chosen) == 200
    assert (np.diff(chosen) > 0).all()
    assert set(rare) - set(chosen) == {702, 1501}
    # Whole seconds: nearly every frame has a neighbour.
    assert np.isin(chosen + 1, chosen).mean() > 0.75
    even = np.linspace(0, frames - 1, 200).astype(int)

    def farthest(some):
        return max(np.linalg.norm(scores[some] - scores[k], axis=1).min() for k in rare)

    assert farthest(chosen) < 0.5 < farthest(even)
    np.testing.assert_array_equal(choose_frames(long, frames), np.arange(frames))
    part = long.selected(chosen)
    assert len(part) == 200
    np.testing.assert_array_equal(part.timestamps, chosen / 5)


@pytest.mark.parametrize("noise", [0, 2])
def test_a_small_head_before_a_still_background_is_no_copy(noise):
    """110 pixels high in a picture of 640x360: a mouth of a few pixels that moves, and then a stall."""
    rng = np.random.default_rng(0)
    background = rng.integers(0, 255, (45, 80, 3)).repeat(8, 0).repeat(8, 1).astype(float)
    landmarks = np.array([[290, 120], [360, 120], [325, 230], [325, 175]], float)
    change = PictureChanges()
    for frame in range(20):
        if frame < 15:
            picture, shift = background.copy(), frame % 2
            picture[120:230, 290 + shift : 360 + shift] = (200, 150, 120)
            picture[200 : 203 + 3 * (frame % 3), 310 + shift : 340 + shift] = 60
            picture += rng.normal(0, noise, picture.shape)
        change(picture.clip(0, 255).round().astype(np.uint8), landmarks)
    around = np.array(change.found)[1:, 2]
    assert (around[:14] > COPY_CHANGE).all()
    assert (around[15:] < COPY_CHANGE).all()
    if not noise:
        assert (around[:14] > 1.5 * np.array(change.found)[1:15, 0]).all()


def test_frames_of_a_quarter_of_an_hour_are_chosen_in_little_memory():
    """With 100 megabytes beyond the track itself; all distances between its frames would be 1.6 gigabytes."""
    code = """
import resource
import numpy as np
from pathlib import Path
from partnerface.tracking.detection.frame_choice import choose_frames
from partnerface.tracking.detection.landmark_track import LandmarkTrack
many, random = 20000, np.random.default_rng(0)
track = LandmarkTrack(
    landmarks=np.zeros((many, 478, 3), np.float32), scores=random.random((many, 52), np.float32),
    score_names=[str(i) for i in range(52)], face_matrices=random.random((many, 4, 4), np.float32),
    valid=np.ones(many, bool), content_change=np.ones(many), background_change=np.ones(many),
    timestamps=np.arange(many) / 25, fps=25.0, width=512, height=512, model_sha256="", mode="VIDEO",
)
used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + 100 * 2**20,) * 2)
print(len(choose_frames(track, 1000)))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.stdout == "1000\n", done.stderr
