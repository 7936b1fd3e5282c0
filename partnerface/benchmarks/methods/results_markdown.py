"""results.json as Markdown: tables by split and subject, claimed and measured gains, the commands."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from partnerface.benchmarks.method_under_test import OURS
from partnerface.benchmarks.methods.compared import SYNTHETIC, MethodVariant
from partnerface.benchmarks.methods.motion_table import motion_table
from partnerface.benchmarks.methods.protocol_table import protocol_section
from partnerface.benchmarks.methods.results import HEAD_LPIPS, HEAD_PSNR, STRICT, MethodResults, Quantity, Row
from partnerface.data.splits import HARD_SPLITS, SAMPLE_SUFFIX
from partnerface.evaluation.combinations import EXPRESSION_REGION, NEW_COMBINATION, OTHER_TEST
from partnerface.runs.results import SeedScores, TextTable


@dataclass(frozen=True)
class Claim:
    """A gain that our method claims over a baseline.

    Attributes:
        baseline: name of the method.
        psnr: gain in dB inside the head mask.
        lpips: relative gain in LPIPS that is enough in place of the dB; None if only the dB count.
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
class MeasuredGain:
    """The gain over a baseline on one subject.

    Attributes:
        claim: what is claimed.
        subject: name of the person.
        psnr: gain in dB.
        lpips: relative gain in LPIPS; None if LPIPS was not measured.
        sampled: whether both were measured on a sample of the split.
    """

    claim: Claim
    subject: str
    psnr: float
    lpips: float | None
    sampled: bool

    @property
    def holds(self) -> bool:
        """Whether the gain is as large as claimed."""
        by_lpips = self.claim.lpips is not None and self.lpips is not None and self.lpips >= self.claim.lpips
        return self.psnr >= self.claim.psnr or by_lpips

    def __str__(self) -> str:
        lpips = "" if self.lpips is None else f", {self.lpips:+.0%}"
        return f"{self.psnr:+.2f} dB{lpips}: {'yes' if self.holds else 'no'}"


def measured_gains(results: MethodResults) -> list[MeasuredGain]:
    """All claims on all subjects that have both methods: means over seeds, on the same frames."""
    found = []
    for claim, subject in itertools.product(CLAIMS, results.subjects):
        variants = MethodVariant(OURS), MethodVariant(claim.baseline)
        claimed = results.splits_of(subject)[0]
        for split in (claimed, claimed + SAMPLE_SUFFIX) if claimed in HARD_SPLITS else ():
            psnr, lpips = (
                [results.scores(variant, subject, split, quantity) for variant in variants]
                for quantity in (HEAD_PSNR, HEAD_LPIPS)
            )
            if None not in psnr:
                gain = psnr[0].mean - psnr[1].mean
                known = None not in lpips and lpips[1].mean > 0
                relative = 1 - lpips[0].mean / lpips[1].mean if known else None
                found.append(MeasuredGain(claim, subject, gain, relative, split.endswith(SAMPLE_SUFFIX)))
                break
    return found


NEAREST = "nearest training frame"
DETAILS = {
    "full frame, dB": Quantity("full_frame", "psnr"),
    "mouth, dB": Quantity("mouth", "psnr"),
    "eyes, dB": Quantity("eyes", "psnr"),
    "forehead, dB": Quantity("forehead", "psnr"),
    "mouth, LPIPS": Quantity("mouth", "lpips"),
    "expression region, dB": Quantity(EXPRESSION_REGION, "psnr"),
    "expression region, LPIPS": Quantity(EXPRESSION_REGION, "lpips"),
    "flicker": Quantity("head_mask", "temporal"),
    "depth, mm": Quantity("head_mask", "depth_mm"),
    "correspondence, mm": Quantity("head_mask", "correspondence_mm"),
}
"""Columns of the table of details."""


