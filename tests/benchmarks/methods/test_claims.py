"""Margins at and next to their bounds."""

import pytest

from partnerface.benchmarks.methods.results import MethodResults
from partnerface.benchmarks.methods.results_markdown import measured_gains

OURS = "part_deformation"


@pytest.mark.parametrize(
    ("baseline", "theirs", "holds"),
    [
        ("global_deformation", (26.5, 0.1), True),
        ("global_deformation", (26.6, 0.1), False),
        ("global_deformation_equal_compute", (26.9, 0.106), True),
        ("global_deformation_equal_compute", (26.9, 0.105), False),
        ("global_deformation", (26.9, None), False),
        ("skinning_only", (26.0, 0.1), True),
        # For this one better LPIPS is not enough.
        ("skinning_only", (26.1, 0.9), False),
        ("nerface", (24.0, 0.1), True),
        ("nerface", (24.1, 0.1), False),
    ],
)
def test_a_margin(make_row, baseline: str, theirs: tuple[float, float | None], holds: bool) -> None:
    [found] = measured_gains(MethodResults([make_row(OURS, 27.0, 0.1), make_row(baseline, *theirs)]))
    assert found.claim.baseline == baseline
    assert found.psnr == pytest.approx(27.0 - theirs[0])
    assert found.holds is holds


def test_a_sample_is_compared_with_the_same_frames_of_ours(make_row) -> None:
    sample = "unseen_expression_sample"
    rows = [make_row(OURS, 27.0), make_row(OURS, 20.0, split=sample), make_row("nerface", 18.0, split=sample)]
    [found] = measured_gains(MethodResults(rows))
    assert found.psnr == pytest.approx(2.0)
    assert found.sampled
    assert not found.holds


def test_nothing_to_compare(make_row) -> None:
    assert measured_gains(MethodResults([make_row(OURS, 27.0)])) == []
    assert (
        measured_gains(MethodResults([make_row("nerface", 27.0), make_row(OURS, 20.0, subject="me")])) == []
    )
