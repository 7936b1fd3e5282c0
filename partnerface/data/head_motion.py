"""How fast the head turns: what hair that lags behind it follows."""

from __future__ import annotations

from dataclasses import replace

import torch
from pytorch3d.transforms import matrix_to_axis_angle
from torch import Tensor

from partnerface.data.sequence import TrackedSequence

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
    velocity = angular_velocity(head.rotation, sequence.fps, sequence.frame_weights == 1, access)
    return replace(sequence, head=replace(head, angular_velocity=velocity))


def angular_velocity(rotation: Tensor, fps: float, trusted: Tensor, access: Tensor) -> Tensor:
    """Slope of the head's rotation over the frames around each frame, by least squares.

    Args:
        rotation: ``[T, 3, 3]`` head to world, in time.
        fps: frames per second.
        trusted: ``[T]`` bool, frames whose pose counts.
        access: ``[T]`` a level for each frame; neighbours of a higher level do not count.

    Returns:
        ``[T, 3]`` radians per second in the head's own axes; zero for a frame that is not trusted or that
        has no neighbour that counts.
    """
    frames = len(rotation)
    offsets = torch.arange(-REACH, REACH + 1)
    neighbours = torch.arange(frames)[:, None] + offsets
    inside = neighbours.clamp(0, frames - 1)
    known = access[inside] <= access[:, None]
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
