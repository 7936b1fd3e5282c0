from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.files.images import write_image
from partnerface.files.video_reading.read import VideoFile
from partnerface.tracking.detection.mattes import (
    HeadCrop,
    check_mattes,
    mattes_digest,
    remove_flicker,
    user_mattes,
)


def test_median_of_three_agrees_with_numpy():
    mattes = np.random.default_rng(0).integers(0, 256, (9, 6, 5)).astype(np.uint8)
    expected = mattes.copy()
    for i in range(1, 8):
        expected[i] = np.median(mattes[i - 1 : i + 2], axis=0)
    remove_flicker(mattes, np.arange(9) / 10)
    np.testing.assert_array_equal(mattes, expected)


def test_frames_on_either_side_of_a_gap_have_no_median():
    """One frame is lost between 3 and 4; what only frame 4 shows, right after it, is no flicker."""
    mattes = np.random.default_rng(0).integers(0, 256, (9, 6, 5)).astype(np.uint8)
    expected = mattes.copy()
    for i in (1, 2, 5, 6, 7):
        expected[i] = np.median(mattes[i - 1 : i + 2], axis=0)
    times = np.arange(9) / 15
    times[4:] += 1 / 15
    remove_flicker(mattes, times)
    np.testing.assert_array_equal(mattes, expected)


@pytest.mark.parametrize("count", [1, 2])
def test_median_of_a_tiny_clip_changes_nothing(count):
    mattes = np.random.default_rng(1).integers(0, 256, (count, 4, 4)).astype(np.uint8)
    kept = mattes.copy()
    remove_flicker(mattes, np.arange(count) / 25)
    np.testing.assert_array_equal(mattes, kept)


def test_user_mattes_are_cropped_like_the_frames(tmp_path):
    for i in range(2):
        write_image(tmp_path / f"{i:03d}.png", np.full((40, 60), 100 + i, np.uint8))
    found = list(user_mattes(tmp_path, HeadCrop(10, 0, 40, 20), 60, 40, 2))
    assert [m.shape for m in found] == [(20, 20)] * 2
    assert [int(m.mean()) for m in found] == [100, 101]


def test_user_mattes_are_in_the_order_of_their_numbers(tmp_path):
    for i in range(1, 12):
        write_image(tmp_path / f"{i}.png", np.full((8, 8), i, np.uint8))
    # What macOS leaves beside each file is none.
    (tmp_path / "._1.png").write_bytes(b"no picture")
    found = list(user_mattes(tmp_path, HeadCrop(0, 0, 8, 8), 8, 8, 11))
    assert [int(m.mean()) for m in found] == list(range(1, 12))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_user_mattes_are_turned_as_the_video_is(turns, tmp_path):
    """Mattes of a video that was filmed on its side or upside down, made of the frames as they are."""
    matte = np.random.default_rng(turns).integers(0, 256, (40, 60)).astype(np.uint8)
    write_image(tmp_path / "0.png", matte)
    upright = np.rot90(matte, turns)
    height, width = upright.shape
    [found] = user_mattes(tmp_path, HeadCrop(4, 2, 30, 30), width, height, 1, quarter_turns=turns)
    np.testing.assert_array_equal(found, upright[2:32, 4:34])
    other = (60, 40) if turns % 2 else (40, 60)
    with pytest.raises(UserError, match="60x40, but the video is 40x60"):
        list(user_mattes(tmp_path, HeadCrop(0, 0, 30, 30), *other, 1, quarter_turns=turns))


def test_mattes_of_another_video_are_found_out_by_their_headers(tmp_path):
    """They are about as many as the frames, some of which may be lost, and of their size, maybe turned."""
    for i in range(20):
        write_image(tmp_path / f"{i}.png", np.zeros((40, 60), np.uint8))
    slide, film = VideoFile(Path("a"), 30, 30, 25, 1), VideoFile(Path("a"), 60, 40, 25, 21)
    check_mattes(tmp_path, [slide, film])
    check_mattes(tmp_path, [replace(film, width=40, height=60)])
    with pytest.raises(UserError, match="20 mattes for a video of 40 frames"):
        check_mattes(tmp_path, [replace(film, num_frames=40)])
    with pytest.raises(UserError, match=r"0\.png: 60x40, but the video is 61x40"):
        check_mattes(tmp_path, [replace(film, width=61)])


def test_alpha_of_a_cut_out_is_its_matte(tmp_path):
    """A dark head in front of nothing, whose colours behind the alpha are bright."""
    cut_out = np.full((8, 8, 4), 250, np.uint8)
    cut_out[:, :4] = (10, 10, 10, 255)
    cut_out[:, 4:, 3] = 0
    write_image(tmp_path / "0.png", cut_out)
    opaque = np.full((8, 8, 4), 255, np.uint8)
    opaque[:, :4, :3] = 0
    write_image(tmp_path / "1.png", opaque)
    mattes = list(user_mattes(tmp_path, HeadCrop(0, 0, 8, 8), 8, 8, 2))
    assert [m[0].tolist() for m in mattes] == [[255] * 4 + [0] * 4, [0] * 4 + [255] * 4]


def test_wrong_number_or_size_of_user_mattes(tmp_path):
    write_image(tmp_path / "000.png", np.zeros((40, 60), np.uint8))
    with pytest.raises(UserError, match="1 mattes for a video of 2 frames"):
        list(user_mattes(tmp_path, HeadCrop(0, 0, 40, 40), 60, 40, 2))
    with pytest.raises(UserError, match=r"000\.png: 60x40, but the video is 80x40"):
        list(user_mattes(tmp_path, HeadCrop(0, 0, 40, 40), 80, 40, 1))


def test_a_folder_of_mattes_that_is_missing_or_holds_none(tmp_path):
    for name, line in (("none", "none: no such folder"), ("empty", "empty: holds no image file")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=f"--mattes .*{line}"):
            mattes_digest(tmp_path / name)
        with pytest.raises(UserError, match=f"--mattes .*{line}"):
            list(user_mattes(tmp_path / name, HeadCrop(0, 0, 40, 40), 60, 40, 2))
