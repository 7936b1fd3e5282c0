"""results.json as Markdown: tables by split and subject, claimed and measured gains, the commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from partnerface.benchmarks.markdown import markdown_table
from partnerface.benchmarks.method_under_test import OURS
from partnerface.benchmarks.methods.results import (
    HEAD_LPIPS,
    HEAD_PSNR,
    STRICT,
    MethodResults,
    Quantity,
    Score,
)
from partnerface.benchmarks.methods.results_file import Row
from partnerface.benchmarks.methods.variant import MethodVariant
from partnerface.data.splits import SAMPLE

SPLIT = "unseen_expression"


@dataclass(frozen=True)
class Claim:
    """A margin over a baseline.

    Attributes:
        baseline: name of the method.
        psnr: dB inside the head mask.
        lpips: share of the baseline's LPIPS that is enough in place of the dB; None where nothing is.
    """

    baseline: str
    psnr: float
    lpips: float | None = None


CLAIMS = (
    Claim("global_deformation", 0.5, 0.05),
    Claim("global_deformation_equal_compute", 0.5, 0.05),
    Claim("skinning_only", 1.0),
    Claim("nerface", 3.0),
)


@dataclass(frozen=True)
class Finding:
    """What a claim comes to on one subject.

    Attributes:
        claim: the margin.
        subject: the person.
        psnr: dB gained.
        lpips: share of the baseline's LPIPS gained; None where there is no LPIPS.
        sampled: whether on a sample of the split, the same frames for both.
    """

    claim: Claim
    subject: str
    psnr: float
    lpips: float | None
    sampled: bool

    @property
    def holds(self) -> bool:
        by_lpips = self.claim.lpips is not None and self.lpips is not None and self.lpips >= self.claim.lpips
        return self.psnr >= self.claim.psnr or by_lpips


def findings(results: MethodResults) -> list[Finding]:
    """Every claim on every subject that has both methods, means over seeds, on the same frames."""
    found = [_finding(results, claim, subject) for claim in CLAIMS for subject in results.subjects]
    return [finding for finding in found if finding is not None]


def _finding(results: MethodResults, claim: Claim, subject: str) -> Finding | None:
    for split in (SPLIT, SPLIT + SAMPLE):
        psnr = _means(results, claim, subject, split, HEAD_PSNR)
        if psnr is not None:
            lpips = _means(results, claim, subject, split, HEAD_LPIPS)
            gain = None if lpips is None or lpips[1] == 0 else 1 - lpips[0] / lpips[1]
            return Finding(claim, subject, psnr[0] - psnr[1], gain, split.endswith(SAMPLE))
    return None


def _means(
    results: MethodResults, claim: Claim, subject: str, split: str, quantity: Quantity
) -> tuple[float, float] | None:
    """Ours and the baseline's."""
    scores = [results.score(method, subject, split, quantity) for method in (OURS, claim.baseline)]
    return None if None in scores else (scores[0].mean, scores[1].mean)


NEAREST = "nearest training frame"
DETAILS = (
    (Quantity("full_frame", "psnr", True), "full frame, dB"),
    (Quantity("mouth", "psnr", True), "mouth, dB"),
    (Quantity("eyes", "psnr", True), "eyes, dB"),
    (Quantity("forehead", "psnr", True), "forehead, dB"),
    (Quantity("head_mask", "temporal", False), "flicker"),
    (Quantity("head_mask", "depth_mm", False), "depth, mm"),
    (Quantity("head_mask", "correspondence_mm", False), "correspondence, mm"),
)


def results_markdown(results: MethodResults) -> str:
    """Everything for the README, without a heading."""
    blocks = [_preface(results)]
    for protocol in results.protocols:
        blocks += [_scores_table(results, split, protocol) for split in results.splits]
    blocks += [_details_table(results), _claims_table(findings(results)), _commands(results)]
    return "\n\n".join(block for block in blocks if block)


def cell(psnr: Score | None, lpips: Score | None) -> str:
    """PSNR with its spread, and LPIPS.

    >>> cell(Score((27.0, 27.2)), Score((0.03, 0.05)))
    '27.10 ± 0.14 / 0.040'
    >>> cell(Score((13.0,), sampled=True), None)
    '13.00*'
    """
    if psnr is None:
        return "-"
    spread = "" if psnr.spread is None else f" ± {psnr.spread:.2f}"
    perceptual = "" if lpips is None else f" / {lpips.mean:.3f}"
    return f"{psnr.mean:.2f}{spread}{perceptual}{'*' if psnr.sampled else ''}"


def _preface(results: MethodResults) -> str:
    rows = results.rows
    budgets = _grouped({row["subject"]: _budget_text(row) for row in rows})
    seeds = _grouped(
        {s: _listed(sorted({r["seed"] for r in results.select(subject=s)})) for s in results.subjects}
    )
    commits = _listed(sorted({str(row["commit"]) for row in rows}))
    machines = _listed(
        sorted({f"{r['machine']['cores']} cores of {r['machine']['processor']}" for r in rows})
    )
    samples = sorted({row["frames"] for row in rows if row["split"].endswith(SAMPLE)})
    lines = [
        f"Training: {budgets}. Seeds: {seeds}. Commit {commits}, {machines}.",
        "PSNR inside the head mask in dB, ± its standard deviation over seeds / LPIPS of the head.",
    ]
    if samples:
        count = f"{samples[0]}" if len(samples) == 1 else f"{samples[0]} to {samples[-1]}"
        lines.append(f"* on {count} frames of the split alone, for it renders slowly.")
    return " ".join(lines)


