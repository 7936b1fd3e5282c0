from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.tracking.detection.clip_checks import (
    check_face_found,
    check_single_shot,
    find_cuts,
    smoothing_times,
)

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
    check_single_shot(track, VIDEO)


def test_no_face(track):
    with pytest.raises(UserError, match=r"clip\.mp4: no face found in any of 30 frames"):
        check_face_found(replace(track, valid=np.zeros(30, bool)), VIDEO)


def test_too_few_tracked_frames(synthetic_track):
    with pytest.raises(UserError, match=r"clip\.mp4: a face in only 3 of 3 frames"):
        check_face_found(synthetic_track(3).track, VIDEO)


def test_cut_to_another_scene_names_frame_and_time(track):
    with pytest.raises(UserError, match=r"clip\.mp4: a cut at frame 17 \(3\.40 s\); trim"):
        check_single_shot(add_cut(track, 17, 0.3), VIDEO)


def test_jump_cut_before_one_background_is_kept_and_not_smoothed_across(track):
    add_cut(track, 17, 0.01)
    check_single_shot(track, VIDEO)
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
