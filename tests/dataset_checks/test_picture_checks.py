"""Checks of pictures: statistics against counting by hand, findings on made-up frames with a known answer."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.regions import Region
from partnerface.dataset_checks.picture_checks import (
    FrameStatistics,
    background_motion,
    check_camera_motion,
    check_framing,
    check_light,
    check_mattes,
    check_motion,
    frame_statistics,
)
from partnerface.errors import UserError
from partnerface.files.images import write_image


@pytest.fixture
def root(synthetic_dataset, tmp_path):
    shutil.copytree(synthetic_dataset, tmp_path / "set")
    return tmp_path / "set"


def test_shares_against_counting_by_hand(root):
    matte = np.zeros((32, 32), np.uint8)
    matte[:8], matte[8:10] = 255, 128
    write_image(root / "fg_masks" / "00005.png", matte)
    found = frame_statistics(PartnerfaceReader(root).read())
    assert found.matte_share[5] == pytest.approx((8 + 2 * 128 / 255) / 32)
    assert found.soft_share[5] == pytest.approx(2 / 10)


def test_digests_are_of_the_pixels_not_of_the_file(root):
    image = Image.open(root / "images" / "00003.png")
    image.save(root / "images" / "00009.png", compress_level=9)
    digests = frame_statistics(PartnerfaceReader(root).read()).digests
    assert len(set(digests)) == 23
    assert digests[3] == digests[9]


def test_a_damaged_picture_is_named(root):
    path = root / "images" / "00007.png"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"images/00007\.png"):
        frame_statistics(PartnerfaceReader(root).read())


def statistics(share=None, soft=None, frames=100, **others) -> FrameStatistics:
    plain = np.full(frames, 0.4)
    values = {
        "luminance": np.zeros((frames, 64, 64), np.float32),
        "background": np.ones((frames, 64, 64), bool),
        "face_light": 300 * plain,
        "cut_share": 0 * plain,
        "side_share": 0 * plain,
    }
    shares = plain if share is None else share, 0.1 * plain if soft is None else soft
    return FrameStatistics([""] * frames, *shares, **(values | others))


def severities(found) -> list[str]:
    return [finding.severity for finding in found]


def test_steady_sharp_mattes_are_fine():
    (finding,) = check_mattes(statistics(), torch.ones(100))
    assert finding.severity == "ok"
    assert finding.values == pytest.approx({"matte_share_median": 0.4, "soft_share_median": 0.04, "jumps": 0})


@pytest.mark.parametrize(("value", "word"), [(0.0, "empty"), (1.0, "full")])
def test_empty_and_full_mattes_by_their_number(value, word):
    for count, severity in ((1, "doubt"), (5, "doubt"), (6, "unfit")):
        share = np.full(100, 0.4)
        share[10 : 10 + count] = value
        first = check_mattes(statistics(share), torch.ones(100))[0]
        assert first.severity == severity
        assert f"{count} of 100 mattes are {word}: frames 10" in first.text


def test_frames_without_a_head_may_have_none():
    share, weights = np.full(100, 0.4), torch.ones(100)
    share[:50], weights[:50] = 0, 0
    assert severities(check_mattes(statistics(share), weights)) == ["ok"]


def test_soft_and_flickering_mattes_are_doubtful():
    assert severities(check_mattes(statistics(soft=np.full(100, 0.5)), torch.ones(100))) == ["doubt"]
    share = np.full(100, 0.4)
    share[::2] = 0.3
    (finding,) = check_mattes(statistics(share), torch.ones(100))
    assert finding.severity == "doubt"
    assert finding.values["jumps"] == 99


def test_a_slow_change_is_no_flicker():
    assert severities(check_mattes(statistics(np.linspace(0.1, 0.9, 100)), torch.ones(100))) == ["ok"]


def test_light_and_cut_against_counting_by_hand(root):
    image, labels = np.full((32, 32, 3), 200, np.uint8), np.zeros((32, 32), np.uint8)
    labels[10:20, 10:20], labels[0, :8] = Region.FACE, Region.HAIR
    labels[12:24, -1], labels[12:16, 0] = Region.HAIR, Region.NECK
    image[10:20, 10:15], image[10:20, 15:20] = (255, 0, 0), (0, 0, 255)
    write_image(root / "images" / "00004.png", image)
    write_image(root / "labels" / "00004.png", labels)
    found = frame_statistics(PartnerfaceReader(root).read())
    assert found.face_light[4] == pytest.approx(255 * (0.299 + 0.114) / 2, abs=0.1)
    assert found.cut_share[4] == 8 / 32
    assert found.side_share[4] == 12 / 32


def test_long_hair_may_leave_the_picture_below_and_a_chin_may_not(root):
    for frame, region in ((4, Region.HAIR), (5, Region.FACE)):
        labels = np.zeros((32, 32), np.uint8)
        labels[-1, 4:20] = region
        write_image(root / "labels" / f"{frame:05d}.png", labels)
    found = frame_statistics(PartnerfaceReader(root).read())
    assert found.side_share[4:6].tolist() == [0, 16 / 32]


NOISE = np.random.default_rng(0)
GRID = (np.arange(64) - 31.5) / 64


def texture(shift_x=0.0, shift_y=0.0, growth=1.0) -> np.ndarray:
    """``[64, 64]`` luminance of a wall with soft patterns, by its formula at shifted and scaled positions."""
    x, y = np.meshgrid((GRID - shift_x) / growth, (GRID - shift_y) / growth)
    return (128 + 40 * np.sin(17 * x + 5 * y) + 30 * np.cos(11 * y - 8 * x + 1)).astype(np.float32)


def grain(frames: int, sigma: float) -> np.ndarray:
    return NOISE.normal(0, sigma, (frames, 64, 64)).astype(np.float32)


def test_a_photo_with_grain_under_a_flickering_lamp_is_a_still_picture():
    lamp = np.linspace(-20, 20, 100)[:, None, None]
    (found,) = check_motion(statistics(luminance=texture() + lamp + grain(100, 3)), torch.ones(100))
    assert found.severity == "unfit"
    assert "still picture" in found.text


def test_a_mouth_alone_is_motion():
    """A seventh of the face's width opens and closes; all else stands still."""
    luminance = np.repeat(texture()[None], 100, 0)
    luminance[::2, 40:44, 28:36] -= 60
    assert severities(check_motion(statistics(luminance=luminance), torch.ones(100))) == ["ok"]
    # Frames without a head do not count.
    weights = torch.ones(100)
    weights[::2] = 0
    assert severities(check_motion(statistics(luminance=luminance), weights)) == ["unfit"]


