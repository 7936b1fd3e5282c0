from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.detection.mattes import HeadCrop, choose_head_crop
from partnerface.tracking.detection.shots import check_face_found, find_cuts, single_shot, smoothing_times


def test_file_gives_the_track_back_with_its_gaps(synthetic_track, tmp_path):
    track = synthetic_track(12, lost=(4,)).track
    track.source = "abc"
    track.save(tmp_path / "landmarks.npz")
    read = LandmarkTrack.load(tmp_path / "landmarks.npz")
    np.testing.assert_array_equal(read.landmarks, track.landmarks)
    np.testing.assert_array_equal(read.valid, track.valid)
    assert np.isnan(read.landmarks[4]).all()
    assert read.score_names == track.score_names
    assert (read.fps, read.width, read.source) == (track.fps, track.width, "abc")
    assert [p.name for p in tmp_path.iterdir()] == ["landmarks.npz"]


def test_damaged_file_is_named(tmp_path):
    path = tmp_path / "landmarks.npz"
    path.write_bytes(b"PK no archive")
    with pytest.raises(UserError, match=r"landmarks\.npz: not a landmark track"):
        LandmarkTrack.load(path)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"landmarks": None}, "no landmarks"),
        ({"landmarks": np.zeros((12, 477, 3))}, "landmarks has shape"),
        ({"scores": np.zeros((11, 52))}, "scores has shape"),
        ({"valid": np.ones(13, bool)}, "valid has shape"),
        ({"landmarks": np.full((12, 478, 3), np.nan)}, "landmarks of a face that was found are not finite"),
        ({"timestamps": np.full(12, np.inf)}, "timestamps are not finite"),
        ({"fps": np.array(0.0)}, "fps is 0"),
        ({"width": np.array("wide")}, "width holds values of type"),
        ({"scores": np.full((12, 52), "a")}, "scores holds values of type"),
    ],
)
def test_fields_that_cannot_be_are_named(synthetic_track, tmp_path, changed, reason):
    """A dataset's folder may hold the landmarks of a stranger, which the tracker reuses."""
    path = tmp_path / "landmarks.npz"
    synthetic_track(12).track.save(path)
    with np.load(path) as archive:
        arrays = {k: v for k, v in {**archive, **changed}.items() if v is not None}
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=rf"landmarks\.npz: not a landmark track \({reason}"):
        LandmarkTrack.load(path)


def test_crop_maps_landmarks_as_it_maps_pixels(synthetic_track):
    """A bright pixel at a landmark stays under the landmark."""
    track = synthetic_track(10).track
    crop = HeadCrop(40, 20, 128, 64)
    x, y = track.landmarks[0, 4, :2]
    image = np.zeros((256, 256, 3), np.uint8)
    image[int(y), int(x)] = 255
    small = crop.apply(image)[..., 0]
    row, column = np.unravel_index(small.argmax(), small.shape)
    moved = track.cropped(crop.offset_x, crop.offset_y, crop.scale, crop.size).landmarks[0, 4]
    assert (int(moved[0]), int(moved[1])) == (column, row)
    np.testing.assert_allclose(moved[2], track.landmarks[0, 4, 2] * 0.5, rtol=1e-6)


def test_crop_holds_every_face_and_stays_inside_the_video(synthetic_track):
    track = synthetic_track().track
    track.landmarks[..., :2] = track.landmarks[..., :2] * 0.5 + [500, 20]
    track.width, track.height = 1280, 720
    crop = choose_head_crop(track, 512)
    assert crop.size % 2 == 0
    assert crop.size <= 512
    assert crop.size <= crop.side
    assert crop.offset_x >= 0
    assert crop.offset_y >= 0
    assert crop.offset_x + crop.side <= 1280
    assert crop.offset_y + crop.side <= 720
    points = track.landmarks[:, :468, :2]
    assert (points.min((0, 1)) >= [crop.offset_x, crop.offset_y]).all()
    assert (points.max((0, 1)) <= [crop.offset_x + crop.side, crop.offset_y + crop.side]).all()


