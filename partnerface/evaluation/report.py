"""The report of a test: the content of metrics.json with its protocol, and its table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from partnerface.data.regions import FULL_FRAME, NEAREST_FRAME
from partnerface.data.sequence import TrackedSequence
from partnerface.evaluation.image_metric import ImageMetric
from partnerface.evaluation.means import TEMPORAL_DEFINITION, Averages
from partnerface.evaluation.retracking import RetrackedScores, has_retracked_values
from partnerface.evaluation.true_motion import MotionScores
from partnerface.files.whole_files import replace_text

PAGE_FILE = "report.html"
"""The page of the results, written by the command ``test`` after its other files."""

NOT_RECORDED = "not recorded by the dataset"
MASK_DEFINITION = (
    "head_mask: matte above 0.5 and label face, eyes, mouth, hair or neck; matte: matte above 0.5; "
    "eyes, mouth: that label inside the matte; forehead: between the brows and the hairline of the tracked "
    "head, label face inside the matte"
)


@dataclass
class EvaluationProtocol:
    """How the numbers of a test were measured; ``protocol`` in ``metrics.json``.

    Attributes:
        dataset: name of the sequence.
        name: that of the protocol of the literature which divides the frames and sets the size; None where
            the dataset's own division is tested.
        scored: with such a protocol: whose it is (``title``), which region (``picture``) and ``metrics`` it
            scores, and its ``differences`` from that system's own measurement.
        read_as: as which format the dataset was read, why, and what was assumed; empty where there was no
            choice.
        resolution: width and height in pixels.
        num_frames: number of scored frames by test split.
        num_train_frames: number of frames that training used.
        split_protocol: how the frames of each split of the dataset were chosen, in words by split name,
            ``train`` and ``val`` included.
        split_frames: number of frames of each of these splits.
        metrics: unit, direction and definition of each image metric, as `metrics_protocol` gives them.
        lpips: name of the network of LPIPS; None if LPIPS has no values.
        checkpoint: the file of the weights that were tested, as a path from the run's folder; None for
            weights that were never saved.
        trained_steps: training steps that they have seen.
        test_parameters: ``strict``: tracked test parameters as they are; ``refined``: optimised
            against the test image.
        background: colour behind both images.
        mask: definition of the regions.
        temporal: definition of the temporal metric.
        geometry: definition of the geometry metrics; None if the true surface is not known.
        fine_motion: definition of the regions and scores of fine motion; None if frames without it are not
            known, as of any real video.
        motion: definition of the millimetres of motion left; None if the true motion is not known.
        expression_region: definition of the region of a real video whose look depends on the expression; None
            where there is none.
        retracking: definition of what is compared after faces were found again in the renderings; None if
            nothing was.
        retracking_missing: why nothing was, for instance a missing model file; empty if it was.
        refinement: what was fitted to the test images; None if nothing.
        average: how values of images are averaged.
    """

    dataset: str
    resolution: tuple[int, int]
    num_frames: dict[str, int]
    num_train_frames: int
    split_protocol: dict[str, str]
    split_frames: dict[str, int]
    metrics: dict[str, dict[str, str | bool]]
    lpips: str | None
    name: str | None = None
    scored: dict[str, Any] | None = None
    read_as: str = ""
    checkpoint: str | None = None
    trained_steps: int = 0
    test_parameters: str = "strict"
    background: str = "white"
    mask: str = MASK_DEFINITION
    temporal: str = TEMPORAL_DEFINITION
    geometry: str | None = None
    fine_motion: str | None = None
    motion: str | None = None
    expression_region: str | None = None
    retracking: str | None = None
    retracking_missing: str = ""
    refinement: str | None = None
    average: str = "mean of per-image values"


def split_protocol(sequence: TrackedSequence) -> dict[str, str]:
    """How the frames of each split were chosen, in the dataset's words; `NOT_RECORDED` where it has none."""
    return {name: sequence.split_protocol.get(name, NOT_RECORDED) for name in sequence.splits}


def metrics_protocol(metrics: Mapping[str, ImageMetric]) -> dict[str, dict[str, str | bool]]:
    """Description of each metric by its name, from the attributes of `ImageMetric`.

    ``missing`` says why a metric has no values; it is empty if there are.
    """
    return {
        name: {
            "definition": metric.definition,
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
            "missing": metric.missing(),
        }
        for name, metric in metrics.items()
    }


def evaluation_report(
    protocol: EvaluationProtocol,
    scores: Averages,
    nearest_frame: Averages,
    coverage: dict[str, dict[str, float]],
    motion: MotionScores | None = None,
    retracked: RetrackedScores | None = None,
) -> dict:
    """The content of ``metrics.json``: ``protocol``, ``splits``, ``coverage``, ``motion`` and ``retracked``.

    In ``splits`` are values by split, region and metric, those of the nearest-training-frame baseline under
    the region ``nearest_frame``; ``coverage`` is that of pose and expression by split, ``train`` among them;
    ``motion``, also by split, is null where the true motion is not known, ``retracked`` where no faces were
    looked for or found.
    """
    splits = {
        split: {**regions, NEAREST_FRAME: nearest_frame.get(split, {})} for split, regions in scores.items()
    }
    return {
        "protocol": asdict(protocol),
        "splits": splits,
        "coverage": coverage,
        "motion": motion,
        "retracked": retracked or None,
    }


