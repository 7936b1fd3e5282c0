"""Splits of a video: which frames train, which test, how far tests go beyond training, what each may see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from pytorch3d.transforms import matrix_to_axis_angle, matrix_to_euler_angles
from torch import Tensor

from partnerface.data.sequence import TrackedSequence
from partnerface.errors import UserError
from partnerface.head_models.head_parameters import HeadParameters

TEMPORAL_SHARE = 0.2
BLOCK_SHARE = 0.05
VALIDATION_SHARE = 0.025
GAP_SECONDS = 0.2
RUN_CENTRES = {"blocks": (0.2, 0.5, 0.8), "val": (0.35,)}
"""Where the held-out runs lie, as shares of the frames before the ``temporal`` split."""

UNSEEN_SHARE = 0.25
"""Share of all test frames that form ``unseen_expression``."""


def _held_out_runs(name: str, share: float) -> str:
    centres = ", ".join(f"{100 * centre:g} %" for centre in RUN_CENTRES[name])
    return f"runs of {100 * share:g} % of the tracked frames each, around {centres} of those before temporal"


SPLIT_PROTOCOL = {
    "train": f"the tracked frames outside the other splits and {GAP_SECONDS:g} s away from them "
    "(less in a clip under 40 such gaps long)",
    "val": _held_out_runs("val", VALIDATION_SHARE),
    "blocks": _held_out_runs("blocks", BLOCK_SHARE),
    "temporal": f"the last {100 * TEMPORAL_SHARE:g} % of the tracked frames",
    "unseen_expression": f"the {100 * UNSEEN_SHARE:g} % of all test frames whose expressions are farthest "
    "from every training expression",
}
"""How `assign_splits` chooses the frames of each split, in words."""


def assign_splits(frame_weights: Tensor, fps: float, expression: Tensor) -> dict[str, list[int]]:
    """Divide the tracked frames of one video, those of weight ``[T]`` above 0, by `SPLIT_PROTOCOL`.

    A split that would be empty is left out; a clip too short for any test trains on all its frames.

    Returns:
        Sorted frame indices by split name, ``train`` always among them.

    Raises:
        UserError: no frame has a weight.
    """
    tracked = np.flatnonzero(np.asarray(frame_weights.detach().cpu()) > 0)
    if len(tracked) == 0:
        raise UserError("the video has no frame in which a head was tracked")
    num_temporal = round(TEMPORAL_SHARE * len(tracked))
    before, temporal = np.split(tracked, [len(tracked) - num_temporal])
    lengths = {
        "blocks": round(BLOCK_SHARE * len(tracked)),
        "val": max(1, round(VALIDATION_SHARE * len(tracked))) if len(before) >= 4 else 0,
    }
    held_out = {name: _runs(before, RUN_CENTRES[name], lengths[name]) for name in ("val", "blocks")}
    gap = min(round(GAP_SECONDS * fps), len(tracked) // 40)
    runs = *held_out.values(), temporal
    near = np.concatenate([np.add.outer(run, np.arange(-gap, gap + 1)).ravel() for run in runs])
    train = np.setdiff1d(before, near)
    splits = {"train": train, **held_out, "temporal": temporal}
    test = np.sort(np.concatenate([held_out["blocks"], temporal]))
    if len(test):
        distance = nearest_distance(expression[test], expression[train])
        farthest = torch.argsort(distance, descending=True, stable=True)[
            : max(1, round(UNSEEN_SHARE * len(test)))
        ]
        splits["unseen_expression"] = np.sort(test[farthest.cpu().numpy()])
    return {name: frames.tolist() for name, frames in splits.items() if len(frames)}


def _runs(frames: np.ndarray, centres: tuple[float, ...], length: int) -> np.ndarray:
    starts = [round(centre * len(frames) - length / 2) for centre in centres]
    return np.concatenate([frames[start : start + length] for start in starts])


def nearest_distance(queries: Tensor, references: Tensor) -> Tensor:
    """``[Q]`` Euclidean distance of each row of ``[Q, E]`` to the nearest row of ``[N, E]``."""
    distances = torch.cdist(
        queries.double(), references.double(), compute_mode="donot_use_mm_for_euclid_dist"
    )
    return distances.amin(1)


def split_coverage(splits: dict[str, list[int]], head: HeadParameters) -> dict[str, dict[str, float]]:
    """Pose and expression coverage of each split.

    Returns:
        By split name: ``frames``; lowest and highest ``yaw``, ``pitch``, ``roll`` in degrees (turns
        about world y, x, z); ``expression_distance_mean`` and ``_max``, Euclidean, to the nearest
        training expression; ``rotation_distance_mean`` and ``_max`` in degrees to the nearest
        training rotation.
    """
    train = splits["train"]
    angles = torch.rad2deg(matrix_to_euler_angles(head.rotation.detach(), "YXZ"))
    coverage = {}
    for name, frames in splits.items():
        values: dict[str, float] = {"frames": len(frames)}
        for axis, label in enumerate(("yaw", "pitch", "roll")):
            values[f"{label}_min"] = float(angles[frames, axis].min())
            values[f"{label}_max"] = float(angles[frames, axis].max())
        expression = nearest_distance(head.expression[frames].detach(), head.expression[train].detach())
        # |A - B| (Frobenius) of two rotations is 2 sqrt(2) sin(angle / 2).
        rotation = nearest_distance(
            head.rotation[frames].detach().flatten(1), head.rotation[train].detach().flatten(1)
        )
        degrees = torch.rad2deg(2 * torch.arcsin((rotation / 8**0.5).clamp(max=1)))
        for label, distance in (("expression_distance", expression), ("rotation_distance", degrees)):
            values[f"{label}_mean"] = float(distance.mean())
            values[f"{label}_max"] = float(distance.max())
        coverage[name] = values
    return coverage


SAMPLE_SUFFIX = "_sample"
"""Suffix of the names of subsampled test splits."""

HARD_SPLITS = ("unseen_combination", "unseen_expression")
"""Test splits whose expressions training does not have, those that ask for fine motion first."""


def hardest_split(names: Iterable[str]) -> str | None:
    """The first of `HARD_SPLITS` among some splits, or its sample; None if there is none.

    >>> hardest_split(["temporal", "unseen_expression"])
    'unseen_expression'
    """
    found = set(names)
    wanted = (name + suffix for name in HARD_SPLITS for suffix in ("", SAMPLE_SUFFIX))
    return next((name for name in wanted if name in found), None)


def spread_evenly(frames: Sequence[int], count: int) -> list[int]:
    """Up to ``count`` of the frames, spread evenly, first and last among them.

    >>> spread_evenly([3, 4, 5, 6, 9], 3)
    [3, 5, 9]
    """
    places = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    return [frames[place] for place in places]


def sampled_sequence(
    sequence: TrackedSequence, sample_frames: int, test_splits: Sequence[str] | None
) -> TrackedSequence:
    """A sequence with other test splits.

    Args:
        sequence: as it was tracked.
        sample_frames: frames of the split ``<name>_sample`` that every test split is given; 0 for none.
        test_splits: the test splits to keep; all if None.

    Raises:
        UserError: a split to keep does not exist.
    """
    tests = {name: sequence.splits[name] for name in sequence.test_splits}
    protocol = dict(sequence.split_protocol)
    if sample_frames:
        samples = {key + SAMPLE_SUFFIX: spread_evenly(frames, sample_frames) for key, frames in tests.items()}
        protocol |= {
            name + SAMPLE_SUFFIX: f"up to {sample_frames} frames of {name}, evenly spread" for name in tests
        }
        tests |= samples
    for name in test_splits or ():
        if name not in tests:
            raise UserError(f"--data.test_splits: no split {name}; choose from {', '.join(tests)}")
    kept = {name: frames for name, frames in tests.items() if test_splits is None or name in test_splits}
    others = {name: frames for name, frames in sequence.splits.items() if name not in tests}
    splits = {**others, **kept}
    kept_protocol = {name: text for name, text in protocol.items() if name in splits}
    return replace(sequence, splits=splits, split_protocol=kept_protocol)


REACH = 2
"""Frames before and after a frame whose poses give its velocity: a single difference is mostly noise."""


def with_angular_velocity(sequence: TrackedSequence) -> TrackedSequence:
    """The same sequence, its head parameters with the head's angular velocity.

    No pose of a held-out frame reaches training: the velocity of a training frame is computed from training
    frames alone, of a validation frame from those and validation frames, of a test frame from all.
    """
    access = torch.full((len(sequence),), 2)
    for level, name in enumerate(("train", "val")):
        access[sequence.splits.get(name, [])] = level
    head = sequence.head
    trusted = sequence.frame_weights == 1
    velocity = angular_velocity(head.rotation, sequence.fps, trusted, access, sequence.times)
    return replace(sequence, head=replace(head, angular_velocity=velocity))


def angular_velocity(
    rotation: Tensor, fps: float, trusted: Tensor, access: Tensor, times: Tensor | None = None
) -> Tensor:
    """Slope of the head's rotation over the frames around each frame, by least squares.

    Args:
        rotation: ``[T, 3, 3]`` head to world, in time.
        fps: frames per second.
        trusted: ``[T]`` bool, frames whose pose counts.
        access: ``[T]`` a level for each frame; neighbours of a higher level do not count.
        times: ``[T]`` seconds, see `TrackedSequence`; neighbours beyond a gap do not count.

    Returns:
        ``[T, 3]`` radians per second in the head's own axes; zero for a frame that is not trusted or that
        has no neighbour that counts.
    """
    frames = len(rotation)
    offsets = torch.arange(-REACH, REACH + 1)
    neighbours = torch.arange(frames)[:, None] + offsets
    inside = neighbours.clamp(0, frames - 1)
    times = torch.arange(frames, dtype=torch.float64) / fps if times is None else times
    time = (times[inside] - times[:, None]).to(rotation)[..., None]
    near = time[..., 0].abs() < (REACH + 0.5) / fps
    known = access[inside] <= access[:, None]
    counts = (neighbours == inside) & near & known & trusted[inside] & trusted[:, None]
    turned = matrix_to_axis_angle(rotation[:, None].transpose(2, 3) @ rotation[inside])
    # A frame that does not count may hold anything.
    turned = torch.where(counts[..., None], turned, 0.0)
    weight = counts.to(rotation)[..., None]
    mean_time = (weight * time).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
    centred = weight * (time - mean_time)
    spread = (centred * time).sum(1)
    return torch.where(spread > 0, (centred * turned).sum(1) / spread.clamp_min(1e-12), 0.0)
