"""Findings, and checks on the numbers of a dataset: camera, splits, tracking, coverage of pose and face."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.plausibility import left_out_report
from partnerface.data.sequence import TrackedSequence
from partnerface.data.splits import split_coverage
from partnerface.errors import UserError
from partnerface.files.plain_values import read_json_table
from partnerface.head_models.head_model import HeadModel

Severity = Literal["ok", "doubt", "unfit"]


@dataclass(frozen=True)
class Finding:
    """One statement about a dataset.

    Attributes:
        topic: what was looked at.
        severity: ``unfit`` forbids training, ``doubt`` costs quality, ``ok`` is for the record.
        text: the statement with its numbers, in words.
        values: the numbers, for ``check.json``.
    """

    topic: str
    severity: Severity
    text: str
    values: dict[str, float] = field(default_factory=dict)


def graded(topic: str, problems: list[tuple[Severity, str]], fine: str, values: dict) -> list[Finding]:
    """A finding for each problem, or one that says that all is well.

    Problems are severity and statement; ``fine`` is the statement where there are none, ``values`` are the
    numbers, carried by the first finding.
    """
    found = problems or [("ok", fine)]
    return [Finding(topic, *problem, values if k == 0 else {}) for k, problem in enumerate(found)]


TRACKING_REPORT = "report.json"
"""The tracker's report in a dataset that it made."""
LARGEST_PICTURE = 200.0
"""Sides of a head crop that a video may have, with a margin: 8K around a crop of 64 pixels has 120."""
FOCAL_RANGE = (0.5, 10.0)
"""Focal length in longer sides of the picture: a field of view of 90 to 6 degrees."""
USUAL_FOCAL_RANGE = (0.8, 6.0)
STRETCH = 1.05
"""Ratio of fl_x and fl_y from which pixels are not square."""
PRINCIPAL_LIMIT = 2.0
"""Picture sides between the principal point and the picture's middle; a crop moves it off."""
STEADY = 1e-3
"""Metres (and elements of the rotation) by which a camera that stands still may move."""
MOST_REPEATED = 0.2
"""Share of neighbouring frames that may be the same picture, as in a video of a raised frame rate."""
LEAST_TRAIN, GOOD_TRAIN = 10, 200
"""Training frames: below the first there is no avatar, below the second a poor one."""
SHOWN_BY_SECONDS = ((0, 0, 0), (3, 0.58, 0.55), (5, 0.71, 0.75), (10, 0.88, 0.94), (20, 1, 1))
"""Seconds of video, the share of the range of expressions, and that of the range of yaw that they show: means
over parts of three clips of 16, 20 and 20 seconds, by the scores and matrices of MediaPipe's detector."""
MOST_LEFT_OUT, MOST_LOST = 0.1, 0.3
"""Share of the frames that may be left out, and that may have weight 0 for other reasons."""
LEAST_TURN = 15.0
"""Degrees of yaw from one side to the other."""
MOVED = 0.15
"""Range of a coefficient, in units of the head model's own, from which it counts as used."""
LEAST_USED = 0.15
"""Share of the coefficients that should be used."""
UNUSUAL_FACE = 3.0
"""Standard deviations of the head model's faces, in width over height, from which a picture is squeezed."""
LEAST_DEVIATION = 1e-4
"""A head model whose faces vary less in width over height has identities of size alone."""


def tracking_report(dataset: Path) -> dict | None:
    """What the tracker left in a dataset; None in datasets of other systems, or where it cannot be read."""
    try:
        return read_json_table(dataset / TRACKING_REPORT, "track again")
    except UserError:
        return None


def picture_enlargement(report: Mapping | None, camera: Camera) -> float:
    """Longer side of the whole video over that of the frames cut out of it, by the `tracking_report`.

    1 where it is not there, as in reports of older versions, or is none that a video can have.
    """
    side = (report or {}).get("picture_side_px")
    longer = max(camera.width, camera.height)
    # NaN is in no range, and an integer may be too large for a float.
    known = isinstance(side, int | float) and longer <= side <= LARGEST_PICTURE * longer
    return side / longer if known else 1.0


