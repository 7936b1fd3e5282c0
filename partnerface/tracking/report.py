"""The tracker's report: landmark residuals, faults of the clip, coverage, and the overlay of a frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from partnerface.data.completion.complete import Completion
from partnerface.data.formats.plausibility import frame_runs
from partnerface.data.regions import Region
from partnerface.head_models.landmark_geometry import LEFT_IRIS, REGIONS, RIGHT_IRIS
from partnerface.tracking.clip import Clip
from partnerface.tracking.detection.landmark_track import LandmarkTrack
from partnerface.tracking.fit.head_fit import HeadFit

MIN_CONTOUR_SHARE = 0.05
"""Share of the rows with a matte contour below which its gap is not reported."""
OUTLINE = (0, 220, 0)
DETECTED = (255, 40, 40)
FITTED = (255, 230, 0)
"""Colours of the overlay: borders of the mesh's regions, detected and fitted landmarks."""


def landmark_residuals(track: LandmarkTrack, numbers: np.ndarray, landmarks: Tensor) -> dict[str, float]:
    """Distance of a head's landmarks to the detected ones in tracked frames, in pixels of a 512-pixel crop.

    ``landmarks`` ``[T, K, 2]`` are pixels of the head's landmarks, ``numbers`` ``[K]`` their numbers.

    Returns:
        ``mean``, ``median`` and ``p95``, and the mean of each region of the face.
    """
    distance = _distances(track, numbers, landmarks)
    values = {"mean": distance.mean(), "median": np.median(distance), "p95": np.quantile(distance, 0.95)}
    for name, region in REGIONS.items():
        rows = np.isin(numbers, region)
        if rows.any():
            values[name] = distance[:, rows].mean()
    return {name: _at_512(track, value) for name, value in values.items()}


def iris_residual(track: LandmarkTrack, irises: Tensor) -> float:
    """Mean distance of fitted irises ``[T, 2, 2]`` to detected ones, in pixels of a 512-pixel crop."""
    return _at_512(track, _distances(track, np.array([LEFT_IRIS, RIGHT_IRIS]), irises).mean())


def frame_residuals(track: LandmarkTrack, numbers: np.ndarray, landmarks: Tensor) -> Tensor:
    """``[T]`` `landmark_residuals` per frame: mean, in pixels of a 512-pixel crop; 0 without a face."""
    residuals = torch.zeros(len(track))
    means = _distances(track, numbers, landmarks).mean(1)
    residuals[torch.as_tensor(track.used)] = torch.as_tensor(means * 512 / track.height).float()
    return residuals


def _distances(track: LandmarkTrack, numbers: np.ndarray, landmarks: Tensor) -> np.ndarray:
    """``[F, K]`` pixels, in the F tracked frames."""
    detected = track.landmarks[track.used][:, numbers, :2]
    return np.linalg.norm(landmarks.numpy()[track.used] - detected, axis=-1)


def _at_512(track: LandmarkTrack, pixels: float) -> float:
    return round(float(pixels) * 512 / track.height, 3)


def report_record(
    clip: Clip, fit: HeadFit, aligned: Tensor, completion: Completion, cuts: list[int], notes: list[str]
) -> dict:
    """Everything that the report says, ready for JSON.

    Args:
        clip: the clip.
        fit: its landmark fit.
        aligned: ``[T, K, 2]`` pixels of the fitted landmarks on the aligned mesh: their residuals show how
            far texture and outline moved it from them.
        completion: torso, shell and splits.
        cuts: first frames of new shots.
        notes: what was done to the video, in words for the user.
    """
    track, contour, torso, shell = clip.track, fit.contour, completion.torso, completion.shell
    usable = contour is not None and contour.usable >= MIN_CONTOUR_SHARE
    return {
        "frames": len(track),
        "fps": round(track.fps, 3),
        "notes": notes,
        "frames_without_face": np.flatnonzero(~track.valid).tolist(),
        "frames_not_trusted": np.flatnonzero(track.valid & ~track.trusted).tolist(),
        "frames_repeated": np.flatnonzero(track.copies).tolist(),
        "jump_cuts": cuts,
        "residual_px_at_512": {
            **landmark_residuals(track, fit.landmark_numbers, fit.landmarks),
            "iris": iris_residual(track, fit.irises),
        },
        "aligned_residual_px_at_512": landmark_residuals(track, fit.landmark_numbers, aligned),
        "contour_usable_share": round(contour.usable, 3) if contour else 0.0,
        "contour_gap_median_px_at_512": _at_512(track, contour.gaps.abs().median()) if usable else None,
        "focal_px": round(fit.focal, 1),
        "focal_is": "held by its prior, not measured",
        "fit_cpu_seconds": round(fit.cpu_seconds, 1),
        "neck_line": round(completion.labels.neck_line, 4),
        "torso_mismatch_still": round(torso.mismatch_still, 5),
        "torso_mismatch_moved": round(torso.mismatch, 5),
        "shell_mm": {
            "median": round(float(shell.thickness.median()) * 1e3, 1),
            "max": round(float(shell.thickness.max()) * 1e3, 1),
        },
        "shell_unreached_share": round(shell.unreached_share, 5),
        "shell_psnr_ceiling_db": round(shell.psnr_ceiling, 1),
        "coverage": completion.coverage,
    }