@pytest.mark.parametrize(
    ("light", "severity"), [(8, "unfit"), (19, "unfit"), (21, "doubt"), (44, "doubt"), (46, "ok")]
)
def test_dark_faces(light, severity):
    lights = np.full(100, float(light))
    lights[:20] = np.nan
    assert severities(check_light(statistics(face_light=lights), torch.ones(100))) == [severity]


def test_hair_at_the_upper_edge_in_more_than_a_tenth_of_the_frames():
    for frames, severity in ((10, "ok"), (11, "doubt")):
        cut = np.zeros(100)
        cut[:frames] = 0.3
        found = check_framing(statistics(cut_share=cut), torch.ones(100))
        assert severities(found) == [severity]
        found = check_framing(statistics(side_share=cut), torch.ones(100))
        assert severities(found) == [severity]
        assert (
            severity == "ok" or "side or the lower edge of the picture cuts the head in 11%" in found[0].text
        )


@pytest.mark.parametrize(
    ("moves", "word"),
    [
        (lambda t: {"shift_x": 0.2 * t}, "shifts by 20%"),
        (lambda t: {"shift_y": -0.1 * t}, "shifts by 10%"),
        (lambda t: {"shift_x": 0.04 * np.sin(20 * t)}, "shifts by 8%"),
        (lambda t: {"growth": 1.15**t}, "grows by 14%"),
    ],
)
def test_a_moving_camera_by_its_known_motion(moves, word):
    """Behind a person who covers the middle, with grain; growth is the logarithm of the scale."""
    luminance = np.stack([texture(**moves(t)) for t in np.linspace(0, 1, 60)]) + grain(60, 1)
    background = np.ones((60, 64, 64), bool)
    background[:, 16:, 16:48] = False
    luminance[~background] = NOISE.uniform(0, 255, (~background).sum())
    (found,) = check_camera_motion(statistics(frames=60, luminance=luminance, background=background))
    assert found.severity == "doubt"
    assert word in found.text


def test_noise_a_plain_wall_and_a_changing_light_are_no_camera_motion():
    lamp = np.linspace(-30, 30, 60)[:, None, None].astype(np.float32)
    for wall in (texture(), np.full((64, 64), 90, np.float32), GRID[:, None] * np.full((64, 64), 50.0)):
        luminance = (wall + lamp + grain(60, 1)).astype(np.float32)
        assert severities(check_camera_motion(statistics(frames=60, luminance=luminance))) == ["ok"]


def test_no_background_is_taken_to_stand_still():
    luminance = np.stack([texture(0.2 * t) for t in np.linspace(0, 1, 5)])
    assert not background_motion(luminance, np.zeros((5, 64, 64), bool)).any()
    assert background_motion(luminance[:1], np.ones((1, 64, 64), bool)).shape == (0, 3)