def _scores_table(results: MethodResults, split: str, protocol: str) -> str:
    names = (split, split + SAMPLE)
    tested = {row["subject"] for row in results.select(protocol=protocol) if row["split"] in names}
    subjects = [subject for subject in results.subjects if subject in tested]
    if not subjects:
        return ""
    title = split.replace("_", " ") + ("" if protocol == STRICT else f", {protocol} parameters")
    lines = []
    for variant in results.variants:
        method, overrides = variant.method, dict(variant.overrides)
        pairs = [
            [
                results.score_or_sample(method, s, split, quantity, protocol, overrides)
                for quantity in (HEAD_PSNR, HEAD_LPIPS)
            ]
            for s in subjects
        ]
        if any(psnr is not None for psnr, _ in pairs):
            lines.append([str(variant), *(cell(psnr, lpips) for psnr, lpips in pairs)])
    if protocol == STRICT:
        nearest = [[results.nearest_frame(s, split, q) for q in (HEAD_PSNR, HEAD_LPIPS)] for s in subjects]
        known = [[None if v is None else Score((v,)) for v in pair] for pair in nearest]
        lines.append([NEAREST, *(cell(psnr, lpips) for psnr, lpips in known)])
    return markdown_table([title, *subjects], lines)


def _details_table(results: MethodResults) -> str:
    """Other regions and metrics of the hardest split, the mean over subjects that have them."""
    split = results.splits[0]
    lines = {}
    for variant in results.variants:
        means = [_mean_over_subjects(results, variant, split, quantity) for quantity, _ in DETAILS]
        if any(mean is not None for mean in means):
            lines[str(variant)] = means
    kept = [k for k in range(len(DETAILS)) if any(means[k] is not None for means in lines.values())]
    titles = [f"{split.replace('_', ' ')}, mean over subjects", *(DETAILS[k][1] for k in kept)]
    return markdown_table(
        titles, [[m, *(_number(means[k], DETAILS[k][0]) for k in kept)] for m, means in lines.items()]
    )


def _mean_over_subjects(
    results: MethodResults, variant: MethodVariant, split: str, quantity: Quantity
) -> float | None:
    # A method tested on a sample alone stays out: its frames are not those of the others.
    method, overrides = variant.method, dict(variant.overrides)
    scores = [
        results.score(method, subject, split, quantity, overrides=overrides) for subject in results.subjects
    ]
    known = [score.mean for score in scores if score is not None]
    return sum(known) / len(known) if known else None


def _claims_table(found: Sequence[Finding]) -> str:
    """What is claimed for each baseline, and a column for each subject with what was found."""
    subjects = list(dict.fromkeys(finding.subject for finding in found))
    lines = []
    for claim in dict.fromkeys(finding.claim for finding in found):
        of_claim = {finding.subject: finding for finding in found if finding.claim == claim}
        sampled = "*" if any(finding.sampled for finding in of_claim.values()) else ""
        asked = f"{claim.psnr:g} dB" + ("" if claim.lpips is None else f" or {claim.lpips:.0%} LPIPS")
        cells = [_finding_text(of_claim[s]) if s in of_claim else "-" for s in subjects]
        lines.append([claim.baseline + sampled, asked, *cells])
    titles = ["part_deformation gains over", "claimed", *subjects]
    return markdown_table(titles, lines) if lines else ""


def _finding_text(finding: Finding) -> str:
    lpips = "" if finding.lpips is None else f", {finding.lpips:+.0%}"
    return f"{finding.psnr:+.2f} dB{lpips}: {'yes' if finding.holds else 'no'}"


def _commands(results: MethodResults) -> str:
    """One line for each method and variant: it repeats its rows, whatever is there already."""
    lines = [
        repeat_command(results.select(method=variant.method, overrides=dict(variant.overrides)))
        for variant in results.variants
    ]
    return "\n".join(["```bash", *lines, "```"])


def repeat_command(rows: Sequence[Row]) -> str:
    """The short command that makes these rows of one method or variant."""
    variant = MethodVariant(rows[0]["method"], tuple(rows[0]["overrides"].items()))
    clips = [row for row in rows if not row["subject"].startswith("synthetic_")]
    embedded = [row for row in rows if row["subject"].startswith("synthetic_")]
    words = ["partnerface", "benchmark", "methods", "--methods", shlex.quote(str(variant))]
    words += ["--subjects", _listed(dict.fromkeys(row["source"] for row in [*embedded, *clips]), ",")]
    for prefix, part in (("", embedded), ("clip_", clips)):
        if part:
            words += [f"--{prefix}seeds", _listed(sorted({row["seed"] for row in part}), ",")]
            budget = part[0]["budget"]
            words += (
                [f"--{prefix}cpu_seconds", f"{budget['cpu_seconds']:g}"] if "cpu_seconds" in budget else []
            )
    steps = rows[0]["budget"].get("steps")
    return " ".join([*words, *([f"--steps {steps}"] if steps else [])])


def _budget_text(row: Row) -> str:
    [(name, value)] = row["budget"].items()
    width, height = row["resolution"]
    return f"{value:g} {name.replace('_', ' ').replace('cpu', 'CPU')} at {width}x{height}"


def _grouped(texts: dict[str, str]) -> str:
    """``text (who, who)``, once for each text."""
    who = {text: [name for name, other in texts.items() if other == text] for text in texts.values()}
    return "; ".join(f"{text} ({_listed(names)})" for text, names in who.items())


def _listed(values, separator: str = ", ") -> str:
    return separator.join(str(value) for value in values)


def _number(value: float | None, quantity: Quantity) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if quantity.metric == "temporal" else f"{value:.2f}"
