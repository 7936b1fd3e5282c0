"""Checks on the pictures of a dataset: mattes, motion, light, framing, and a camera that stands still."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from partnerface.data.formats.plausibility import frame_runs
from partnerface.data.regions import Region
from partnerface.data.sequence import TrackedSequence
from partnerface.dataset_checks.sequence_checks import Finding, Severity, graded
from partnerface.files.images import LUMINANCE, read_labels, read_matte, read_rgb

SOFT_RANGE = (26, 229)
"""Matte values that are neither person nor background, 0.1 to 0.9."""
EMPTY_SHARE, FULL_SHARE = 0.02, 0.98
"""Share of the picture below which a matte counts as empty, and above which as full."""
MOST_BAD = 0.05
"""Share of the frames whose matte may be empty or full."""
SOFT_LIMIT = 0.4
"""Share of the matte's pixels that may be soft."""
JUMP = 0.15
"""Relative change of the matte's area from frame to frame that no motion makes."""
MOST_JUMPS = 0.02
"""Share of neighbouring frames that may jump."""


REDUCED = 64
"""Side of the reduced pictures."""
STILL, MOVING_SHARE = 3.0, 0.003
"""Standard deviation over time, of 255, that a talking mouth exceeds in this share of the picture."""
NEARLY_BLACK, DARK = 20.0, 45.0
"""Mean luminance of a face, of 255, below which nothing can be learned, and below which noise is."""
CUT_OFF = (Region.HAIR, Region.FACE)
"""What an edge of the picture should not cut; long hair and the neck may leave it below."""
CUT_SHARE, MOST_CUT = 0.05, 0.1
"""Share of an edge from which the head is cut off by it, and share of the frames in which it may be."""
MOST_SHIFT, MOST_ZOOM = 0.06, 0.07
"""Shift of the background in picture widths, and its change of scale, from which the camera moves."""
FLAT = 1e-3
"""Singular value, relative to the largest, below which a direction has no texture."""
LEAST_BACKGROUND = 100
"""Pixels of a reduced picture in which the motion of the background is estimated."""


@dataclass(frozen=True)
class FrameStatistics:
    """What every frame looks like.

    Attributes:
        digests: ``T`` digests of the pictures' pixels.
        matte_share: ``[T]`` share of the picture that the matte holds.
        soft_share: ``[T]`` share of the matte's pixels that are neither person nor background.
        luminance: ``[T, 64, 64]`` luminance of the reduced pictures, 0 to 255.
        background: ``[T, 64, 64]`` bool, no part of the pixel is the person.
        face_light: ``[T]`` mean luminance of the labelled face, 0 to 255; NaN where there is none.
        cut_share: ``[T]`` share of the picture's upper edge at which hair or face is labelled.
        side_share: ``[T]`` that of the left or the right edge, or of the lower edge at which face is.
    """

    digests: list[str]
    matte_share: np.ndarray
    soft_share: np.ndarray
    luminance: np.ndarray
    background: np.ndarray
    face_light: np.ndarray
    cut_share: np.ndarray
    side_share: np.ndarray


def frame_statistics(
    sequence: TrackedSequence, track: Callable[[Iterable[int]], Iterable[int]] = lambda frames: frames
) -> FrameStatistics:
    """Decode every frame once, its labels too: damaged ones must not wait for training.

    ``track`` passes frame numbers through and shows how far they are.

    Raises:
        UserError: a picture, matte or label image is damaged.
    """
    digests, rows, luminances, backgrounds = [], [], [], []
    for i in track(range(len(sequence))):
        image, matte = read_rgb(sequence.image_paths[i]), read_matte(sequence.matte_paths[i])
        labels = read_labels(sequence.label_paths[i], max(Region))
        digests.append(hashlib.sha256(image.tobytes()).hexdigest())
        person = matte >= SOFT_RANGE[0]
        soft = (person & (matte <= SOFT_RANGE[1])).sum()
        luminance = (image @ LUMINANCE).astype(np.float32)
        face = luminance[labels == Region.FACE]
        rows.append(
            (
                matte.mean() / 255,
                soft / max(int(person.sum()), 1),
                face.mean() if face.size else np.nan,
                np.isin(labels[0], CUT_OFF).mean(),
                max(*np.isin(labels[:, [0, -1]], CUT_OFF).mean(0), (labels[-1] == Region.FACE).mean()),
            )
        )
        luminances.append(_reduced(luminance))
        backgrounds.append(_reduced(person.astype(np.float32)) == 0)
    matte_share, soft_share, *others = np.array(rows).T
    pictures = np.stack(luminances), np.stack(backgrounds)
    return FrameStatistics(digests, matte_share, soft_share, *pictures, *others)


