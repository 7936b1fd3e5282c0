"""MethodUnderTest: a method as the command line builds it, with its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.training.avatar_module import AvatarModule
from partnerface.training.callbacks.refresh_occupancy import RefreshOccupancy

OURS = "part_deformation"
"""The method; its file in ``configs/method``."""

PEER, PEER_RAYS = "nerface", "--data.rays_per_frame=64"
"""NeRFace, and the rays of a frame in its steps: enough for large matrices, and a step takes a second."""


@dataclass
class MethodUnderTest:
    """One method, ready to train.

    Attributes:
        name: name of its file in ``configs/method``.
        module: what is trained.
        data: what it is trained on.
        refresh: how its occupancy is pruned, as configured.
    """

    name: str
    module: AvatarModule
    data: HeadVideoDataModule
    refresh: RefreshOccupancy


class BuildMethod(Protocol):
    """Builds a method from its configuration file.

    Benchmarks stand below the command line, which alone knows how configurations become objects; it
    hands this in.
    """

    def __call__(self, method: str, *flags: str) -> MethodUnderTest:
        """The method of ``configs/method/<method>.yaml``, with further flags of ``partnerface fit``."""


def continue_from(variant: MethodUnderTest, trained: MethodUnderTest) -> None:
    """Give a variant of a trained method all of its state that fits: field, torso and occupancy.

    The variant has to be set up; a variant with other parts then sees the same pruned space.
    """
    state = variant.module.avatar.state_dict()
    source = trained.module.avatar.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            if name in source and source[name].shape == value.shape:
                value.copy_(source[name])
