"""EvaluationMetrics: per-image metrics averaged over each split and region."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torchmetrics import Metric

from partnerface.metrics.region_metrics import METRICS, image_metrics, masked_metrics, ssim_map
from partnerface.user_error import UserError

FULL_FRAME = "full_frame"
MATTE_THRESHOLD = 0.5
"""A pixel belongs to the person where its matte is above this."""

Averages = dict[str, dict[str, dict[str, float | None]]]
"""Value by split, region and metric; None where no image had one."""


class EvaluationMetrics(Metric):
    """Means of per-image PSNR, SSIM, LPIPS and L1, by split and by region.

    Each image counts once, however large its region: errors are not pooled over images, since
    published figures are not. An image without a region does not count in it. The state is a sum and
    a count, added over processes; use samplers that do not pad.

    Args:
        splits: names of the splits.
        regions: labels of each region beside ``full_frame``.
        lpips: images ``[B, 3, H, W]`` in [0, 1] to distances ``[B]``; without it LPIPS is missing.
    """

    full_state_update = False

    def __init__(
        self,
        splits: Iterable[str],
        regions: Mapping[str, Iterable[int]],
        lpips: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.splits = list(splits)
        self.region_labels = {name: [int(label) for label in labels] for name, labels in regions.items()}
        self.regions = [FULL_FRAME, *self.region_labels]
        self.lpips = lpips
        shape = (len(self.splits), len(self.regions), len(METRICS))
        self.add_state("total", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self, split_names: list[list[str]], render: Tensor, target: Tensor, matte: Tensor, labels: Tensor
    ) -> None:
        """Score images.

        Args:
            split_names: for each image, the splits that hold it; names that are not ours are passed over.
            render: ``[B, 3, H, W]`` over white; values are clamped to [0, 1].
            target: ``[B, 3, H, W]`` over white, in [0, 1].
            matte: ``[B, H, W]`` in [0, 1].
            labels: ``[B, H, W]`` region labels.

        Raises:
            UserError: a rendering is not finite.
        """
        if not torch.isfinite(render).all():
            raise UserError(
                "the avatar renders values that are not finite; train it again with a lower learning rate"
            )
        for names, *images in zip(split_names, render.clamp(0, 1), target, matte, labels, strict=True):
            places = [self.splits.index(name) for name in names if name in self.splits]
            if not places:
                continue
            values = self._score(*images).to(self.total)
            known = ~values.isnan()
            self.total[places] += values.nan_to_num(0)
            self.count[places] += known.to(self.count)

    def compute(self) -> Averages:
        """Averages by split, region and metric."""
        means = (self.total / self.count).tolist()
        counts = self.count.tolist()
        return {
            split: {
                region: {
                    metric: means[s][r][m] if counts[s][r][m] else None for m, metric in enumerate(METRICS)
                }
                for r, region in enumerate(self.regions)
            }
            for s, split in enumerate(self.splits)
        }

    def _score(self, render: Tensor, target: Tensor, matte: Tensor, labels: Tensor) -> Tensor:
        """``[regions, metrics]`` of one image, NaN where there is none."""
        similarity = ssim_map(render, target)
        values = [image_metrics(render, target, similarity, self.lpips)]
        for wanted in self.region_labels.values():
            mask = (matte > MATTE_THRESHOLD) & torch.isin(labels, torch.tensor(wanted).to(labels))
            values.append(masked_metrics(render, target, mask, similarity, self.lpips))
        return torch.stack(values)
