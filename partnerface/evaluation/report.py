"""The record of an evaluation: metrics.json, and the same as a table to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from partnerface.data.sequence import TrackedSequence
from partnerface.evaluation.image_metric import ImageMetric
from partnerface.evaluation.means import FULL_FRAME, Averages
from partnerface.files.whole_files import replace_text

NEAREST_FRAME = "nearest_frame"

NOT_RECORDED = "not recorded by the dataset"
MASK_DEFINITION = (
    "head_mask: matte above 0.5 and label face, eyes, mouth, hair or neck; matte: matte above 0.5; "
    "eyes, mouth: that label inside the matte; forehead: between the brows and the hairline of the tracked "
    "head, label face inside the matte"
)
TEMPORAL_DEFINITION = (
    "for each pair of consecutive frames of a split, over the pixels that belong to the region in both: "
    "sqrt(mean(((r[t+1] - r[t]) - (y[t+1] - y[t]))^2)) of render r and target y in [0, 1] (dtSSD, Erofeev "
    "et al. 2015, of colour); mean over pairs; null in a split without any"
)
GEOMETRY_DEFINITION = (
    "over a region's pixels whose ray meets the true head; depth_coverage: share of them that show the "
    "avatar's head (opacity above 0.5); over those, depth_mm: mean absolute difference of expected depth "
    "along the ray; correspondence_mm: mean distance of the canonical point of the pixel (inverse skinning "
    "and fine motion of the point at the expected depth) from the true one; correspondence_true_depth_mm: "
    "the same of the true surface point, free of depth; null for a method without a canonical head; per "
    "image, then averaged"
)


@dataclass
class EvaluationProtocol:
    """How numbers came about; written beside them.

    Attributes:
        dataset: name of the sequence.
        resolution: width and height in pixels.
        num_frames: number of scored frames by split.
        num_train_frames: number of training frames.
        split_protocol: how the frames of each split of the dataset were chosen, ``train`` and ``val`` among
            them; see `split_protocol`.
        split_frames: number of frames of each of these splits.
        metrics: what each image metric is, by name; see `metrics_protocol`.
        lpips: name of LPIPS's network, None where it has no values.
        test_parameters: ``strict``: tracked test parameters as they are; ``refined``: optimised
            against the test image.
        background: colour behind both images.
        mask: what the regions are.
        temporal: what the temporal metric is.
        geometry: what the geometry metrics are, None where the true surface is not known.
        refinement: what was fitted to test images, None if nothing.
        average: how images are averaged.
    """

    dataset: str
    resolution: tuple[int, int]
    num_frames: dict[str, int]
    num_train_frames: int
    split_protocol: dict[str, str]
    split_frames: dict[str, int]
    metrics: dict[str, dict[str, str | bool]]
    lpips: str | None
    test_parameters: str = "strict"
    background: str = "white"
    mask: str = MASK_DEFINITION
    temporal: str = TEMPORAL_DEFINITION
    geometry: str | None = None
    refinement: str | None = None
    average: str = "mean of per-image values"


def split_protocol(sequence: TrackedSequence) -> dict[str, str]:
    """How the frames of each split were chosen, in the dataset's words; `NOT_RECORDED` where it has none."""
    return {name: sequence.split_protocol.get(name, NOT_RECORDED) for name in sequence.splits}


def metrics_protocol(metrics: Mapping[str, ImageMetric]) -> dict[str, dict[str, str | bool]]:
    """By name: ``definition``, ``unit``, ``higher_is_better``, and ``missing``, why there are no values."""
    return {
        name: {
            "definition": metric.definition,
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
            "missing": metric.missing(),
        }
        for name, metric in metrics.items()
    }


Coverage = dict[str, dict[str, float]]
"""Pose and expression coverage by split name, ``train`` among them."""


def evaluation_report(
    protocol: EvaluationProtocol, scores: Averages, nearest_frame: Averages, coverage: Coverage
) -> dict:
    """The content of ``metrics.json``.

    Returns:
        ``protocol``; ``splits``: split -> region -> metric, with ``nearest_frame`` -> region -> metric;
        ``coverage``: how far each split lies from the training frames.
    """
    splits = {
        split: {**regions, NEAREST_FRAME: nearest_frame.get(split, {})} for split, regions in scores.items()
    }
    return {"protocol": asdict(protocol), "splits": splits, "coverage": coverage}


def write_report(path: Path, report: dict) -> None:
    """Write a report as JSON, whole or not at all.

    Raises:
        ValueError: a value is NaN or infinite, which JSON cannot hold.
        UserError: the folder cannot be written.
    """
    replace_text(path, json.dumps(report, indent=2, allow_nan=False) + "\n")


def report_table(report: dict) -> Table:
    """A report as a table: one row for each split and region, the baseline's PSNR beside it."""
    protocol = report["protocol"]
    width, height = protocol["resolution"]
    caption = f"{protocol['test_parameters']} test parameters, on {protocol['background']}; "
    caption += "nearest: PSNR of the nearest training frame"
    # A report of an earlier version does not know its metrics.
    protocols = protocol.get("metrics", {"psnr": {"unit": "dB"}})
    for name, metric in protocols.items():
        if metric.get("missing"):
            caption += f"; no {name}: {metric['missing']}"
    table = Table(title=f"{protocol['dataset']} at {width}x{height}", caption=caption)
    # Regions of the head have geometry too, in columns of which the full frame has none.
    metrics = list(dict.fromkeys(key for regions in report["splits"].values() for key in regions[FULL_FRAME]))
    for column in ("split", "frames", "region", *metrics, "nearest"):
        table.add_column(column, justify="left" if column in ("split", "region") else "right", no_wrap=True)
    for split, regions in report["splits"].items():
        rows = [(name, values) for name, values in regions.items() if name != NEAREST_FRAME]
        for place, (name, values) in enumerate(rows):
            baseline = regions[NEAREST_FRAME].get(name, {}).get("psnr")
            shown = [_shown(values.get(name), protocols.get(name)) for name in metrics]
            first = (split, str(protocol["num_frames"][split])) if place == 0 else ("", "")
            table.add_row(
                *first,
                name,
                *shown,
                _shown(baseline, protocols.get("psnr")),
                end_section=place == len(rows) - 1,
            )
    return table


def _shown(value: float | None, metric: Mapping[str, str | bool] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if metric and metric["unit"] == "dB" else f"{value:.4f}"
