"""Frames whose tracking is impossible, such as a head behind the camera: found, left out, reported."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.sequence import TrackedSequence
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters

NEAREST_M, FARTHEST_M = 0.1, 20.0
"""Distance of the head's middle from the camera, along its view."""

OUTSIDE = 0.5
"""Picture sides by which the head's middle may lie outside the picture."""

LARGEST_EXPRESSION = 20.0
"""Largest plausible absolute expression coefficient: those of any head model stay within a few units."""

RESIDUAL_FACTOR, RESIDUAL_FLOOR_PX = 4.0, 12.0
"""A residual is too large above so many times the clip's median and so many pixels at 512."""


def head_middle(head_model: HeadModel, identity: Tensor) -> Tensor:
    """``[3]`` the middle of a head at rest in its own axes, metres; its origin lies at the neck."""
    return head_model.identity_vertices(identity.float()).mean(0)


def impossible_frames(
    camera: Camera,
    head: HeadParameters,
    weights: Tensor,
    residual: Tensor | None = None,
    middle: Tensor | None = None,
) -> dict[int, str]:
    """Frames whose tracking must be wrong, with the reason in words.

    Args:
        camera: ``T`` cameras.
        head: ``T`` head parameters.
        weights: ``[T]``; frames of weight 0 are not looked at.
        residual: ``[T]`` landmark residual in pixels of a picture 512 high; NaN where not known.
        middle: `head_middle`; by default the head's origin, which may lie below a picture of the face alone.
    """
    centre = head.translation
    if middle is not None:
        centre = head.rotation @ middle.to(centre) + centre
    pixels, depth = camera.project(centre[:, None])
    pixels, depth = pixels[:, 0], depth[:, 0]
    size = pixels.new_tensor([camera.width, camera.height])
    outside = ((pixels < -OUTSIDE * size) | (pixels > (1 + OUTSIDE) * size) | ~pixels.isfinite()).any(1)
    rules = {
        "head behind the camera": depth <= 0,
        f"head nearer than {NEAREST_M:g} m": depth < NEAREST_M,
        f"head farther than {FARTHEST_M:g} m": depth > FARTHEST_M,
        "head outside the picture": outside,
        f"expression beyond {LARGEST_EXPRESSION:g}": (head.expression.abs() > LARGEST_EXPRESSION).any(1),
    }
    if residual is not None and (known := residual[residual.isfinite() & (weights > 0)]).numel():
        limit = max(RESIDUAL_FACTOR * float(known.median()), RESIDUAL_FLOOR_PX)
        rules[f"landmarks more than {limit:.0f} px off"] = residual > limit
    found: dict[int, str] = {}
    for reason, broken in rules.items():
        for frame in (broken & (weights > 0)).nonzero()[:, 0].tolist():
            found.setdefault(frame, reason)
    return dict(sorted(found.items()))


def leave_out(sequence: TrackedSequence, frames: dict[int, str]) -> TrackedSequence:
    """The sequence with some frames at weight 0 and in no split; ``frames`` gives the reason of each."""
    if not frames:
        return sequence
    weights = sequence.frame_weights.clone()
    weights[torch.tensor(list(frames))] = 0
    splits = {name: [i for i in kept if i not in frames] for name, kept in sequence.splits.items()}
    kept_splits = {name: kept for name, kept in splits.items() if kept or name == "train"}
    return replace(sequence, frame_weights=weights, splits=kept_splits, left_out=frames)


def left_out_report(frames: dict[int, str]) -> str:
    """The frames in one line, by reason.

    >>> left_out_report({3: "head behind the camera", 4: "head behind the camera", 9: "head outside"})
    '3-4 (head behind the camera), 9 (head outside)'
    """
    by_reason: dict[str, list[int]] = {}
    for frame, reason in frames.items():
        by_reason.setdefault(reason, []).append(frame)
    return ", ".join(f"{frame_runs(numbers)} ({reason})" for reason, numbers in by_reason.items())


def frame_runs(frames: list[int]) -> str:
    """``[1, 2, 3, 7]`` as ``1-3, 7``."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
