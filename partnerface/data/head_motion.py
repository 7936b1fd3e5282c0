"""How fast the head turns: what hair that lags behind it follows."""

from __future__ import annotations

from dataclasses import replace

import torch
from pytorch3d.transforms import matrix_to_axis_angle
from torch import Tensor

from partnerface.data.sequence import TrackedSequence

REACH = 2
"""Frames before and after whose poses tell the velocity of one: a single difference is mostly noise."""


def with_angular_velocity(sequence: TrackedSequence) -> TrackedSequence:
    """The same sequence, its head parameters with the head's angular velocity.

    No pose of a held-out frame reaches training: a frame of training is told by such frames alone, one of
    validation by those and its own, a test frame by all.
    """
    secrecy = torch.full((len(sequence),), 2)
    for level, name in enumerate(("train", "val")):
        secrecy[sequence.splits.get(name, [])] = level
    head = sequence.head
    velocity = angular_velocity(head.rotation, sequence.fps, sequence.frame_weights == 1, secrecy)
    return replace(sequence, head=replace(head, angular_velocity=velocity))


def angular_velocity(rotation: Tensor, fps: float, trusted: Tensor, secrecy: Tensor) -> Tensor:
    """Slope of the head's rotation over the frames around each frame, by least squares.

    Args:
        rotation: ``[T, 3, 3]`` head to world, in time.
        fps: frames per second.
        trusted: ``[T]`` bool, frames whose pose counts.
        secrecy: ``[T]`` a level for each frame; neighbours of a higher one do not count.

    Returns:
        ``[T, 3]`` radians per second in the head's own axes; zero for a frame that is not trusted or that
        has no neighbour to tell.
    """
    frames = len(rotation)
    offsets = torch.arange(-REACH, REACH + 1)
    neighbours = torch.arange(frames)[:, None] + offsets
    inside = neighbours.clamp(0, frames - 1)
    known = secrecy[inside] <= secrecy[:, None]
    counts = (neighbours == inside) & known & trusted[inside] & trusted[:, None]
    turned = matrix_to_axis_angle(rotation[:, None].transpose(2, 3) @ rotation[inside])
    # A frame that does not count may hold anything.
    turned = torch.where(counts[..., None], turned, 0.0)
    weight = counts.to(rotation)[..., None]
    time = offsets.to(rotation)[:, None] / fps
    mean_time = (weight * time).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
    centred = weight * (time - mean_time)
    spread = (centred * time).sum(1)
    return torch.where(spread > 0, (centred * turned).sum(1) / spread.clamp_min(1e-12), 0.0)