def results_markdown(results: MethodResults) -> str:
    """All tables and commands, without a heading."""
    blocks = [_preface(results), protocol_section(results)]
    for parameters in dict.fromkeys(row["test_parameters"] for row in results.rows):
        blocks += [_scores_table(results, split, parameters) for split in results.splits]
    # For each method and variant a command that repeats its rows whatever else has been run.
    commands = [
        repeat_command(results.select(method=variant.method, overrides=dict(variant.overrides)))
        for variant in results.variants
    ]
    blocks += [motion_table(results, s, split) for s in results.subjects for split in results.splits_of(s)]
    hardest = {subject: results.splits_of(subject)[0] for subject in results.subjects}
    for split in dict.fromkeys(hardest.values()):
        blocks.append(_details_table(results, split, [s for s in hardest if hardest[s] == split]))
    # A gain of locality shows in new combinations of what training showed, and not in other frames.
    for split in (NEW_COMBINATION, OTHER_TEST):
        if people := [subject for subject in results.subjects if split in results.splits_of(subject)]:
            blocks.append(_details_table(results, split, people))
    blocks.append(_claims_table(measured_gains(results)))
    blocks += ["\n".join(["```bash", *commands, "```"])]
    return "\n\n".join(block for block in blocks if block)


def protocol_page(rows: Sequence[Row], order: Sequence[str]) -> str:
    """The tables of a protocol of the literature alone, with the commands that make them."""
    results = MethodResults(rows, order)
    commands = [
        repeat_command(results.select(method=variant.method, overrides=dict(variant.overrides)))
        for variant in results.variants
    ]
    return "\n\n".join(
        [_preface(results), protocol_section(results), "\n".join(["```bash", *commands, "```"])]
    )


