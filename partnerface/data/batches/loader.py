"""The order of frames, a pure function of seed and position, and a DataLoader that can resume in it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler


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


class ResumableLoader(DataLoader):
    """A DataLoader with the ``state_dict`` that Lightning looks for: the position inside the epoch.

    The position is the same on every process, so that the one that Lightning stores (that of rank 0)
    serves all. The sampler's order must be a pure function of its epoch.

    Args:
        dataset: what is loaded.
        sampler: order of the samples; its ``set_epoch`` is called by Lightning.
        batch_size: samples in a batch.
        options: further arguments of ``DataLoader``.
    """

    def __init__(self, dataset: Dataset, sampler: Sampler, batch_size: int, **options: Any) -> None:
        self._batches = _SkippingBatches(sampler, batch_size)
        super().__init__(dataset, batch_sampler=self._batches, **options)
        self._position = 0

    def __iter__(self) -> Iterator:  # type: ignore[override] # a generator serves as well
        start = self._position = self._batches.skip
        batches = super().__iter__()
        # Workers make DataLoader take the order twice, so it is only now that the skip is spent.
        self._batches.skip = 0
        for position, batch in enumerate(batches, start + 1):
            self._position = position
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        # A checkpoint may be due before the first batch is taken.
        self._position = state["position"]
        self._batches.skip = self._position % len(self)


class _SkippingBatches(BatchSampler):
    """Batches of a sampler without the first ``skip``, whose samples are not loaded."""

    def __init__(self, sampler: Sampler, batch_size: int) -> None:
        super().__init__(sampler, batch_size, drop_last=True)
        self.skip = 0

    def __iter__(self) -> Iterator[list]:
        return islice(super().__iter__(), self.skip, None)