def check_camera(camera: Camera, enlargement: float = 1.0) -> list[Finding]:
    """Focal length, squareness of the pixels, principal point, and that the camera stands still.

    Focal length and principal point are judged in sides of the whole picture, which has ``enlargement``
    times the longer side of the camera's frames.
    """
    width, height = (enlargement * side for side in (camera.width, camera.height))
    horizontal, vertical, centre_x, centre_y = camera.intrinsics.unbind(1)
    lowest, highest = (float(v) / max(width, height) for v in (horizontal.min(), horizontal.max()))
    view = math.degrees(2 * math.atan(width / (2 * float(horizontal.median()))))
    stretch = float((horizontal / vertical).log().abs().max().exp())
    offset = max(
        float((centre_x - camera.width / 2).abs().max()) / width,
        float((centre_y - camera.height / 2).abs().max()) / height,
    )
    motion = float((camera.camera_to_world - camera.camera_to_world[:1]).abs().max())
    problems: list[tuple[Severity, str]] = []
    focal = f"focal length of {lowest:.3g} to {highest:.3g} picture sides (field of view {view:.1f} degrees)"
    if not FOCAL_RANGE[0] <= lowest <= highest <= FOCAL_RANGE[1]:
        problems.append(("unfit", f"{focal}; cameras have {FOCAL_RANGE[0]:g} to {FOCAL_RANGE[1]:g}"))
    elif not USUAL_FOCAL_RANGE[0] <= lowest <= highest <= USUAL_FOCAL_RANGE[1]:
        problems.append(("doubt", f"{focal}; look whether it was measured in other pixels"))
    if stretch > STRETCH:
        problems.append(("unfit", f"pixels are stretched by {stretch:.2f}: fl_x and fl_y differ"))
    if offset > PRINCIPAL_LIMIT:
        problems.append(("unfit", f"the principal point lies {offset:.1f} picture sides off the middle"))
    if motion > STEADY:
        problems.append(("doubt", f"the camera moves by up to {motion:.3f} m; it should stand still"))
    values = {
        "focal_sides_min": lowest,
        "focal_sides_max": highest,
        "field_of_view_degrees": view,
        "pixel_stretch": stretch,
        "principal_offset_sides": offset,
        "camera_motion_m": motion,
    }
    return graded("camera", problems, focal, values)


def check_splits(sequence: TrackedSequence, digests: Sequence[str]) -> list[Finding]:
    """Pictures that training and test share, by digests of all T frames' pixels, and frames that repeat.

    The reader has made sure that no frame is in two splits.
    """
    seen = {digests[i] for i in sequence.splits.get("train", [])}
    problems: list[tuple[Severity, str]] = []
    shared = 0
    for name in ("val", *sequence.test_splits):
        held_out = sequence.splits.get(name, [])
        same = [i for i in held_out if digests[i] in seen]
        shared += len(same)
        if same:
            severity: Severity = "doubt" if name == "val" else "unfit"
            text = f"{len(same)} of {len(held_out)} pictures of {name} are in training too, such as {same[0]}"
            problems.append((severity, text))
    repeated = sum(a == b for a, b in pairwise(digests))
    if repeated > MOST_REPEATED * len(digests):
        problems.append(("doubt", f"{repeated} of {len(digests)} frames repeat the one before"))
    gap = min((abs(a - b) for a in sequence.test_frames for b in sequence.splits.get("train", [])), default=0)
    fine = f"no picture of a test is in training; the nearest frames of both are {gap} apart"
    return graded("splits", problems, fine, {"shared": shared, "repeated": repeated, "gap_frames": gap})


def _unused_reasons(left: set[int], report: Mapping) -> str:
    """How many frames have weight 0 for which reason, as far as the tracker's report knows it."""
    counts = []
    for key in ("frames_without_face", "frames_not_trusted", "frames_repeated"):
        listed = report.get(key)
        here = {i for i in listed if isinstance(i, int)} & left if isinstance(listed, list) else set()
        counts.append(len(here))
        left = left - here
    without, covered, repeated = counts
    reasons = {
        f"no face in {without}": without,
        f"a covered, cut or wrongly tracked one in {covered}": covered,
        f"a copy of the frame before in {repeated}": repeated,
    }
    return ", ".join(text for text, count in reasons.items() if count) or "no reason is recorded"


def check_tracking(sequence: TrackedSequence, report: Mapping | None = None) -> list[Finding]:
    """Frames left out because their tracking is impossible, other frames of weight 0, frames of each use.

    ``report`` is the `tracking_report`, which knows why frames have weight 0.
    """
    frames = len(sequence)
    train = len([i for i in sequence.splits.get("train", []) if sequence.frame_weights[i] == 1])
    left_out = len(sequence.left_out)
    unused = [i for i in (sequence.frame_weights == 0).nonzero()[:, 0].tolist() if i not in sequence.left_out]
    tests = len(sequence.test_frames)
    problems: list[tuple[Severity, str]] = []
    if left_out:
        severity: Severity = "unfit" if left_out > MOST_LEFT_OUT * frames else "doubt"
        reasons = left_out_report(sequence.left_out)
        problems.append((severity, f"{left_out} of {frames} frames cannot be tracked right: {reasons}"))
    if len(unused) > MOST_LOST * frames:
        reasons = _unused_reasons(set(unused), report or {})
        text = f"{len(unused)} of {frames} frames have weight 0 and are not used: {reasons}"
        problems.append(("doubt", text))
    if train < LEAST_TRAIN:
        problems.append(("unfit", f"{train} frames to train on; at least {LEAST_TRAIN} are needed"))
    elif train < GOOD_TRAIN:
        problems.append(("doubt", f"{train} frames to train on; {GOOD_TRAIN} and more make a good avatar"))
    if not tests:
        problems.append(("doubt", "no frame to test on"))
    fine = f"{train} frames to train on, {tests} to test on"
    values = {"frames": frames, "train": train, "test": tests, "left_out": left_out, "unused": len(unused)}
    return graded("tracking", problems, fine, values)