def _reduced(picture: np.ndarray) -> np.ndarray:
    """``[64, 64]`` means of a float32 picture ``[H, W]``."""
    return np.asarray(Image.fromarray(picture).resize((REDUCED, REDUCED), Image.Resampling.BOX))


def check_mattes(statistics: FrameStatistics, weights: Tensor) -> list[Finding]:
    """Empty and full mattes, soft ones, and those that flicker, among frames of weight ``[T]`` above 0."""
    tracked = weights.numpy() > 0
    share, soft = statistics.matte_share, statistics.soft_share
    problems: list[tuple[Severity, str]] = []
    for bad, word in ((share < EMPTY_SHARE, "empty"), (share > FULL_SHARE, "full")):
        frames = np.flatnonzero(bad & tracked).tolist()
        if frames:
            severity: Severity = "unfit" if len(frames) > MOST_BAD * tracked.sum() else "doubt"
            where = _shortened(frame_runs(frames))
            problems.append((severity, f"{len(frames)} of {tracked.sum()} mattes are {word}: frames {where}"))
    usual = float(np.median(soft[tracked])) if tracked.any() else 0.0
    if usual > SOFT_LIMIT:
        problems.append(("doubt", f"{usual:.0%} of the matte is neither person nor background"))
    pairs = tracked[1:] & tracked[:-1]
    change = np.abs(np.diff(share)) / np.maximum(np.maximum(share[1:], share[:-1]), EMPTY_SHARE)
    jumps = int((change[pairs] > JUMP).sum())
    if jumps > MOST_JUMPS * max(pairs.sum(), 1):
        problems.append(("doubt", f"the matte's area jumps by more than {JUMP:.0%} at {jumps} frames"))
    held = float(np.median(share[tracked])) if tracked.any() else 0.0
    values = {"matte_share_median": held, "soft_share_median": usual, "jumps": jumps}
    return graded("mattes", problems, f"hold {held:.0%} of the picture, {usual:.0%} of it soft", values)


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:76]} ..."


