"""How much of the true fine motion a deformation leaves, in millimetres, without pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.data.sequence import TrueMotion
from partnerface.data.splits import spread_evenly

FRAMES = 100
"""Frames of a split that are measured at most, evenly spread."""
POINTS = 6000
"""Points of all regions that are measured at most, one of so many."""

MOTION_DEFINITION = (
    "for points on the true surface, f the true fine motion of a frame and o the offset that the avatar's "
    "deformation gives the moved point: mm_left is the RMS over frames and points of |f + o| around its mean "
    "over training frames (a deformation that explains the motion carries a point to one canonical place in "
    "all frames), mm_nothing the same without a deformation; cosine, in the fine region of the face, is that "
    "of f and -o, both around their means over training frames; with the tracked parameters, on at most "
    f"{FRAMES} frames of a split; null for a method without offsets"
)

MotionScores = dict[str, dict[str, dict[str, float | None]]]
"""By split, then ``mm_left``, ``mm_nothing`` (both by region) and ``cosine`` (of ``fine_face``)."""


@torch.no_grad()
def motion_scores(
    truth: TrueMotion,
    offsets: Callable[[int, Tensor], Tensor | None],
    splits: Mapping[str, Sequence[int]],
    train: Sequence[int],
) -> MotionScores:
    """Compare the offsets of a deformation with the true motion, see `MOTION_DEFINITION`.

    Args:
        truth: the motion, on the device of the deformation.
        offsets: frame number and canonical points ``[N, 3]`` -> offsets ``[N, 3]``, both metres; or None.
        splits: frames by split, to be scored.
        train: the training frames.
    """
    inside = torch.stack(list(truth.regions.values())).any(0).nonzero()[:, 0]
    inside = inside[:: -(-len(inside) // POINTS)]
    regions = {name: members[inside] for name, members in truth.regions.items()}
    points = truth.points[inside]

    def motion(frames: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """True motion and offsets ``[F, N, 3]``, millimetres."""
        chosen = spread_evenly(frames, FRAMES)
        true = truth.offsets(chosen, inside)
        found = [offsets(frame, points + moved) for frame, moved in zip(chosen, true, strict=True)]
        learned = torch.stack(found) if found and found[0] is not None else None
        return 1000 * true, None if learned is None else 1000 * learned

    true_train, learned_train = motion(train)
    true_mean, learned_mean = true_train.mean(0), None if learned_train is None else learned_train.mean(0)
    scores: MotionScores = {}
    for name, frames in splits.items():
        true, learned = (true_train, learned_train) if list(frames) == list(train) else motion(frames)
        true = true - true_mean
        scores[name] = {"mm_nothing": {region: _rms(true[:, some]) for region, some in regions.items()}}
        left, cosine = dict.fromkeys(regions), None
        if learned is not None:
            learned = learned - learned_mean
            left = {region: _rms((true + learned)[:, some]) for region, some in regions.items()}
            cosine = _cosine(true[:, regions["fine_face"]], -learned[:, regions["fine_face"]])
        scores[name] |= {"mm_left": left, "cosine": {"fine_face": cosine}}
    return scores


def _rms(vectors: Tensor) -> float | None:
    """Root mean square length of vectors ``[F, N, 3]``; None without any."""
    return float(vectors.square().sum(-1).mean().sqrt()) if vectors.numel() else None


def _cosine(first: Tensor, second: Tensor) -> float | None:
    """Cosine of the angle between two arrays taken as one vector each; None where one is zero."""
    first, second = first.flatten().double(), second.flatten().double()
    if not (first.any() and second.any()):
        return None
    return float(functional.cosine_similarity(first, second, dim=0))
