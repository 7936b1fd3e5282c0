"""The page of a run, report.html: one file with its pictures, scores and player inside, for any browser."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from partnerface.avatar.method import AvatarMethod
from partnerface.avatar.picture import image_bytes
from partnerface.data.sequence import TrackedSequence
from partnerface.data.view import View
from partnerface.dataset_checks.sequence_checks import Finding
from partnerface.evaluation.part_effects import part_summaries
from partnerface.evaluation.pictures import depth_map, part_colours, part_map
from partnerface.evaluation.report import MOTION_CAPTION, PAGE_FILE, motion_rows
from partnerface.files.images import read_rgb
from partnerface.files.plain_values import read_json_table
from partnerface.files.videos import small_video
from partnerface.files.whole_files import whole_file
from partnerface.result_page.expression_sheet import (
    ExpressionSheet,
    expression_sheet,
    reduced_size,
)
from partnerface.result_page.findings import run_findings
from partnerface.result_page.page_texts import (
    expression_ranges,
    headline,
    next_commands,
    protocol_in_words,
    run_files,
    score_tables,
    versions,
)
from partnerface.result_page.sliders import Slider, facing_view
from partnerface.result_page.training_curves import Curve, curve_figures, logged_curves
from partnerface.runs.results import environment

JPEG_QUALITY = 85
STRIP_WIDTH = 1280
TILE_SIDE = 192
"""Pixels of the longer side of a tile of the player, and of the part map."""
VIDEO_BYTES = 1_800_000
"""A video of more is encoded anew, smaller."""
SHEET_SHARE, LEAST_SHEET_SECONDS, MOST_SHEET_SECONDS = 0.04, 10.0, 60.0
"""Time for the player's pictures: a share of that of training, within limits."""
MOST_PARTS = 16
SMALL_RANGE = 0.05
"""A coefficient of the expression that changes less in training counts as never shown."""


def write_result_page(
    run: Path,
    avatar: AvatarMethod,
    sequence: TrackedSequence,
    dataset: Path,
    ending: str = "",
    track: Callable[[Sequence[View]], Iterable[View]] = lambda views: views,
) -> Path:
    """Write ``report.html`` from the files that a test has left in the run's folder, whole or not at all.

    Args:
        run: the folder.
        avatar: the tested avatar, in evaluation mode.
        sequence: the video that it was tested on.
        dataset: folder of the video.
        ending: behind the names of the test's files, such as ``_refined``; the page has it too.
        track: passes the player's views through and shows how far they are.

    Raises:
        UserError: a file of the test is missing or damaged, or the page cannot be written.
    """
    curves = logged_curves(run)
    trained = max(
        (row[1] for name, curve in curves.items() if name.startswith("train/") for row in curve), default=0.0
    )
    seconds = min(max(SHEET_SHARE * trained, LEAST_SHEET_SECONDS), MOST_SHEET_SECONDS)
    report = read_json_table(run / f"metrics{ending}.json", "test again")
    sheet = expression_sheet(avatar, TILE_SIDE, seconds, track)
    findings = run_findings(sequence, dataset, avatar, curves, report["protocol"])
    path = run / f"{Path(PAGE_FILE).stem}{ending}{Path(PAGE_FILE).suffix}"
    page = result_page(run, ending, report, curves, avatar, sheet, findings)
    with whole_file(path) as partial:
        # A name of a file or an argument need not be Unicode.
        partial.write_bytes(page.encode("utf-8", "replace"))
    return path


