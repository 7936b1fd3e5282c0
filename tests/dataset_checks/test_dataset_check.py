"""What the command's test does not show: FLAME, impossible folders, the record; mattes of made-up frames."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.dataset_checks.dataset_check import (
    DatasetCheck,
    FrameStatistics,
    check_dataset,
    check_mattes,
    frame_statistics,
)
from partnerface.dataset_checks.sequence_checks import Finding
from partnerface.errors import UserError
from partnerface.files.images import write_image


def test_the_verdict_follows_from_the_findings(tmp_path):
    doubtful = [Finding("camera", "doubt", "a"), Finding("mattes", "ok", "b")]
    check = DatasetCheck("x", doubtful, {}, [])
    assert (check.record()["verdict"], check.doubts, check.reasons) == ("fit", ["camera: a"], [])
    check = DatasetCheck("x", [*doubtful, Finding("splits", "unfit", "c")], {}, [])
    assert (check.record()["verdict"], check.reasons) == ("unfit", ["splits: c"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flame", "tracked with FLAME; give its file as --flame FILE"),
        ("ict", "tracked with the head model 'ict', which partnerface does not have; those it has are"),
    ],
)
def test_a_dataset_of_another_head_model(synthetic_dataset, tmp_path, name, message):
    root = tmp_path / "set"
    shutil.copytree(synthetic_dataset, root)
    record = json.loads((root / "transforms.json").read_text())
    record["head_model"]["name"] = name
    (root / "transforms.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=message):
        check_dataset(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made(synthetic_dataset, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--out .*file/out: cannot be written"):
        check_dataset(synthetic_dataset, tmp_path / "file" / "out")


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


def statistics(share=None, soft=None) -> FrameStatistics:
    plain = np.full(100, 0.4)
    return FrameStatistics(
        [""] * 100, plain if share is None else share, 0.1 * plain if soft is None else soft
    )


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