def write_report(path: Path, report: dict) -> None:
    """Write a report as JSON, whole or not at all.

    Raises:
        ValueError: a value is NaN or infinite, which JSON cannot hold.
        UserError: the file cannot be written.
    """
    replace_text(path, json.dumps(report, indent=2, allow_nan=False) + "\n")


def report_table(report: dict) -> Table:
    """A report as a table, one row for each split and region, with the baseline's PSNR in the last column."""
    protocol = report["protocol"]
    width, height = protocol["resolution"]
    caption = f"{protocol['test_parameters']} test parameters, on {protocol['background']}; "
    caption += "nearest: PSNR of the nearest training frame"
    # Reports of earlier versions do not describe their metrics.
    protocols = protocol.get("metrics", {"psnr": {"unit": "dB"}})
    for name, metric in protocols.items():
        if metric.get("missing"):
            caption += f"; no {name}: {metric['missing']}"
    if protocol.get("retracking_missing"):
        caption += f"; no re-tracking: {protocol['retracking_missing']}"
    table = Table(title=f"{protocol['dataset']} at {width}x{height}", caption=caption)
    # Geometry, which the full frame does not have, would make the table too wide.
    metrics = list(dict.fromkeys(key for regions in report["splits"].values() for key in regions[FULL_FRAME]))
    for column in ("split", "frames", "region", *metrics, "nearest"):
        table.add_column(column, justify="left" if column in ("split", "region") else "right", no_wrap=True)
    for split, regions in report["splits"].items():
        rows = [(name, values) for name, values in regions.items() if name != NEAREST_FRAME]
        first = split, str(protocol["num_frames"][split])
        for name, values in rows:
            baseline = regions[NEAREST_FRAME].get(name, {}).get("psnr")
            shown = [format_value(values.get(metric), protocols.get(metric)) for metric in metrics]
            table.add_row(*first, name, *shown, format_value(baseline, protocols.get("psnr")))
            first = "", ""
        table.add_section()
    return table


MOTION_CAPTION = "true motion left, mm (without a deformation); cosine 1: offsets undo that of the fine face"


def motion_rows(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of the true motion left, by split and region; no row where it is not known."""
    titles, rows = ["split", "fine face", "hair", "quiet face", "cosine"], []
    for split, scores in (report.get("motion") or {}).items():
        left, nothing = scores["mm_left"], scores["mm_nothing"]
        cells = [
            f"{_three_digits(left[region])} ({_three_digits(nothing[region])})"
            for region in ("fine_face", "hair", "quiet_face")
        ]
        rows.append([split, *cells, _three_digits(scores["cosine"]["fine_face"])])
    return titles, rows


RETRACKED_CAPTION = (
    "faces found again in the rendering (in the nearest training frame; by the tracked head itself), "
    "against the target"
)
_RETRACKED_COLUMNS = {
    "faces found, share": ("face", "found_share"),
    "expression, mm": ("face", "expression_mm"),
    "turn, degrees": ("face", "rotation_degrees"),
    "gaze, degrees": ("eyes", "gaze_degrees"),
    "lids, mm": ("eyes", "lid_aperture_mm"),
    "lids, correlation": ("eyes", "lid_correlation"),
    "blinks, of the eye's width": ("eyes", "blink_lid_share"),
    "mouth opening, mm": ("mouth", "opening_mm"),
}


def retracked_rows(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of what was found again in the renderings, by split; no row where nothing was."""
    rows = []
    for split, tables in (report.get("retracked") or {}).items():
        cells = []
        for region, value in _RETRACKED_COLUMNS.values():
            avatar, *others = (
                tables.get(name, {}).get(region, {}).get(value)
                for name in ("avatar", "nearest_frame", "tracked_head")
            )
            cells.append(f"{_three_digits(avatar)} ({'; '.join(map(_three_digits, others))})")
        rows.append([split, *cells])
    return ["split", *_RETRACKED_COLUMNS], rows


def retracked_caption(report: Mapping[str, Any]) -> str:
    """What stands under the table of `retracked_rows`; it names the splits without values."""
    tables = report.get("retracked") or {}
    few = [split for split, table in tables.items() if not has_retracked_values(table)]
    if not few:
        return RETRACKED_CAPTION
    return f"{RETRACKED_CAPTION}; too few faces were found to compare in {', '.join(few)}"


def _three_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def format_value(value: float | None, metric: Mapping[str, str | bool] | None) -> str:
    """A score as tables show it; ``metric`` is its description in the protocol, of `metrics_protocol`."""
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    return f"{value:.2f}" if metric and metric["unit"] == "dB" else f"{value:.4f}"
