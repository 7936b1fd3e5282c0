"""ResumableLoader: a DataLoader that can go on in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler


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
