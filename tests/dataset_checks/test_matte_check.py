import numpy as np
import pytest
import torch

from partnerface.dataset_checks.frame_statistics import FrameStatistics
from partnerface.dataset_checks.matte_check import check_mattes


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