def cell(psnr: SeedScores | None, lpips: SeedScores | None) -> str:
    """PSNR with its spread over seeds, and LPIPS; a star for scores on a sample.

    >>> cell(SeedScores((27.0, 27.2)), SeedScores((0.03, 0.05)))
    '27.10 ± 0.14 / 0.040'
    >>> cell(SeedScores((13.0,), sampled=True), None)
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
    seeds = {s: sorted({row["seed"] for row in results.select(subject=s)}) for s in results.subjects}
    commits = sorted({str(row["commit"]) for row in rows})
    machines = sorted({f"{row['machine']['cores']} cores of {row['machine']['processor']}" for row in rows})
    samples = sorted({row["frames"] for row in rows if row["split"].endswith(SAMPLE_SUFFIX)})
    lines = [
        f"Training: {budgets}. Seeds: {_grouped({s: _listed(found) for s, found in seeds.items()})}. "
        f"Commit {_listed(commits)}, {_listed(machines)}.",
        "PSNR inside the head mask in dB, ± its standard deviation over seeds / LPIPS of the head.",
    ]
    if samples:
        count = f"{samples[0]}" if len(samples) == 1 else f"{samples[0]} to {samples[-1]}"
        lines.append(f"* on {count} frames of the split alone, for it renders slowly.")
    return " ".join(lines)


def _scores_table(results: MethodResults, split: str, parameters: str) -> str:
    names = (split, split + SAMPLE_SUFFIX)
    tested = {row["subject"] for row in results.select(test_parameters=parameters) if row["split"] in names}
    subjects = [subject for subject in results.subjects if subject in tested]
    if not subjects:
        return ""
    title = split.replace("_", " ") + ("" if parameters == STRICT else f", {parameters} parameters")
    lines = []
    for variant in results.variants:
        pairs = [
            [
                results.scores(variant, subject, split, quantity, parameters, or_sample=True)
                for quantity in (HEAD_PSNR, HEAD_LPIPS)
            ]
            for subject in subjects
        ]
        if any(psnr is not None for psnr, _ in pairs):
            lines.append([str(variant), *(cell(psnr, lpips) for psnr, lpips in pairs)])
    if parameters == STRICT:
        nearest = [[results.nearest_frame(s, split, q) for q in (HEAD_PSNR, HEAD_LPIPS)] for s in subjects]
        known = [[None if v is None else SeedScores((v,)) for v in pair] for pair in nearest]
        lines.append([NEAREST, *(cell(psnr, lpips) for psnr, lpips in known)])
    return TextTable([title, *subjects], lines).as_markdown()


def _details_table(results: MethodResults, split: str, subjects: Sequence[str]) -> str:
    """Other regions and metrics of a split: means over those of the subjects that have them."""
    lines: dict[str, dict[str, str]] = {}
    for variant in results.variants:
        for title, quantity in DETAILS.items():
            # A method tested on a sample alone stays out: its frames are not those of the others.
            scores = (results.scores(variant, subject, split, quantity) for subject in subjects)
            if known := [score.mean for score in scores if score is not None]:
                digits = {"temporal": 4, "lpips": 3}.get(quantity.metric, 2)
                lines.setdefault(str(variant), {})[title] = f"{fmean(known):.{digits}f}"
    titles = [title for title in DETAILS if any(title in means for means in lines.values())]
    rows = [[name, *(means.get(title, "-") for title in titles)] for name, means in lines.items()]
    return TextTable([f"{split.replace('_', ' ')}, mean over subjects", *titles], rows).as_markdown()


def _claims_table(gains: Sequence[MeasuredGain]) -> str:
    """What is claimed over each baseline, and a column for each subject with what was measured."""
    subjects = list(dict.fromkeys(gain.subject for gain in gains))
    lines = []
    for claim in dict.fromkeys(gain.claim for gain in gains):
        measured = {gain.subject: gain for gain in gains if gain.claim == claim}
        sampled = "*" if any(gain.sampled for gain in measured.values()) else ""
        claimed = f"{claim.psnr:g} dB" + ("" if claim.lpips is None else f" or {claim.lpips:.0%} LPIPS")
        lines.append([claim.baseline + sampled, claimed, *(str(measured.get(s, "-")) for s in subjects)])
    titles = ["part_deformation gains over", "claimed", *subjects]
    return TextTable(titles, lines).as_markdown() if lines else ""


def repeat_command(rows: Sequence[Row]) -> str:
    """The shortest command that makes these rows of one method or variant."""
    variant = MethodVariant(rows[0]["method"], tuple(rows[0]["overrides"].items()))
    embedded = [row for row in rows if row["subject"].startswith(SYNTHETIC)]
    clips = [row for row in rows if not row["subject"].startswith(SYNTHETIC)]
    words = ["partnerface", "benchmark", "methods", "--methods", shlex.quote(str(variant))]
    words += ["--subjects", _listed(dict.fromkeys(row["source"] for row in [*embedded, *clips]), ",")]
    for prefix, part in (("", embedded), ("clip_", clips)):
        if part:
            words += [f"--{prefix}seeds", _listed(sorted({row["seed"] for row in part}), ",")]
            if seconds := part[0]["budget"].get("cpu_seconds"):
                words += [f"--{prefix}cpu_seconds", f"{seconds:g}"]
    for flag in ("protocol", "sample"):
        # Rows of earlier versions have neither.
        if (value := rows[0].get(flag)) is not None:
            words += [f"--{flag}", str(value)]
    steps = rows[0]["budget"].get("steps")
    return " ".join([*words, *([f"--steps {steps}"] if steps else [])])


def _budget_text(row: Row) -> str:
    [(name, value)] = row["budget"].items()
    width, height = row["resolution"]
    return f"{value:g} {name.replace('_', ' ').replace('cpu', 'CPU')} at {width}x{height}"


def _grouped(texts: dict[str, str]) -> str:
    """Each text once, with the names that have it: ``text (name, name); text (name)``."""
    names: dict[str, list[str]] = {}
    for name, text in texts.items():
        names.setdefault(text, []).append(name)
    return "; ".join(f"{text} ({_listed(group)})" for text, group in names.items())


def _listed(values: Iterable[object], separator: str = ", ") -> str:
    return separator.join(str(value) for value in values)
