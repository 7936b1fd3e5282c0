"""Rows are selected and averaged over seeds, samples stand in, and everything has its order."""

from partnerface.benchmarks.methods.results import HEAD_LPIPS, HEAD_PSNR, MethodResults
from partnerface.benchmarks.methods.variant import MethodVariant
from partnerface.runs.results import SeedScores

OURS, SPLIT = MethodVariant("ours"), "unseen_expression"


def test_scores_of_all_seeds_and_of_nothing_else(make_row) -> None:
    values = (27.0, 27.5, 26.2)
    rows = [make_row("ours", value, seed=seed) for seed, value in enumerate(values)]
    rows += [make_row("ours", 1.0, split="temporal"), make_row("ours", 2.0, overrides={"parts": "4"})]
    rows += [make_row("ours", 3.0, protocol="refined"), make_row("ours", 4.0, subject="me")]
    results = MethodResults(rows)
    changed = MethodVariant("ours", (("parts", "4"),))
    assert results.scores(OURS, "synthetic_a", SPLIT, HEAD_PSNR) == SeedScores(values)
    assert results.scores(changed, "synthetic_a", SPLIT, HEAD_PSNR) == SeedScores((2.0,))
    assert results.scores(OURS, "synthetic_a", SPLIT, HEAD_PSNR, "refined") == SeedScores((3.0,))


def test_missing_values_are_no_scores(make_row) -> None:
    results = MethodResults([make_row("ours", 27.0, None)])
    assert results.scores(OURS, "synthetic_a", SPLIT, HEAD_LPIPS) is None
    assert results.scores(MethodVariant("theirs"), "synthetic_a", SPLIT, HEAD_PSNR) is None
    assert results.nearest_frame("synthetic_b", SPLIT, HEAD_PSNR) is None
    assert results.nearest_frame("synthetic_a", SPLIT, HEAD_PSNR) == 15.0


def test_a_sample_stands_in_where_the_whole_split_was_not_tested(make_row) -> None:
    sample = "unseen_expression_sample"
    rows = [
        make_row("ours", 27.0),
        make_row("ours", 26.0, split=sample),
        make_row("slow", 13.0, split=sample),
    ]
    results = MethodResults(rows)
    shown = {
        method: results.scores(MethodVariant(method), "synthetic_a", SPLIT, HEAD_PSNR, or_sample=True)
        for method in results.methods
    }
    assert shown == {"ours": SeedScores((27.0,)), "slow": SeedScores((13.0,), sampled=True)}
    assert results.splits == [SPLIT]


def test_variants_are_told_apart_by_their_values_in_any_order(make_row) -> None:
    first, second = {"parts": "2", "x": "1"}, {"x": "1", "parts": "2"}
    rows = [make_row("ours", 1.0, overrides=o, seed=k) for k, o in enumerate((first, second, {"x": "1"}))]
    variants = MethodResults([*rows, make_row("ours", 1.0)]).variants
    assert [str(variant) for variant in variants] == ["ours", "ours:parts=2:x=1", "ours:x=1"]


def test_orders(make_row) -> None:
    rows = [
        make_row("theirs", 1.0, subject="me", split="blocks"),
        make_row("other", 1.0, split="temporal"),
        make_row("ours", 1.0, overrides={"parts": "2"}),
        make_row("ours", 1.0),
    ]
    results = MethodResults(rows, ["ours", "theirs"])
    assert results.methods == ["ours", "theirs", "other"]
    assert results.subjects == ["synthetic_a", "me"]
    assert results.splits == [SPLIT, "temporal", "blocks"]
