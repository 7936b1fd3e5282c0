"""The texts of a run's page: headline, tables, protocol, ranges, commands, versions and files."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from typing import Any

from partnerface.avatar.method import AvatarMethod
from partnerface.data.regions import FULL_FRAME, NEAREST_FRAME
from partnerface.data.splits import hardest_split
from partnerface.evaluation.report import format_value
from partnerface.result_page.training_curves import Curve

HEAD_REGION = "head_mask"
FILES = {
    "checkpoints/last.ckpt": "weights and the state of training; what loads as an avatar",
    "comparison{}.mp4": "target, render and error of the test frames",
    "strip{}.png": "target, render, error, parts and depth of some frames",
    "animation.mp4": "the avatar in motion",
    "metrics{}.json": "scores of the test splits with their protocol",
    "metrics.csv": "the log of training",
    "config.yaml": "the whole configuration",
    "dataset": "the tracked video",
}
"""Files of a run that the page names; braces stand for the ending of refined results."""
PACKAGES = ("torch", "lightning", "warp-lang", "numpy")


def headline(report: Mapping[str, Any], curves: Mapping[str, Curve]) -> list[tuple[str, str, str]]:
    """Label, value and remark of the figures at the top: of unseen expressions where there are any."""
    protocol, splits = report["protocol"], report["splits"]
    main = hardest_split(splits) or next(iter(splits), None)
    found = []
    if main is not None:
        regions = splits[main]
        scores, nearest = (place.get(HEAD_REGION, {}) for place in (regions, regions.get(NEAREST_FRAME, {})))
        for name, title in (("psnr", "PSNR of the head"), ("lpips", "LPIPS of the head")):
            if scores.get(name) is not None:
                metric = protocol.get("metrics", {}).get(name)
                unit = " dB" if name == "psnr" else ""
                value, baseline = (format_value(place.get(name), metric) for place in (scores, nearest))
                remark = f"{words(main)}; nearest training frame: {baseline}{unit}"
                found.append((title, value + unit, remark))
    tested = "; ".join(f"{words(name)} {count}" for name, count in protocol["num_frames"].items())
    found.append(("Training frames", str(protocol["num_train_frames"]), f"test frames: {tested}"))
    found.append(("Picture", "x".join(map(str, protocol["resolution"])), "pixels"))
    if "train/psnr" in curves:
        step, seconds, _ = curves["train/psnr"][-1]
        found.append(("Training", f"{seconds / 60:.1f} min", f"{step + 1} steps"))
    return found


def words(name: str) -> str:
    """A name of the configuration as words."""
    return name.replace("_", " ")


def score_tables(report: Mapping[str, Any]) -> list[tuple[str, int, list[str], list[list[str]]]]:
    """Name, number of frames, titles and rows of the table of each split; the first cell is the region."""
    metrics = report["protocol"].get("metrics", {})
    tables = []
    for split, regions in report["splits"].items():
        rows = [(name, values) for name, values in regions.items() if name != NEAREST_FRAME]
        names = list(dict.fromkeys(key for _, values in rows for key in values))
        # Depth and correspondence, which the full frame does not have, come last.
        names.sort(key=lambda name: name not in regions.get(FULL_FRAME, {}))
        titles = ["region", *map(words, names), "nearest frame, psnr"]
        lines = []
        for region, values in rows:
            baseline = regions.get(NEAREST_FRAME, {}).get(region, {}).get("psnr")
            # The ceiling and the sampling error of fine motion are PSNR too.
            shown = {name: metrics.get("psnr" if name.endswith("_psnr") else name) for name in names}
            cells = [format_value(values.get(name), shown[name]) for name in names]
            lines.append([words(region), *cells, format_value(baseline, metrics.get("psnr"))])
        tables.append((split, report["protocol"]["num_frames"].get(split, 0), titles, lines))
    return tables


def protocol_in_words(protocol: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured how, as terms and their descriptions."""
    width, height = protocol["resolution"]
    found = [
        *_named(protocol),
        ("Pictures", f"{width}x{height} pixels over {protocol['background']}"),
        (
            "Parameters of the test frames",
            protocol.get("refinement") or f"{protocol['test_parameters']}: as tracked",
        ),
    ]
    if protocol.get("checkpoint"):
        found.append(("Weights", f"{protocol['checkpoint']}, step {protocol['trained_steps']}"))
    for name, text in protocol.get("split_protocol", {}).items():
        count = protocol.get("split_frames", {}).get(name)
        found.append((f"Split {words(name)}", text if count is None else f"{text} ({count} frames)"))
    for name, metric in protocol.get("metrics", {}).items():
        better = "higher" if metric.get("higher_is_better") else "lower"
        unit = f", {metric['unit']}" if metric.get("unit") else ""
        found.append((f"{name}{unit}; {better} is better", metric.get("definition", "")))
    for key, title in (
        ("temporal", "temporal; lower is better"),
        ("geometry", "Geometry"),
        ("fine_motion", "Pixels of fine motion"),
        ("motion", "True motion left"),
        ("expression_region", "Region of the expression"),
        ("mask", "Regions"),
    ):
        if protocol.get(key):
            found.append((title, protocol[key]))
    return [*found, ("Average", protocol.get("average", ""))]


def _named(protocol: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The protocol of the literature, if any, and what the dataset was read as."""
    found = []
    if protocol.get("name"):
        scored = protocol["scored"]
        text = f"{protocol['name']}, that of {scored['title']}: test on {scored['test']}; "
        text += f"{', '.join(scored['metrics'])} of {words(scored['picture'])}"
        text = "; ".join([text, *scored["differences"]])
        found.append(("Protocol", text))
    return [*found, *([("Dataset", f"read as {protocol['read_as']}")] if protocol.get("read_as") else [])]


def expression_ranges(avatar: AvatarMethod) -> list[tuple[str, float, float]]:
    """Name, least and greatest value of each expression in training, the most used first."""
    low, high = avatar.view_defaults.expression_low.tolist(), avatar.view_defaults.expression_high.tolist()
    rows = zip(avatar.head_model.asset.expression_names, low, high, strict=True)
    return sorted(rows, key=lambda row: row[1] - row[2])


def next_commands(run: Path) -> list[tuple[str, str]]:
    """What can be done with the run next: purpose and command."""
    config = quote(str(run / "config.yaml"))
    return [
        ("Test again", f"partnerface test --config {config} --ckpt_path last"),
        ("Render the held-out frames", f"partnerface predict --config {config} --ckpt_path last"),
    ]


def versions(here: Mapping[str, Any]) -> list[tuple[str, str]]:
    machine = here["machine"]
    commit = f", commit {here['commit']}" if here["commit"] else ""
    return [
        ("partnerface", f"{here['version']}{commit}"),
        ("Python", platform.python_version()),
        *((name, version(name)) for name in PACKAGES),
        ("machine", machine["cuda"] or f"{machine['cores']} cores, {machine['processor']}"),
    ]


def run_files(run: Path, ending: str) -> list[tuple[str, str, str]]:
    """Name, size in words and description of the files of the run that are there."""
    found = []
    for name, text in FILES.items():
        path = run / name.format(ending)
        if path.is_file():
            found.append((name.format(ending), _size(path.stat().st_size), text))
        elif path.is_dir():
            found.append((name, "folder", text))
    return found


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