def check_motion(statistics: FrameStatistics, weights: Tensor) -> list[Finding]:
    """Whether anything moves, among frames of weight ``[T]`` above 0: a photo is no video.

    The brightness of a whole frame is left out, for a lamp may flicker over a photo.
    """
    pictures = statistics.luminance[weights.numpy() > 0]
    if not len(pictures):
        return []
    halves = pictures.reshape(len(pictures), REDUCED // 2, 2, REDUCED // 2, 2).mean((2, 4))
    moving = float(np.quantile((halves - halves.mean((1, 2), keepdims=True)).std(0), 1 - MOVING_SHARE))
    problems: list[tuple[Severity, str]] = []
    if moving < STILL:
        problems.append(("unfit", f"a still picture: nothing in it changes ({moving:.1f} of 255 at most)"))
    return graded("motion", problems, f"pixels vary by up to {moving:.0f} of 255", {"largest_std": moving})


def check_light(statistics: FrameStatistics, weights: Tensor) -> list[Finding]:
    """How bright the face is, median over frames of weight ``[T]`` above 0."""
    lights = statistics.face_light[(weights.numpy() > 0) & np.isfinite(statistics.face_light)]
    if not len(lights):
        return []
    light = float(np.median(lights))
    problems: list[tuple[Severity, str]] = []
    if light < NEARLY_BLACK:
        problems.append(("unfit", f"nearly black: the face has a brightness of {light:.0f} of 255"))
    elif light < DARK:
        problems.append(("doubt", f"dark: the face has a brightness of {light:.0f} of 255; noise is learned"))
    return graded("light", problems, f"the face has a brightness of {light:.0f} of 255", {"face": light})


def check_framing(statistics: FrameStatistics, weights: Tensor) -> list[Finding]:
    """Whether an edge of the picture cuts the head off, among frames of weight ``[T]`` above 0."""
    used = weights.numpy() > 0
    shares = np.stack([statistics.cut_share, statistics.side_share])[:, used]
    cut, beside = (shares > CUT_SHARE).mean(1).tolist() if used.any() else (0.0, 0.0)
    problems: list[tuple[Severity, str]] = []
    if cut > MOST_CUT:
        text = f"the picture's upper edge cuts the hair in {cut:.0%} of the frames; film with room above it"
        problems.append(("doubt", text))
    if beside > MOST_CUT:
        text = f"a side or the lower edge of the picture cuts the head in {beside:.0%} of the frames"
        problems.append(("doubt", f"{text}; film with room around it"))
    values = {"cut_share": cut, "side_cut_share": beside}
    return graded("framing", problems, "the head lies within the picture", values)


def check_camera_motion(statistics: FrameStatistics) -> list[Finding]:
    """Whether the background shifts or grows, as that of a panning, shaking or zooming camera does."""
    motion = background_motion(statistics.luminance, statistics.background)
    path = np.cumsum(motion, 0)
    shift_x, shift_y, zoom = (float(v) for v in np.ptp(path, axis=0)) if len(path) else (0.0, 0.0, 0.0)
    shift = max(shift_x, shift_y)
    problems: list[tuple[Severity, str]] = []
    if shift > MOST_SHIFT:
        text = f"the camera moves: the background shifts by {shift:.0%} of the picture's width"
        problems.append(("doubt", f"{text}; put it on a stand"))
    if zoom > MOST_ZOOM:
        problems.append(("doubt", f"the camera zooms or comes closer: the background grows by {zoom:.0%}"))
    values = {"background_shift": shift, "background_zoom": zoom}
    return graded("camera motion", problems, "the background stands still", values)


def background_motion(luminance: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Shift and growth of the background from each of T frames to the next, by least squares (Lucas-Kanade).

    Brightness may change as a whole. Where the background has no texture, or too few pixels, it is taken to
    stand still.

    Args:
        luminance: ``[T, H, W]``.
        background: ``[T, H, W]`` bool.

    Returns:
        ``[T-1, 3]`` shift to the right and downwards in picture widths, and relative growth.
    """
    height, width = luminance.shape[1:]
    y, x = np.mgrid[:height, :width]
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    motion = np.zeros((max(len(luminance) - 1, 0), 3))
    for i in range(len(motion)):
        used = _inner(background[i] & background[i + 1])
        if used.sum() < LEAST_BACKGROUND:
            continue
        down, right = np.gradient((luminance[i] + luminance[i + 1]) / 2)
        terms = np.stack([right, down, right * x + down * y, np.ones_like(right)], -1)[used]
        change = (luminance[i] - luminance[i + 1])[used]
        motion[i] = np.linalg.lstsq(terms, change, rcond=FLAT)[0][:3]
    return motion / [width, width, 1]


def _inner(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask with all four neighbours in it: a gradient at its border is half of something else."""
    inner = np.zeros_like(mask)
    rows, columns = mask[2:, 1:-1] & mask[:-2, 1:-1], mask[1:-1, 2:] & mask[1:-1, :-2]
    inner[1:-1, 1:-1] = mask[1:-1, 1:-1] & rows & columns
    return inner
