"""The order in which frames are visited: a pure function of seed and position, so that a run can resume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class FrameVisit(NamedTuple):
    """One visit of training to a frame.

    Attributes:
        frame: index of the frame.
        number: how many visits of the whole run, on all processes, came before; seeds the visit.
    """

    frame: int
    number: int


class ShuffledFrames(Sampler[FrameVisit]):
    """Passes over the training frames, each in a new order and without repetition.

    Passes do not stop at an epoch's end: an epoch is any number of visits. Visit n of the run is
    the same whatever the number of processes, which take turns by whole batches.

    Args:
        frames: the training frames.
        visits: visits of each process in an epoch, a multiple of ``batch_size``.
        batch_size: frames in a batch.
        seed: seed of the order.
        rank: number of this process.
        world: number of processes.
    """

    def __init__(
        self, frames: list[int], visits: int, batch_size: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.frames, self.visits, self.batch_size, self.seed = frames, visits, batch_size, seed
        self.rank, self.world = rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.visits

    def __iter__(self) -> Iterator[FrameVisit]:
        current, order = -1, np.empty(0, np.int64)
        for visit in range(self.epoch * self.visits, (self.epoch + 1) * self.visits):
            batch, within = divmod(visit, self.batch_size)
            number = (batch * self.world + self.rank) * self.batch_size + within
            passes, place = divmod(number, len(self.frames))
            if passes != current:
                current, order = passes, np.random.default_rng((self.seed, passes)).permutation(self.frames)
            yield FrameVisit(int(order[place]), number)


class ShardedFrames(Sampler[int]):
    """Every frame once over all processes, each with a run of its own, so that most neighbours in time
    stay together. It never pads: a frame counted twice shifts the mean.
    """

    def __init__(self, count: int, rank: int = 0, world: int = 1) -> None:
        self._places = range(rank * count // world, (rank + 1) * count // world)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)
