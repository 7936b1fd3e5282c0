"""Protocols of the literature divide a video as their systems do, or say in one line why they cannot."""

from dataclasses import replace

import pytest
import torch

from partnerface.data.formats.foreign import last_frames_tested
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.protocols import PROTOCOLS, divided_by, protocol_named
from partnerface.data.sequence import TrackedSequence
from partnerface.errors import UserError

INSTA = replace(PROTOCOLS["insta"], tested=6, image_size=32)


@pytest.fixture(scope="module")
def ours(synthetic_dataset) -> TrackedSequence:
    """24 frames that we have divided."""
    return PartnerfaceReader(synthetic_dataset).read()


def foreign(sequence: TrackedSequence, format: str, splits: dict, words: str = "its own") -> TrackedSequence:
    return replace(sequence, format=format, splits=splits, split_protocol={"test": words})


def test_the_last_tracked_frames_test_and_all_before_them_train(ours):
    weights = ours.frame_weights.clone()
    weights[[3, 20]] = 0
    divided = divided_by(replace(ours, frame_weights=weights), INSTA)
    assert divided.splits == {
        "train": [i for i in range(17) if i != 3],
        "test": [17, 18, 19, 21, 22, 23],
    }
    assert divided.test_splits == ["test"]
    assert divided.coverage["test"]["frames"] == 6
    assert "last 6 frames" in divided.split_protocol["test"]
    assert "temporal" in ours.splits, "the sequence itself is as it was"


def test_a_share_of_the_frames(ours):
    benchmark = replace(PROTOCOLS["nersemble-mono"], image_size=32)
    assert divided_by(ours, benchmark).splits["test"] == [19, 20, 21, 22, 23]


def test_strict_leaves_the_division(ours):
    assert divided_by(ours, PROTOCOLS["strict"]) is ours


@pytest.mark.parametrize(
    ("name", "tested", "size", "picture"),
    [
        ("insta", 350, 512, "without_torso"),
        ("pointavatar", 350, 512, "without_torso"),
        ("nerface", 1000, 512, "full_frame"),
        ("nersemble-mono", 0.2054, 512, "full_frame"),
    ],
)
def test_what_the_systems_publish(name, tested, size, picture):
    found = protocol_named(name)
    assert found.tested == pytest.approx(tested, rel=1e-3)
    assert (found.image_size, found.picture) == (size, picture)
    assert {"psnr", "ssim", "lpips"} <= {*found.metrics}


def test_the_division_of_the_protocols_own_system_stays(ours):
    others = foreign(ours, "insta", {"train": [0, 1], "test": [5, 2]})
    assert divided_by(others, INSTA) is others
    # What is said of the test is what the dataset tests, not what the system does by default.
    assert INSTA.scored({"test": "its last 100 frames"})["test"] == "its last 100 frames"
    assert INSTA.scored()["test"] == "the last 6 frames"
    # The benchmark keeps its test videos: every frame trains.
    whole = replace(foreign(ours, "nersemble-mono", {"train": list(range(24))}), split_protocol={})
    assert divided_by(whole, replace(PROTOCOLS["nersemble-mono"], image_size=32)) is whole


def test_another_system_with_the_same_division(ours):
    splits, words = last_frames_tested(24, 6, "SplattingAvatar")
    others = foreign(ours, "imavatar", splits, words["test"])
    assert divided_by(others, INSTA).splits == splits


def test_what_is_refused(ours):
    short, words = last_frames_tested(24, 350, "INSTA")
    cases = {
        "tests on the last 6 frames, but dataset .* is divided by its own system .test: its own": (
            foreign(ours, "flashavatar", {"train": [0, 1], "test": [5, 2]}),
            INSTA,
        ),
        "tests on 350 frames, but dataset .* has 24": (ours, replace(INSTA, tested=350)),
        "tests on 24 frames": (ours, replace(INSTA, tested=24)),
        "tests on 1 frames": (ours, replace(INSTA, tested=0.001)),
        "measured at 512 pixels, but the pictures of dataset .* have 32x32": (ours, PROTOCOLS["nerface"]),
        # The reader's stand-in for a clip that is too short is not the protocol.
        "tests on 350 frames": (foreign(ours, "insta", short, words["test"]), replace(INSTA, tested=350)),
    }
    for message, (sequence, protocol) in cases.items():
        with pytest.raises(UserError, match=message):
            divided_by(sequence, protocol)
    with pytest.raises(UserError, match="tests on 6 frames"):
        divided_by(replace(ours, frame_weights=torch.zeros(24)), INSTA)


@pytest.mark.parametrize(
    ("name", "hint"), [("instta", "did you mean 'insta'"), ("", "choose from insta"), ("Strict", "'strict'")]
)
def test_unknown_names(name, hint):
    with pytest.raises(UserError, match=hint):
        protocol_named(name)
