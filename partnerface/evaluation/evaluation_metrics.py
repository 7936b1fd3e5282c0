"""EvaluationMetrics: per-image metrics averaged over each split and region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from partnerface.errors import UserError
from partnerface.evaluation.region_metrics import (
    METRICS,
    Comparison,
    image_metrics,
    masked_metrics,
    ssim_map,
)
from partnerface.evaluation.split_means import SplitMeans

FULL_FRAME = "full_frame"


class EvaluationMetrics(SplitMeans):
    """Means of per-image PSNR, SSIM, MS-SSIM, LPIPS and L1, by split and by region.

    Args:
        splits: names of the splits.
        regions: names of the regions beside ``full_frame``.
        lpips: the network; without it LPIPS is missing.
        ms_ssim: MS-SSIM; without it, it is missing.
    """

    def __init__(
        self,
        splits: Iterable[str],
        regions: Iterable[str],
        lpips: Comparison | None = None,
        ms_ssim: Comparison | None = None,
    ) -> None:
        super().__init__(splits, [FULL_FRAME, *regions], METRICS)
        self.lpips, self.ms_ssim = lpips, ms_ssim

    def update(self, names: list[str], render: Tensor, target: Tensor, masks: Mapping[str, Tensor]) -> None:
        """Score one image.

        Args:
            names: the splits that hold it; names that are not ours are passed over.
            render: ``[3, H, W]`` over white; values are clamped to [0, 1].
            target: ``[3, H, W]`` over white, in [0, 1].
            masks: ``[H, W]`` bool by region.

        Raises:
            UserError: a rendering is not finite.
        """
        if not torch.isfinite(render).all():
            raise UserError(
                "the avatar renders values that are not finite; train it again with a lower learning rate"
            )
        if not (places := self.places(names)):
            return
        render = render.clamp(0, 1)
        similarity = ssim_map(render, target)
        compared = render, target, similarity, self.lpips, self.ms_ssim
        values = [image_metrics(*compared)]
        for region in self.regions[1:]:
            values.append(masked_metrics(render, target, masks[region], *compared[2:]))
        self.add(places, torch.stack(values))
