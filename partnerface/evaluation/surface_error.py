"""SurfaceError: depth and canonical correspondence against the true surface of an embedded subject."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from partnerface.evaluation.means import SplitMeans

GEOMETRY_DEFINITION = (
    "over a region's pixels whose ray meets the true head; depth_coverage: share of them that show the "
    "avatar's head (opacity above 0.5); over those, depth_mm: mean absolute difference of expected depth "
    "along the ray; correspondence_mm: mean distance of the canonical point of the pixel (inverse skinning "
    "and fine motion of the point at the expected depth) from the true one; correspondence_true_depth_mm: "
    "the same of the true surface point, free of depth; null for a method without a canonical head; per "
    "image, then averaged"
)
GEOMETRY = ("depth_mm", "depth_coverage", "correspondence_mm", "correspondence_true_depth_mm")


class SurfaceError(SplitMeans):
    """Errors in millimetres, per-image means over the pixels of a region whose ray meets the true head.

    ``depth_coverage`` is the share of them that show the avatar's head. Over those, ``depth_mm`` is the
    mean absolute difference of depth along the ray and ``correspondence_mm`` the mean distance between
    the pixel's canonical point in the avatar and in the truth. ``correspondence_true_depth_mm`` is that
    distance for the true surface point of every pixel, so that errors of depth do not enter.

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
            names: the splits that hold it; unknown names are ignored.
            depth: ``[H, W]`` the avatar's depth, metres along the ray, 0 where it shows no head.
            canonical: ``[H, W, 3]`` canonical points in metres that the avatar finds for the points at
                that depth, NaN where it finds none; None if the method has no canonical head.
            canonical_at_truth: ``[H, W, 3]`` canonical points that it finds for those at the true depth,
                or None.
            true_depth: ``[H, W]`` metres along the ray, 0 where it meets no head.
            true_canonical: ``[H, W, 3]`` true canonical points in metres.
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
