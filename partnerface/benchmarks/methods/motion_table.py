"""The true motion in the tables of ``benchmark methods``: millimetres left, and where pictures show it."""

from __future__ import annotations

from partnerface.benchmarks.methods.compared import MethodVariant
from partnerface.benchmarks.methods.method_results import (
    EXPLAINED_SHARE,
    FINE_COUNTS,
    FINE_LPIPS,
    FINE_PSNR,
    MM_FINE_FACE,
    MM_HAIR,
    MethodResults,
    Quantity,
    lpips_text,
)
from partnerface.benchmarks.methods.results import FINE
from partnerface.runs.results import SeedScores, TextTable

COLUMNS = {
    "fine face, mm": MM_FINE_FACE,
    "hair, mm": MM_HAIR,
    "quiet face, mm": Quantity("mm_left", "quiet_face"),
    "cosine": Quantity("cosine", "fine_face"),
}
SHARE, PICTURES = "explained", "fine motion, dB / LPIPS"
NOTHING, CEILING, SAMPLING = "no deformation", "perfect but for the motion", "sampling error of the pictures"


def motion_table(results: MethodResults, subject: str, split: str) -> str:
    """What every method leaves of a subject's true motion in a split; empty where the motion is not known.

    PSNR in brackets does not count: the quiet face is not 3 dB above the ceiling, so it measures texture.
    """
    rows = [_method_row(results, variant, subject, split) for variant in results.variants]
    known = [cells for cells in rows if any(cell != "-" for cell in cells[1:])]
    titles = [f"true motion left, {subject}, {split.replace('_', ' ')}", *COLUMNS, SHARE, PICTURES]
    lines = [*known, *_reference_rows(results, subject, split)]
    return TextTable(titles, lines).as_markdown() if known else ""


def _method_row(results: MethodResults, variant: MethodVariant, subject: str, split: str) -> list[str]:
    def scores(quantity: Quantity) -> SeedScores | None:
        return results.scores(variant, subject, split, quantity, or_sample=True)

    psnr, lpips, counts, share = map(scores, (FINE_PSNR, FINE_LPIPS, FINE_COUNTS, EXPLAINED_SHARE))
    picture = "-"
    if psnr is not None:
        picture = f"{psnr.mean:.2f}" if counts is not None and all(counts.values) else f"({psnr.mean:.2f})"
        picture += "" if lpips is None else f" / {lpips_text(lpips.mean)}"
    explained = "-" if share is None else f"{share.mean:.0%}"
    columns = (_millimetres(scores(quantity)) for quantity in COLUMNS.values())
    return [str(variant), *columns, explained, picture]


def _millimetres(scores: SeedScores | None) -> str:
    if scores is None:
        return "-"
    return f"{scores.mean:.3f}" + ("" if scores.spread is None else f" ± {scores.spread:.3f}")


def _reference_rows(results: MethodResults, subject: str, split: str) -> list[list[str]]:
    """Rows of no method: what there is to explain, and what pictures without it or of finer samples score."""

    def value(quantity: Quantity, digits: int) -> str:
        found = results.mean_of(subject, split, quantity)
        return "-" if found is None else f"{found:.{digits}f}"

    nothing = [value(Quantity("mm_nothing", name), 3) for name in ("fine_face", "hair", "quiet_face")]
    empty = ["-"] * (len(COLUMNS) + 1)
    references = [
        [NOTHING, *nothing, "-", "-", "-"],
        [CEILING, *empty, value(Quantity(FINE, "ceiling_psnr"), 2)],
        [SAMPLING, *empty, value(Quantity(FINE, "sampling_psnr"), 2)],
    ]
    # Of training frames no picture is scored.
    return [row for row in references if any(cell != "-" for cell in row[1:])]
