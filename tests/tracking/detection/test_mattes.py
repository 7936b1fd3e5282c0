import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.files.images import write_image
from partnerface.tracking.detection.mattes import HeadCrop, collect_mattes, mattes_digest, user_mattes


def test_median_of_three_agrees_with_numpy():
    mattes = np.random.default_rng(0).integers(0, 256, (9, 6, 5)).astype(np.uint8)
    expected = mattes.copy()
    for i in range(1, 8):
        expected[i] = np.median(mattes[i - 1 : i + 2], axis=0)
    found = np.empty_like(mattes)
    collect_mattes(iter(mattes), found)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("count", [1, 2])
def test_median_of_a_tiny_clip_changes_nothing(count):
    mattes = np.random.default_rng(1).integers(0, 256, (count, 4, 4)).astype(np.uint8)
    found = np.empty_like(mattes)
    collect_mattes(iter(mattes), found)
    np.testing.assert_array_equal(found, mattes)


def test_user_mattes_are_cropped_like_the_frames(tmp_path):
    for i in range(2):
        write_image(tmp_path / f"{i:03d}.png", np.full((40, 60), 100 + i, np.uint8))
    found = list(user_mattes(tmp_path, HeadCrop(10, 0, 40, 20), 60, 40, 2))
    assert [m.shape for m in found] == [(20, 20)] * 2
    assert [int(m.mean()) for m in found] == [100, 101]


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