def check_length(sequence: TrackedSequence) -> list[Finding]:
    """How much of a person a clip of this length shows, by what parts of longer clips showed of them."""
    seconds = int((sequence.frame_weights > 0).sum()) / sequence.fps
    lengths, ranges, turns = np.array(SHOWN_BY_SECONDS).T
    shown, turned = (float(np.interp(seconds, lengths, values)) for values in (ranges, turns))
    problems: list[tuple[Severity, str]] = []
    # What is said in whole percent: a clip whose last frame was left out still shows 100 %.
    if min(shown, turned) < 0.995:
        text = (
            f"{seconds:.1f} s show about {shown:.0%} of how far a face moves in {lengths[-1]:.0f} s, and "
            f"{turned:.0%} of how far the head turns; what is not shown comes out weak, film half a minute"
        )
        problems.append(("doubt", text))
    values = {"seconds": seconds, "expression_shown": shown, "turn_shown": turned}
    return graded("length", problems, f"{seconds:.1f} s", values)


def coverage_of(sequence: TrackedSequence) -> dict[str, dict[str, float]]:
    """Pose and expression coverage by split, worked out anew; nothing where there is no training frame."""
    return split_coverage(sequence.splits, sequence.head) if sequence.splits.get("train") else {}


def check_coverage(sequence: TrackedSequence, coverage: dict[str, dict[str, float]]) -> list[Finding]:
    """Whether training frames turn the head and move the face, by the coverage of `coverage_of`."""
    if not coverage:
        return [Finding("coverage", "unfit", "no training frame to cover anything")]
    train = coverage["train"]
    turn, nod = (train[f"{axis}_max"] - train[f"{axis}_min"] for axis in ("yaw", "pitch"))
    expression = sequence.head.expression[sequence.splits["train"]]
    spread = expression.amax(0) - expression.amin(0)
    used = float((spread > MOVED).float().mean())
    problems: list[tuple[Severity, str]] = []
    if turn < LEAST_TURN:
        problems.append(("doubt", f"the head turns by {turn:.0f} degrees only; its sides will not be known"))
    if float(spread.max()) <= MOVED:
        problems.append(("unfit", "the expression never changes; nothing can be learned about it"))
    elif used < LEAST_USED:
        problems.append(("doubt", f"{used:.0%} of the expressions are used; others will not be known"))
    fine = f"turns by {turn:.0f}, nods by {nod:.0f} degrees; {used:.0%} of the expressions are used"
    values = {"yaw_degrees": turn, "pitch_degrees": nod, "expressions_used": used}
    return graded("coverage", problems, fine, values)


def check_proportions(sequence: TrackedSequence, head_model: HeadModel) -> list[Finding]:
    """Whether the face is as wide for its height as faces are: pixels that are not square squeeze it.

    By the landmarks of the tracked identity, in standard deviations of the head model's identities to first
    order. Nothing is found for a head model without landmarks, or whose identities change no proportion.
    """
    asset = head_model.asset
    seen = asset.landmark_barycentric.sum(1) > 0
    if not seen.any():
        return []
    corners = torch.from_numpy(asset.faces[asset.landmark_faces[seen]].astype(np.int64))
    weights = torch.from_numpy(asset.landmark_barycentric[seen]).float()

    def width_over_height(identity: Tensor) -> Tensor:
        points = (head_model.identity_vertices(identity)[corners] * weights[..., None]).sum(1)
        width, height, _ = points.amax(0) - points.amin(0)
        return width / height

    mean = torch.zeros_like(sequence.head.identity)
    deviation = float(torch.autograd.functional.jacobian(width_over_height, mean).norm())
    if deviation < LEAST_DEVIATION:
        return []
    shape, usual = (float(width_over_height(one)) for one in (sequence.head.identity, mean))
    unusual = (shape - usual) / deviation
    problems: list[tuple[Severity, str]] = []
    if abs(unusual) > UNUSUAL_FACE:
        word = "narrow" if unusual < 0 else "wide"
        text = f"the face is {word}: {shape / usual:.2f} times the usual width for its height"
        problems.append(("doubt", f"{text}; look whether the video is squeezed"))
    fine = f"the face has {shape / usual:.2f} times the usual width for its height"
    return graded("proportions", problems, fine, {"width": shape / usual, "deviations": unusual})
