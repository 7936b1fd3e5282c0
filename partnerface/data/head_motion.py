"""How fast the head turns: what hair that lags behind it follows."""

from __future__ import annotations

from dataclasses import replace

import torch
from pytorch3d.transforms import matrix_to_axis_angle
from torch import Tensor

from partnerface.data.tracked_sequence import TrackedSequence

REACH = 2
"""Frames before and after whose poses tell the velocity of one: a single difference is mostly noise."""


def with_angular_velocity(sequence: TrackedSequence) -> TrackedSequence:
    """The same sequence, its head parameters with the head's angular velocity.

    Frames of training tell that of frames of training only, those of validation that of validation: no pose
    of a held-out frame reaches training.
    """
    kind = torch.zeros(len(sequence), dtype=torch.long)
    for number, name in enumerate(("train", "val"), start=1):
        kind[sequence.splits.get(name, [])] = number
    head = sequence.head
    velocity = angular_velocity(head.rotation, sequence.fps, sequence.frame_weights == 1, kind)
    return replace(sequence, head=replace(head, angular_velocity=velocity))


def angular_velocity(rotation: Tensor, fps: float, trusted: Tensor, kind: Tensor) -> Tensor:
    """Slope of the head's rotation over the frames around each frame, by least squares.

    Args:
        rotation: ``[T, 3, 3]`` head to world, in time.
        fps: frames per second.
        trusted: ``[T]`` bool, frames whose pose counts.
        kind: ``[T]`` a number for each frame; only neighbours of the same kind count, and none beyond a
            frame of another.

    Returns:
        ``[T, 3]`` radians per second in the head's own axes; zero for a frame that is not trusted or that
        has no neighbour to tell.
    """
    frames = len(rotation)
    offsets = torch.arange(-REACH, REACH + 1)
    neighbours = torch.arange(frames)[:, None] + offsets
    inside = neighbours.clamp(0, frames - 1)
    run = torch.cat([kind.new_zeros(1), (kind.diff() != 0).long()]).cumsum(0)
    counts = (neighbours == inside) & (run[inside] == run[:, None]) & trusted[inside] & trusted[:, None]
    turned = matrix_to_axis_angle(rotation[:, None].transpose(2, 3) @ rotation[inside])
    # A frame that does not count may hold anything.
    turned = torch.where(counts[..., None], turned, 0.0)
    weight = counts.to(rotation)[..., None]
    time = offsets.to(rotation)[:, None] / fps
    mean_time = (weight * time).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
    centred = weight * (time - mean_time)
    spread = (centred * time).sum(1)
    return torch.where(spread > 0, (centred * turned).sum(1) / spread.clamp_min(1e-12), 0.0)
