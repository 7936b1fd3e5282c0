"""Claims at and next to their bounds, what does not count, and the table."""

import pytest

from partnerface.benchmarks.methods.claims import CLAIMS, claims_tables, measured_claims
from partnerface.benchmarks.methods.method_results import MethodResults, Quantity

OURS, COMPUTE, SKINNING = "part_deformation", "global_deformation_equal_compute", "skinning_only"


@pytest.fixture
def row(make_row):
    def make(method: str, split: str = "unseen_combination", subject: str = "synthetic_c", **values) -> dict:
        return make_row(method, 27.0, 0.1, split=split, subject=subject, **values)

    return make


def of(rows: list[dict], what: str, method: str = OURS) -> dict[str, tuple[float, bool]]:
    found = measured_claims(MethodResults(rows), method)
    return {one.claim.baseline: (round(one.value, 6), one.holds) for one in found if one.claim.what == what}


@pytest.mark.parametrize(
    ("split", "share", "holds"),
    [("train", 0.5, True), ("train", 0.49, False), ("unseen_combination", 0.35, True)],
)
def test_a_share_by_itself(row, split: str, share: float, holds: bool) -> None:
    rows = [row(OURS, split, explained={"fine_face": share})]
    assert of(rows, "motion explained") == {"": (share, holds)}


@pytest.mark.parametrize(
    ("split", "region", "what", "ours", "holds"),
    [
        ("unseen_combination", "fine_face", "mm left", 0.16, True),
        ("unseen_combination", "fine_face", "mm left", 0.162, False),
        ("larger", "fine_face", "mm left", 0.17, True),
        ("larger", "fine_face", "mm left", 0.171, False),
        ("unseen_combination", "hair", "mm left of hair", 0.2, True),
        ("unseen_combination", "hair", "mm left of hair", 0.201, False),
    ],
)
def test_millimetres_over_those_of_one_network(row, split, region, what, ours, holds) -> None:
    rows = [row(name, split, mm_left={region: left}) for name, left in ((OURS, ours), (COMPUTE, 0.2))]
    assert of(rows, what) == {COMPUTE: (pytest.approx(ours / 0.2), holds)}


def test_the_mean_over_seeds_is_compared(row) -> None:
    rows = [row(OURS, seed=k, mm_left={"fine_face": left}) for k, left in enumerate((0.1, 0.2))]
    rows += [row("part_networks", seed=k, mm_left={"fine_face": left}) for k, left in enumerate((0.1, 0.3))]
    assert of(rows, "mm left") == {"part_networks": (0.75, True)}


def fine(psnr: float, counts: bool | None = True) -> dict:
    return {"fine_motion": {"psnr": psnr, "counts": counts}}


def test_fine_motion_in_decibels_and_the_gap_to_the_oracle(row) -> None:
    rows = [row(OURS, **fine(28.0)), row(COMPUTE, **fine(27.6)), row(SKINNING, **fine(26.0))]
    rows += [row("oracle", **fine(29.5))]
    assert of(rows, "PSNR of fine motion") == {
        COMPUTE: (0.4, False),
        SKINNING: (2.0, True),
        "oracle": (-1.5, True),
    }


@pytest.mark.parametrize("counts", [False, None])
@pytest.mark.parametrize("method", [OURS, SKINNING])
def test_a_score_that_measures_texture_does_not_count(row, method: str, counts: bool | None) -> None:
    rows = [row(OURS, seed=seed, **fine(28.0)) for seed in (0, 1)]
    rows += [row(SKINNING, seed=seed, **fine(25.0)) for seed in (0, 1)]
    next(r for r in rows if r["method"] == method)["fine_motion"]["counts"] = counts
    [measured] = [m for m in measured_claims(MethodResults(rows), OURS) if "PSNR" in m.claim.what]
    # Unknown for one seed: the other speaks for both.
    assert str(measured) == "+3.00 dB: " + ("does not count" if counts is False else "yes")


def test_clips_by_the_sharpness_of_expressions_in_new_combinations(row) -> None:
    def clip(method: str, region: float, mouth: float) -> dict:
        metrics = {"expression_region": {"lpips": region}, "mouth": {"lpips": mouth}}
        return row(method, "new_combination", "me", metrics=metrics)

    rows = [clip(OURS, 0.095, 0.1), clip(SKINNING, 0.1, 0.1), clip(COMPUTE, 0.09, 0.2)]
    assert of(rows, "LPIPS of expression region") == {COMPUTE: (1.055556, False), SKINNING: (0.95, True)}
    assert of(rows, "LPIPS of mouth") == {COMPUTE: (0.5, True), SKINNING: (1.0, False)}


def test_never_less_sharp_than_skinning_alone(make_row) -> None:
    rows = [make_row(OURS, 27.0, 0.043, split="temporal"), make_row(SKINNING, 27.0, 0.034, split="temporal")]
    assert of(rows, "LPIPS of the head") == {SKINNING: (pytest.approx(0.043 / 0.034), False)}


def test_samples_are_compared_with_samples_alone(row) -> None:
    def left(method: str, mm: float, split: str) -> dict:
        return row(method, split, mm_left={"fine_face": mm})

    rows = [left(OURS, 0.1, "unseen_combination_sample"), left(COMPUTE, 0.2, "unseen_combination_sample")]
    rows += [left("part_networks", 0.2, "unseen_combination")]
    assert of(rows, "mm left") == {COMPUTE: (0.5, True)}


def test_nothing_is_claimed_of_the_head_mask() -> None:
    assert Quantity("head_mask", "psnr") not in {claim.quantity for claim in CLAIMS}


def test_the_table_has_a_column_for_each_person_and_none_without_a_comparison(row) -> None:
    rows = [
        row(name, mm_left={"fine_face": mm}) for name, mm in ((OURS, 0.1608), ("lit_part_blendshapes", 0.12))
    ]
    assert claims_tables(MethodResults(rows)) == []
    rows += [row(COMPUTE, mm_left={"fine_face": 0.2})]
    rows += [
        row(name, mm_left={"fine_face": mm}, subject="synthetic_d")
        for name, mm in ((OURS, 0.3), (COMPUTE, 0.2))
    ]
    first, second = (table.splitlines() for table in claims_tables(MethodResults(rows)))
    assert first == [
        "| claims of part_deformation | target | synthetic_c | synthetic_d |",
        "| --- | ---: | ---: | ---: |",
        f"| mm left, unseen combination, times {COMPUTE} | at most 0.80 | 0.804: no | 1.500: no |",
    ]
    assert second[0] == "| claims of lit_part_blendshapes | target | synthetic_c |"
    assert second[2].endswith("| at most 0.80 | 0.600: yes |")


def test_a_method_that_leaves_nothing_and_one_that_has_no_offsets(row) -> None:
    rows = [row(OURS, mm_left={"fine_face": 0.0}), row(COMPUTE, mm_left={"fine_face": 0.0})]
    assert of(rows, "mm left") == {COMPUTE: (0.0, True)}
    assert (
        of([row(OURS, mm_left={"fine_face": 0.1}), row(COMPUTE, mm_left={"fine_face": None})], "mm left")
        == {}
    )
