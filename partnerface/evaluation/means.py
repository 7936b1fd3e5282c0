"""Means over test frames, by split, region and metric: of single pictures and of consecutive pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torchmetrics import Metric

from partnerface.data.regions import FULL_FRAME
from partnerface.errors import UserError
from partnerface.evaluation.image_metric import ImageMetric

Averages = dict[str, dict[str, dict[str, float | None]]]
"""Value by split, region and metric; None where no image had one."""


class SplitMeans(Metric):
    """Means of per-image values by split, region and metric; subclasses compute the values in ``update``.

    Each image counts once, however large its region: errors are not pooled over images, since
    published figures are not. A missing value (NaN) does not count. The state is a sum and a count, added
    over processes; the sampler of several processes must not pad, or frames would count twice.

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
        """Rows of the splits that hold an image, from the names of its splits; unknown names are ignored."""
        return [self.splits.index(name) for name in names if name in self.splits]

    def add(self, places: list[int], values: Tensor) -> None:
        """Count one image.

        Args:
            places: rows of the splits that hold it, of `places`.
            values: ``[regions, metrics]``, NaN where a value is missing.
        """
        values = values.to(self.total)
        self.total[places] += values.nan_to_num(0)
        self.count[places] += (~values.isnan()).to(self.count)

    def compute(self) -> Averages:
        """Means by split, region and metric, over all processes."""
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


class ImageMeans(SplitMeans):
    """Means of image metrics over the pictures of each split, for the full frame and each region.

    Args:
        splits: names of the splits.
        regions: names of the regions beside ``full_frame``.
        metrics: image metrics by the name under which they are reported.
    """

    def __init__(
        self, splits: Iterable[str], regions: Iterable[str], metrics: Mapping[str, ImageMetric]
    ) -> None:
        super().__init__(splits, [FULL_FRAME, *regions], metrics)
        self._present = {name: metric for name, metric in metrics.items() if not metric.missing()}

    def update(self, names: list[str], render: Tensor, target: Tensor, masks: Mapping[str, Tensor]) -> None:
        """Score one picture; a region without a pixel has no value.

        Args:
            names: the splits that hold it; unknown names are ignored.
            render: ``[3, H, W]`` over white; values are clamped to [0, 1].
            target: ``[3, H, W]`` over white, in [0, 1].
            masks: ``[H, W]`` bool by region.

        Raises:
            UserError: the rendering is not finite, or a metric does not give one number for each region.
        """
        if not torch.isfinite(render).all():
            raise UserError(
                "the avatar renders values that are not finite; train it again with a lower learning rate"
            )
        if not (places := self.places(names)):
            return
        render = render.clamp(0, 1)
        inside = [None, *(masks[region] for region in self.regions[1:])]
        rows = [row for row, mask in enumerate(inside) if mask is None or mask.any()]
        values = torch.full((len(self.regions), len(self.metrics)), torch.nan, device=render.device)
        for name, metric in self._present.items():
            found = metric.per_region(render, target, [inside[row] for row in rows])
            if found.shape != (len(rows),) or found.isinf().any():
                raise UserError(
                    f"--model.metrics.{name}: gave {found.tolist()} for {len(rows)} regions; "
                    "it must give each one finite number, or NaN"
                )
            values[rows, self.metrics.index(name)] = found.to(values)
        self.add(places, values)


TEMPORAL = "temporal"
TEMPORAL_DEFINITION = (
    "for each pair of consecutive frames of a split, over the pixels that belong to the region in both: "
    "sqrt(mean(((r[t+1] - r[t]) - (y[t+1] - y[t]))^2)) of render r and target y in [0, 1] (dtSSD, Erofeev "
    "et al. 2015, of colour); mean over pairs; null in a split without any"
)


class TemporalStability(SplitMeans):
    """Error of frame-to-frame differences, averaged over the pairs of consecutive frames of each split.

    See `TEMPORAL_DEFINITION`: dtSSD of Erofeev et al., "Perceptually Motivated Benchmark for Video Matting"
    (BMVC 2015), of colour instead of alpha and as a mean over pixels. A constant error gives 0, flicker
    does not.

    Frames come in the order of time. Where a run of frames is divided over processes, the later process
    begins with `set_previous`; otherwise the pair at the cut is not counted. ``regions`` are those beside
    ``full_frame``.
    """

    def __init__(self, splits: Iterable[str], regions: Iterable[str]) -> None:
        super().__init__(splits, [FULL_FRAME, *regions], [TEMPORAL])
        self._previous: tuple[int, list[int], Tensor, Tensor] | None = None

    def update(
        self, frame: int, names: list[str], render: Tensor, target: Tensor, masks: Mapping[str, Tensor]
    ) -> None:
        """Count the pair of frame number ``frame`` and the video's previous frame, if `has_previous`.

        The other arguments are those of `ImageMeans.update`.
        """
        known, previous = self.has_previous(frame), self._previous
        self.set_previous(frame, names, render, target, masks)
        _, places, error, inside = self._previous
        if known and (both := [place for place in places if place in previous[1]]):
            square = (error - previous[2]).pow(2).mean(0)
            shared = inside & previous[3]
            # No pixel at all gives 0 / 0, a missing value.
            mean = (square * shared).sum((1, 2)) / shared.sum((1, 2))
            self.add(both, mean.sqrt()[:, None])

    def set_previous(
        self, frame: int, names: list[str], render: Tensor, target: Tensor, masks: Mapping[str, Tensor]
    ) -> None:
        """Make a frame the previous one of the next, without counting a pair. Arguments as in `update`."""
        everywhere = torch.ones_like(target[0], dtype=torch.bool)
        inside = torch.stack([everywhere, *(masks[region] for region in self.regions[1:])])
        self._previous = frame, self.places(names), render.clamp(0, 1) - target, inside

    def has_previous(self, frame: int) -> bool:
        """True if the last frame passed to `update` or `set_previous` is the video's previous frame."""
        return self._previous is not None and self._previous[0] == frame - 1

    def reset(self) -> None:
        super().reset()
        self._previous = None


def merged(*averages: Averages) -> Averages:
    """One table from tables of the same splits: the metrics of each region side by side.

    The first table has all regions; others may have fewer.
    """
    first = averages[0]
    return {
        split: {
            region: {k: v for table in averages for k, v in table[split].get(region, {}).items()}
            for region in regions
        }
        for split, regions in first.items()
    }