def result_page(
    run: Path,
    ending: str,
    report: Mapping[str, Any],
    curves: Mapping[str, Curve],
    avatar: AvatarMethod,
    sheet: ExpressionSheet | None,
    findings: Sequence[Finding],
) -> str:
    """The text of the page; a section without content is left out.

    Args:
        run: the run's folder, with video and strip.
        ending: behind the names of those files.
        report: content of ``metrics.json``.
        curves: the log of training, of `logged_curves`.
        avatar: the tested avatar.
        sheet: pictures of the player.
        findings: doubts and statements about video and training.
    """
    pages = Environment(
        loader=PackageLoader("partnerface.result_page", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _part("page.js")
    here, ranges = environment(), expression_ranges(avatar)
    return pages.get_template("page.html").render(
        style=Markup(_part("page.css")),
        script=Markup(script),
        # Only this script runs, whatever a name in the page holds.
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        protocol=report["protocol"],
        headline=headline(report, curves),
        video=_video(run / f"comparison{ending}.mp4"),
        animation=_animation(run),
        strip=_strip(run / f"strip{ending}.png"),
        player=sheet and _player(sheet),
        shown=[row for row in ranges if row[2] - row[1] >= SMALL_RANGE],
        hidden=[name for name, low, high in ranges if high - low < SMALL_RANGE],
        curves=[(title, Markup(svg)) for title, svg in curve_figures(curves)],
        tables=score_tables(report),
        motion=motion_rows(report),
        motion_caption=MOTION_CAPTION,
        words=protocol_in_words(report["protocol"]),
        parts=_parts(avatar),
        coverage=report.get("coverage", {}),
        findings=findings,
        command=here["command"],
        commands=next_commands(run),
        versions=versions(here),
        files=run_files(run, ending),
        folder=str(run.absolute()),
    )


def _part(name: str) -> str:
    return files("partnerface.result_page").joinpath("template", name).read_text(encoding="utf-8")


def _video(path: Path) -> dict[str, Any] | None:
    """A video as the page embeds it, and what was left out of it."""
    if not path.is_file():
        return None
    content, remark = small_video(path, VIDEO_BYTES)
    return content and {"src": _data_uri(content, "video/mp4"), "remark": remark}


def _animation(run: Path) -> dict[str, Any] | None:
    """The animation, unless it shows an earlier training."""
    path, checkpoint = run / "animation.mp4", run / "checkpoints" / "last.ckpt"
    stale = path.is_file() and checkpoint.is_file() and path.stat().st_mtime < checkpoint.stat().st_mtime
    return None if stale else _video(path)


def _strip(path: Path) -> str | None:
    return jpeg_uri(read_rgb(path), STRIP_WIDTH) if path.is_file() else None


def jpeg_uri(picture: np.ndarray, most_width: int | None = None) -> str:
    """A picture ``[H, W, 3]`` uint8 as a JPEG file within an address, reduced to a width."""
    image, stream = Image.fromarray(picture), BytesIO()
    if most_width is not None and image.width > most_width:
        image = image.resize(
            (most_width, round(image.height * most_width / image.width)), Image.Resampling.LANCZOS
        )
    image.save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return _data_uri(stream.getvalue(), "image/jpeg")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _player(sheet: ExpressionSheet) -> dict[str, Any]:
    def slider(slider: Slider, shares: list[float]) -> dict[str, Any]:
        return {"low": slider.low, "high": slider.high, "last": len(shares) - 1, "start": shares.index(0.0)}

    return {
        "src": jpeg_uri(sheet.picture()),
        "count": len(sheet.tiles),
        "data": {
            "width": sheet.width,
            "height": sheet.height,
            "places": [sheet.place(k) for k in range(len(sheet.tiles))],
            "pairs": [
                {
                    "title": pair.title,
                    "first": pair.first,
                    "across": slider(pair.across, pair.columns),
                    "down": slider(pair.down, pair.rows),
                }
                for pair in sheet.pairs
            ],
        },
    }


def _parts(avatar: AvatarMethod) -> dict[str, Any]:
    """Picture, depth and, for methods with parts, the map of the parts and a row for those that do most:
    title, colour and effect in grey levels.
    """
    view = facing_view(avatar)
    picture = avatar.render(view, reduced_size(view, TILE_SIDE), with_parts=avatar.parts > 1)
    weights = picture.part_weights
    found: dict[str, Any] = {
        "picture": jpeg_uri(picture.to_bytes()),
        "depth": jpeg_uri(image_bytes(depth_map(picture.depth))),
    }
    if weights is None or weights.shape[-1] == 1:
        return {**found, "map": None, "rows": [], "others": 0}
    colours = (255 * part_colours(avatar.parts)).round().int().tolist()
    rows = [
        (part.title, "#{:02x}{:02x}{:02x}".format(*colours[part.number]), part.effect)
        for part in part_summaries(avatar)[:MOST_PARTS]
    ]
    found["map"] = jpeg_uri(image_bytes(part_map(weights)))
    return {**found, "rows": rows, "others": avatar.parts - len(rows)}
