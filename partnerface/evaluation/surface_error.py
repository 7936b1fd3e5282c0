"""SurfaceError: depth and canonical correspondence against a surface that is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from partnerface.evaluation.means import SplitMeans

GEOMETRY = ("depth_mm", "depth_coverage", "correspondence_mm", "correspondence_true_depth_mm")


class SurfaceError(SplitMeans):
    """Per-image means over the pixels of a region whose ray meets the true head, in millimetres.

    ``depth_coverage`` is the share of them that show the avatar's head. Over those, ``depth_mm`` is the
    mean absolute difference of depth along the ray and ``correspondence_mm`` the mean distance between
    the canonical points that the avatar and the truth give the pixel. ``correspondence_true_depth_mm``
    is that distance for the true surface point of every pixel: what it lacks is depth.

    Args:
        splits: names of the splits.
        regions: names of the regions.
    """

    def __init__(self, splits: Iterable[str], regions: Iterable[str]) -> None:
        super().__init__(splits, regions, GEOMETRY)

    def update(
        self,
        names: list[str],
        depth: Tensor,
        canonical: Tensor | None,
        canonical_at_truth: Tensor | None,
        true_depth: Tensor,
        true_canonical: Tensor,
        masks: Mapping[str, Tensor],
    ) -> None:
        """Score one image.

        Args:
            names: the splits that hold it.
            depth: ``[H, W]`` metres along the ray, 0 where there is no head.
            canonical: ``[H, W, 3]`` metres, of the points at that depth, NaN where nobody knows; None if
                the method has no canonical head.
            canonical_at_truth: the same for the points at the true depth.
            true_depth: ``[H, W]``, 0 where the ray meets no head.
            true_canonical: ``[H, W, 3]``.
            masks: ``[H, W]`` bool by region.
        """
        if not (places := self.places(names)):
            return
        depth_error = 1000 * (depth - true_depth).abs()
        point_error, motion_error = (
            torch.full_like(depth, torch.nan)
            if points is None
            else 1000 * (points - true_canonical).norm(dim=-1)
            for points in (canonical, canonical_at_truth)
        )
        rows = []
        for region in self.regions:
            real = masks[region] & (true_depth > 0)
            shown = real & (depth > 0)
            # Means over no pixel are NaN, missing values.
            coverage = (depth > 0)[real].float().mean()
            points = point_error[shown].nanmean(), motion_error[real].nanmean()
            rows.append(torch.stack([depth_error[shown].mean(), coverage, *points]))
        self.add(places, torch.stack(rows))