def write_report(folder: Path, record: dict) -> None:
    """Write ``report.json`` and the same as text, ``report.md``."""
    (folder / "report.json").write_text(json.dumps(record, indent=1))
    (folder / "report.md").write_text(report_text(record))


def report_text(record: dict) -> str:
    """A short text table."""
    missing = record["frames_without_face"]
    lines = [
        "# Tracking report",
        "",
        f"{record['frames']} frames at {record['fps']:g} per second; "
        + (
            f"no face in {len(missing)}: {frame_runs(missing)} (weight 0)"
            if missing
            else "a face in every frame"
        ),
    ]
    if record["jump_cuts"]:
        lines.append(f"Jump cuts before one background, kept: frames {frame_runs(record['jump_cuts'])}")
    lines += [f"- {note}" for note in record["notes"]]
    aligned = record["aligned_residual_px_at_512"]
    lines += ["", "| landmarks | residual, px at 512 | after alignment |", "|---|---|---|"]
    for name, value in record["residual_px_at_512"].items():
        lines.append(f"| {name} | {value:.2f} | {f'{aligned[name]:.2f}' if name in aligned else ''} |")
    gap = record["contour_gap_median_px_at_512"]
    lines += [
        "",
        "Residuals are to the detector's points, not to the truth. The alignment leaves them where skin and",
        "outline disagree with them.",
        f"Matte contour: usable in {record['contour_usable_share']:.0%} of the rows"
        + (f", median gap {gap:.2f} px." if gap is not None else "; not used."),
        f"Torso: mean difference to the reference {record['torso_mismatch_still']:.4f} still, "
        f"{record['torso_mismatch_moved']:.4f} moved.",
        f"Shell: median {record['shell_mm']['median']} mm, up to {record['shell_mm']['max']} mm; "
        f"{record['shell_unreached_share']:.2%} of the head's matte is out of reach, "
        f"which alone limits PSNR on white to {record['shell_psnr_ceiling_db']} dB.",
        "",
        "| split | frames | yaw | pitch | expression distance to train, mean |",
        "|---|---|---|---|---|",
    ]
    for name, values in record["coverage"].items():
        lines.append(
            f"| {name} | {values['frames']:.0f} | {values['yaw_min']:.0f} .. {values['yaw_max']:.0f} | "
            f"{values['pitch_min']:.0f} .. {values['pitch_max']:.0f} | "
            f"{values['expression_distance_mean']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def overlay_frame(
    image: np.ndarray, regions: np.ndarray, detected: np.ndarray | None, fitted: np.ndarray
) -> np.ndarray:
    """Draw the tracking over one frame ``[H, W, 3]`` uint8.

    Borders of the posed mesh's regions ``[H, W]`` are drawn green, detected landmarks ``[K, 2]`` in pixels
    red (None where the frame is not used) and fitted ones yellow.
    """
    canvas = image.copy()
    border = np.zeros(regions.shape, bool)
    shown = np.where(regions == Region.TORSO, 0, regions)
    border[:, 1:] |= shown[:, 1:] != shown[:, :-1]
    border[1:] |= shown[1:] != shown[:-1]
    canvas[border] = OUTLINE
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    if detected is None:
        draw.text((8, 8), "not used", fill=DETECTED)
    else:
        for x, y in detected.tolist():
            draw.rectangle((x - 1, y - 1, x + 0.5, y + 0.5), fill=DETECTED)
        draw.point([tuple(point) for point in fitted.tolist()], fill=FITTED)
    return np.asarray(picture)
