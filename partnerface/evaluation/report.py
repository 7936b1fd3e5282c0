"""The record of an evaluation: metrics.json, and the same as a table to read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from partnerface.data.sequence import TrackedSequence
from partnerface.evaluation.region_metrics import HIGHEST_PSNR, METRICS
from partnerface.evaluation.split_means import Averages
from partnerface.evaluation.temporal_stability import TEMPORAL
from partnerface.files.whole_files import replace_text

NEAREST_FRAME = "nearest_frame"

NOT_RECORDED = "not recorded by the dataset"
MASK_DEFINITION = (
    "head_mask: matte above 0.5 and label face, eyes, mouth, hair or neck; matte: matte above 0.5; "
    "eyes, mouth: that label inside the matte; forehead: between the brows and the hairline of the tracked "
    "head, label face inside the matte. PSNR and L1 over the pixels, SSIM as the mean of the full frame's "
    "map, LPIPS and MS-SSIM on the bounding box, white outside the mask; LPIPS: shorter side 64 px at "
    "least, enlarged to it"
)
MS_SSIM_DEFINITION = (
    "five scales (Wang et al. 2003), Gaussian of 1.5 px; an image or a region's bounding box whose shorter "
    "side is under 176 px is enlarged bilinearly to it; null under 44 px"
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
        lpips: name of the network, or None.
        lpips_missing: why there is no LPIPS, empty where there is.
        test_parameters: ``strict``: tracked test parameters as they are; ``refined``: optimised
            against the test image.
        background: colour behind both images.
        mask: what the regions are.
        ms_ssim: how MS-SSIM is worked out.
        temporal: what the temporal metric is.
        geometry: what the geometry metrics are, None where the true surface is not known.
        refinement: what was fitted to test images, None if nothing.
        average: how images are averaged.
        psnr_limit: PSNR of identical images, in dB.
    """

    dataset: str
    resolution: tuple[int, int]
    num_frames: dict[str, int]
    num_train_frames: int
    split_protocol: dict[str, str]
    split_frames: dict[str, int]
    lpips: str | None
    lpips_missing: str = ""
    test_parameters: str = "strict"
    background: str = "white"
    mask: str = MASK_DEFINITION
    ms_ssim: str = MS_SSIM_DEFINITION
    temporal: str = TEMPORAL_DEFINITION
    geometry: str | None = None
    refinement: str | None = None
    average: str = "mean of per-image values"
    psnr_limit: float = HIGHEST_PSNR


def split_protocol(sequence: TrackedSequence) -> dict[str, str]:
    """How the frames of each split were chosen, in the dataset's words; `NOT_RECORDED` where it has none."""
    return {name: sequence.split_protocol.get(name, NOT_RECORDED) for name in sequence.splits}


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
    if protocol["lpips"] is None:
        caption += f"; no LPIPS: {protocol['lpips_missing']}"
    table = Table(title=f"{protocol['dataset']} at {width}x{height}", caption=caption)
    metrics = [*METRICS, TEMPORAL]
    for column in ("split", "frames", "region", *metrics, "nearest"):
        table.add_column(column, justify="left" if column in ("split", "region") else "right", no_wrap=True)
    for split, regions in report["splits"].items():
        rows = [(name, values) for name, values in regions.items() if name != NEAREST_FRAME]
        for place, (name, values) in enumerate(rows):
            baseline = regions[NEAREST_FRAME].get(name, {}).get("psnr")
            shown = [_shown(metric, values.get(metric)) for metric in metrics]
            first = (split, str(protocol["num_frames"][split])) if place == 0 else ("", "")
            table.add_row(*first, name, *shown, _shown("psnr", baseline), end_section=place == len(rows) - 1)
    return table


def _shown(metric: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if metric == "psnr" else f"{value:.4f}"
