"""SplitMeans: averages by split, region and metric, summed up image by image."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torchmetrics import Metric

Averages = dict[str, dict[str, dict[str, float | None]]]
"""Value by split, region and metric; None where no image had one."""


class SplitMeans(Metric):
    """What metrics of test frames share; they define ``update``.

    Each image counts once, however large its region: errors are not pooled over images, since
    published figures are not. A missing value (NaN) does not count. The state is a sum and a count,
    added over processes; use samplers that do not pad.

    Args:
        splits: names of the splits.
        regions: names of the regions.
        metrics: names of the values.
    """

    full_state_update = False

    def __init__(self, splits: Iterable[str], regions: Iterable[str], metrics: Iterable[str]) -> None:
        super().__init__()
        self.splits, self.regions, self.metrics = list(splits), list(regions), list(metrics)
        shape = (len(self.splits), len(self.regions), len(self.metrics))
        self.add_state("total", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def places(self, names: Iterable[str]) -> list[int]:
        """Our splits among an image's; others are passed over."""
        return [self.splits.index(name) for name in names if name in self.splits]

    def add(self, places: list[int], values: Tensor) -> None:
        """Count one image in the splits ``places``: values ``[regions, metrics]``, NaN where missing."""
        values = values.to(self.total)
        self.total[places] += values.nan_to_num(0)
        self.count[places] += (~values.isnan()).to(self.count)

    def compute(self) -> Averages:
        """Averages by split, region and metric."""
        means, counts = (self.total / self.count).tolist(), self.count.tolist()
        return {
            split: {
                region: {
                    metric: means[s][r][m] if counts[s][r][m] else None
                    for m, metric in enumerate(self.metrics)
                }
                for r, region in enumerate(self.regions)
            }
            for s, split in enumerate(self.splits)
        }


def merged(*averages: Averages) -> Averages:
    """Values of the same splits side by side in each region; a region may be missing in all but the first."""
    first = averages[0]
    return {
        split: {
            region: {k: v for table in averages for k, v in table[split].get(region, {}).items()}
            for region in regions
        }
        for split, regions in first.items()
    }
