"""results.json as Markdown: claims, tables by split and subject, the commands that repeat them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from operator import itemgetter
from statistics import fmean

from partnerface.benchmarks.methods.claims import claims_tables
from partnerface.benchmarks.methods.compared import SYNTHETIC, MethodVariant
from partnerface.benchmarks.methods.method_results import (
    HEAD_LPIPS,
    HEAD_PSNR,
    STRICT,
    MethodResults,
    Quantity,
    lpips_text,
)
from partnerface.benchmarks.methods.motion_table import motion_table
from partnerface.benchmarks.methods.protocol_table import protocol_section
from partnerface.benchmarks.methods.results import TRAIN, Row
from partnerface.benchmarks.methods.run import CONVERGED, SCRATCH
from partnerface.data.splits import SAMPLE_SUFFIX
from partnerface.evaluation.combinations import EXPRESSION_REGION, NEW_COMBINATION, OTHER_TEST
from partnerface.runs.results import SeedScores, TextTable

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


STARTS = {
    CONVERGED: "**From converged statics**: every method starts from the field and torso of the same avatar, "
    "trained with skinning alone ({}), and all are trained equally long from there.",
    SCRATCH: "**From scratch**: field and deformation are trained together from the first step.",
}


def results_markdown(results: MethodResults) -> str:
    """All tables and commands, without a heading; those of each start of training by themselves."""
    blocks = [_preface(results), protocol_section(results)]
    for start in results.starts:
        part = results.of_start(start)
        budgets = _grouped({row["subject"]: _budget_text(row, "statics_budget") for row in part.rows})
        blocks += [STARTS[start].format(budgets)] if results.starts != [SCRATCH] else []
        blocks += _tables(part)
    return "\n\n".join(block for block in [*blocks, _commands(results)] if block)


def _commands(results: MethodResults) -> str:
    """For each method and variant a command that repeats its rows whatever else has been run."""
    commands = [
        command
        for start in results.starts
        for variant in results.of_start(start).variants
        for command in repeat_commands(
            results.select(method=variant.method, overrides=dict(variant.overrides), start=start)
        )
    ]
    return "\n".join(["```bash", *commands, "```"])


def _tables(results: MethodResults) -> list[str]:
    """The tables of one start of training."""
    blocks = claims_tables(results)
    blocks += [
        motion_table(results, subject, split)
        for subject in results.subjects
        for split in (*results.splits_of(subject), TRAIN)
    ]
    # A gain of locality shows in new combinations of what training showed, and not in other frames.
    for split in (NEW_COMBINATION, OTHER_TEST):
        if people := [subject for subject in results.subjects if split in results.splits_of(subject)]:
            blocks.append(_details_table(results, split, people))
    for parameters in dict.fromkeys(row["test_parameters"] for row in results.rows):
        blocks += [_scores_table(results, split, parameters) for split in results.splits]
    hardest = {subject: results.splits_of(subject)[0] for subject in results.subjects}
    for split in dict.fromkeys(hardest.values()):
        blocks.append(_details_table(results, split, [s for s in hardest if hardest[s] == split]))
    return blocks


def protocol_page(rows: Sequence[Row], order: Sequence[str]) -> str:
    """The tables of a protocol of the literature alone, with the commands that make them."""
    results = MethodResults(rows, order)
    return "\n\n".join([_preface(results), protocol_section(results), _commands(results)])


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
    perceptual = "" if lpips is None else f" / {lpips_text(lpips.mean)}"
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
        "± is the standard deviation over seeds. Tables that are named after a split alone have PSNR inside "
        "the head mask in dB / LPIPS of the head, which say nothing about the motion of a face.",
    ]
    if samples:
        count = f"{samples[0]}" if len(samples) == 1 else f"{samples[0]} to {samples[-1]}"
        lines.append(f"* on {count} frames of the split alone.")
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
    # A method tested on a sample alone stays out where others are not: its frames are not theirs.
    or_sample = not any(row["split"] == split for row in results.rows)
    for variant in results.variants:
        for title, quantity in DETAILS.items():
            scores = [
                results.scores(variant, subject, split, quantity, or_sample=or_sample) for subject in subjects
            ]
            known = [score.mean for score in scores if score is not None]
            # A mean over some of the subjects would not compare with those beside it.
            if known and len(known) == len(scores):
                lines.setdefault(str(variant), {})[title] = _mean_text(quantity, fmean(known))
    titles = [title for title in DETAILS if any(title in means for means in lines.values())]
    rows = [[name, *(means.get(title, "-") for title in titles)] for name, means in lines.items()]
    return TextTable([f"{split.replace('_', ' ')}, mean over subjects", *titles], rows).as_markdown()


def _mean_text(quantity: Quantity, value: float) -> str:
    if quantity.metric == "lpips":
        return lpips_text(value)
    return f"{value:.{4 if quantity.metric == 'temporal' else 2}f}"


def repeat_commands(rows: Sequence[Row]) -> list[str]:
    """The shortest commands that make these rows of one method or variant, all with one start of training."""
    variant = MethodVariant(rows[0]["method"], tuple(rows[0]["overrides"].items()))
    commands = []
    # Rows of earlier versions have no sample and no head model.
    alike = itemgetter("sample", "head_model")
    rows = [{"sample": None, "head_model": None, **row} for row in rows]
    for of_settings in dict.fromkeys(map(alike, rows)):
        embedded: dict[str, list[Row]] = {}
        clips = []
        for row in rows:
            if alike(row) == of_settings:
                is_embedded = row["subject"].startswith(SYNTHETIC)
                (embedded.setdefault(json.dumps(row["budget"]), []) if is_embedded else clips).append(row)
        # Embedded subjects of different sizes have different budgets, for which there is one flag.
        groups = [(part, []) for part in embedded.values()] or [([], [])]
        groups[0] = groups[0][0], clips
        commands += [_repeat_command(variant, *group) for group in groups]
    return commands


def _repeat_command(variant: MethodVariant, embedded: Sequence[Row], clips: Sequence[Row]) -> str:
    rows = [*embedded, *clips]
    words = ["partnerface", "benchmark", "methods", "--methods", shlex.quote(str(variant))]
    words += ["--subjects", shlex.quote(_listed(dict.fromkeys(row["source"] for row in rows), ","))]
    for prefix, part in (("", embedded), ("clip_", clips)):
        if part:
            words += [f"--{prefix}seeds", _listed(sorted({row["seed"] for row in part}), ",")]
            if seconds := part[0]["budget"].get("cpu_seconds"):
                words += [f"--{prefix}cpu_seconds", f"{seconds:g}"]
    for flag in ("protocol", "sample", "head_model"):
        if (value := rows[0][flag]) is not None:
            words += [f"--{flag}", shlex.quote(str(value))]
    if any(row["test_parameters"] != STRICT for row in rows):
        words += ["--refined", "true"]
    steps, statics = rows[0]["budget"].get("steps"), rows[0]["statics_budget"]
    words += ["--steps", str(steps)] if steps else []
    words += ["--starts", rows[0]["start"]]
    if statics is not None:
        [(name, value)] = statics.items()
        words += ["--statics", f"{value / rows[0]['budget'][name]:g}"]
    return " ".join(words)


def _budget_text(row: Row, key: str = "budget") -> str:
    if row[key] is None:
        return ""
    [(name, value)] = row[key].items()
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