@pytest.mark.parametrize(("share", "heights"), [(0.17, 1.5), (0.4, 2.5)])
def test_a_person_who_leans_aside_for_a_while_stays_in_the_crop(synthetic_track, share, heights):
    track = synthetic_track(60).track
    track.landmarks[..., :2] = track.landmarks[..., :2] * 0.5 + [300, 200]
    track.width, track.height = 1920, 1080
    aside = round(60 * share)
    track.landmarks[20 : 20 + aside, :, 0] += heights * np.nanmedian(track.face_heights())
    crop = choose_head_crop(track, 512)
    x = track.landmarks[:, :468, 0]
    assert x.min() >= crop.offset_x
    assert x.max() <= crop.offset_x + crop.side


def test_one_who_walks_in_does_not_make_the_head_small_for_all_the_time(synthetic_track):
    """Two of sixty frames show the face at the edge of the picture."""
    track = synthetic_track(60).track
    track.landmarks[..., :2] = track.landmarks[..., :2] * 0.5 + [900, 300]
    track.width, track.height = 1920, 1080
    at_rest = choose_head_crop(track, 512)
    track.landmarks[:2, :, 0] -= 850
    assert choose_head_crop(track, 512).side == at_rest.side


def test_video_hardly_larger_than_the_head_is_kept_whole(synthetic_track):
    track = synthetic_track().track
    crop = choose_head_crop(track, 512)
    assert (crop.offset_x, crop.offset_y, crop.side, crop.size) == (0, 0, 256, 256)


VIDEO = Path("clip.mp4")


@pytest.fixture
def track(synthetic_track):
    return synthetic_track(30).track


def add_cut(track, frame, background):
    track.content_change[frame] = 0.25
    track.background_change[frame] = background
    track.landmarks[frame:, :, 0] += 60
    return track


def test_one_shot_of_one_face_passes(track):
    check_face_found(track, VIDEO)
    assert single_shot(track, VIDEO) is track


def test_no_face(track):
    with pytest.raises(UserError, match=r"clip\.mp4: no face found in any of 30 frames"):
        check_face_found(replace(track, valid=np.zeros(30, bool)), VIDEO)


def test_too_few_tracked_frames(synthetic_track):
    with pytest.raises(UserError, match=r"clip\.mp4: a face in only 3 of 3 frames"):
        check_face_found(synthetic_track(3).track, VIDEO)


def test_cut_to_another_scene_names_frame_and_time(track):
    with pytest.raises(UserError, match=r"clip\.mp4: a cut at frame 17 \(3\.40 s\); trim"):
        single_shot(add_cut(track, 17, 0.3), VIDEO)


def test_jump_cut_before_one_background_is_kept_and_not_smoothed_across(track):
    add_cut(track, 17, 0.01)
    assert single_shot(track, VIDEO) is track
    assert find_cuts(track) == [17]
    steps = np.diff(smoothing_times(track))
    np.testing.assert_allclose(np.delete(steps, 16), 0.2)
    np.testing.assert_allclose(steps[16], 1.2)


def test_fast_motion_is_no_cut(track):
    """The picture changes a lot from frame to frame, but not suddenly."""
    track.content_change[:] = 0.05
    track.content_change[12] = 0.15
    assert find_cuts(track) == []


def test_flash_without_a_jump_of_the_face_is_no_cut(track):
    track.content_change[12] = 0.12
    assert find_cuts(track) == []


def test_face_that_is_hidden_for_a_moment_is_no_cut(synthetic_track):
    track = synthetic_track(30, lost=(10, 11)).track
    track.content_change[[10, 12]] = 0.1
    assert find_cuts(track) == []
    track.background_change[10] = 0.2
    assert find_cuts(track) == [10]
