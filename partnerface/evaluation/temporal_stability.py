"""TemporalStability: how far a rendered video flickers where the filmed one does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from partnerface.evaluation.evaluation_metrics import FULL_FRAME
from partnerface.evaluation.split_means import SplitMeans

TEMPORAL = "temporal"


class TemporalStability(SplitMeans):
    """Error of frame-to-frame differences, averaged over the pairs of consecutive frames of each split.

    For frames t and t + 1 of a split, over the pixels that belong to the region in both and the three
    channels, with render r and target y::

        temporal = sqrt(mean(((r[t + 1] - r[t]) - (y[t + 1] - y[t])) ** 2))

    It is dtSSD of Erofeev et al., "Perceptually Motivated Benchmark for Video Matting" (BMVC 2015), of
    colour instead of alpha and as a mean over pixels. A constant error costs nothing, flicker does.

    Frames come in the order of time; a run of frames that is divided over processes is not counted at
    the cut unless the later process begins with `follow`.

    Args:
        splits: names of the splits.
        regions: names of the regions beside ``full_frame``.
    """

    def __init__(self, splits: Iterable[str], regions: Iterable[str]) -> None:
        super().__init__(splits, [FULL_FRAME, *regions], [TEMPORAL])
        self._before: tuple[int, list[int], Tensor, Tensor] | None = None

    def update(
        self, frame: int, names: list[str], render: Tensor, target: Tensor, masks: Mapping[str, Tensor]
    ) -> None:
        """Count the pair that a frame makes with the one before it, if that came last.

        Args:
            frame: its number in the video.
            names: the splits that hold it.
            render: ``[3, H, W]`` over white; values are clamped to [0, 1].
            target: ``[3, H, W]`` over white, in [0, 1].
            masks: ``[H, W]`` bool by region.
        """
        before = self._before
        self.follow(frame, names, render, target, masks)
        _, places, error, inside = self._before
        if before is None or before[0] != frame - 1:
            return
        if both := [place for place in places if place in before[1]]:
            square = (error - before[2]).pow(2).mean(0)
            shared = inside & before[3]
            # No pixel at all gives 0 / 0, a missing value.
            mean = (square * shared).sum((1, 2)) / shared.sum((1, 2))
            self.add(both, mean.sqrt()[:, None])

    def follow(
        self, frame: int, names: list[str], render: Tensor, target: Tensor, masks: Mapping[str, Tensor]
    ) -> None:
        """Take a frame as the one before the next, without counting a pair. Arguments as in `update`."""
        everywhere = torch.ones_like(target[0], dtype=torch.bool)
        inside = torch.stack([everywhere, *(masks[region] for region in self.regions[1:])])
        self._before = frame, self.places(names), render.clamp(0, 1) - target, inside

    def lacks(self, frame: int) -> bool:
        """Whether the frame before this one did not come last."""
        return self._before is None or self._before[0] != frame - 1

    def reset(self) -> None:
        super().reset()
        self._before = None
