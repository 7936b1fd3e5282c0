import pytest
import torch

from partnerface.data.frame_plausibility import leave_out
from partnerface.dataset_checks.tracking_check import check_tracking


def test_enough_frames_are_fine(make_sequence):
    (finding,) = check_tracking(make_sequence())
    assert finding.severity == "ok"
    assert finding.values == {"frames": 0, "train": 300, "test": 90, "left_out": 0, "without_head": 0}


@pytest.mark.parametrize(("train", "severity"), [(9, "unfit"), (10, "doubt"), (199, "doubt"), (200, "ok")])
def test_training_frames(make_sequence, train, severity):
    sequence = make_sequence(splits={"train": list(range(train)), "temporal": [390]})
    assert check_tracking(sequence)[0].severity == severity


def test_no_test_is_doubtful(make_sequence):
    assert check_tracking(make_sequence(splits={"train": list(range(300))}))[0].severity == "doubt"


@pytest.mark.parametrize(("count", "severity"), [(1, "doubt"), (40, "doubt"), (41, "unfit")])
def test_frames_left_out(make_sequence, count, severity):
    sequence = make_sequence()
    sequence.image_paths = [None] * 400
    left = leave_out(sequence, dict.fromkeys(range(count), "head behind the camera"))
    first = check_tracking(left)[0]
    assert first.severity == severity
    assert f"{count} of 400 frames cannot be tracked right" in first.text
    assert "(head behind the camera)" in first.text
    assert first.values["without_head"] == 0


def test_frames_without_a_head(make_sequence):
    sequence = make_sequence()
    sequence.image_paths = [None] * 400
    sequence.frame_weights = torch.cat([torch.ones(279), torch.zeros(121)])
    found = check_tracking(sequence)
    assert [finding.text for finding in found] == ["no head in 121 of 400 frames"]
