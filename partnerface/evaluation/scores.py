"""All that a test measures, of rendered frames and of the nearest-training-frame baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from partnerface.data.regions import (
    EVALUATION_REGIONS,
    FULL_FRAME,
    GEOMETRY_REGIONS,
    NEAREST_FRAME_REGIONS,
    WITHOUT_TORSO,
    Region,
)
from partnerface.data.sequence import TrueSurface
from partnerface.evaluation.combinations import EXPRESSION_REGION
from partnerface.evaluation.fine_motion import (
    FINE_MOTION,
    QUIET_FACE,
    FineMotionCeiling,
    mark_what_counts,
)
from partnerface.evaluation.image_metric import ImageMetric
from partnerface.evaluation.means import Averages, ImageMeans, SplitMeans, TemporalStability, merged
from partnerface.evaluation.pictures import Prediction
from partnerface.head_models.head_parameters import HeadParameters

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

    `GEOMETRY_DEFINITION` says which.
    """

    def __init__(self, splits: Iterable[str], regions: Iterable[str]) -> None:
        super().__init__(splits, regions, GEOMETRY)

    def update(
        self,
        names: list[str],
        depth: Tensor,
        canonical: Tensor | None,
        canonical_at_truth: Tensor | None,
        truth: TrueSurface,
        masks: Mapping[str, Tensor],
    ) -> None:
        """Score the surface that one image shows.

        Args:
            names: the splits that hold it; unknown names are ignored.
            depth: ``[H, W]`` the avatar's depth, metres along the ray, 0 where it shows no head.
            canonical: ``[H, W, 3]`` canonical points in metres that the avatar finds for the points at
                that depth, NaN where it finds none; None if the method has no canonical head.
            canonical_at_truth: ``[H, W, 3]`` those that it finds for the points at the true depth, or None.
            truth: the true surface.
            masks: ``[H, W]`` bool by region.
        """
        if not (places := self.places(names)):
            return
        depth_error = 1000 * (depth - truth.depth).abs()
        point_error, motion_error = (
            torch.full_like(depth, torch.nan)
            if points is None
            else 1000 * (points - truth.canonical).norm(dim=-1)
            for points in (canonical, canonical_at_truth)
        )
        rows = []
        for region in self.regions:
            real = masks[region] & (truth.depth > 0)
            shown = real & (depth > 0)
            # Means over no pixel are NaN, missing values.
            coverage = (depth > 0)[real].float().mean()
            points = point_error[shown].nanmean(), motion_error[real].nanmean()
            rows.append(torch.stack([depth_error[shown].mean(), coverage, *points]))
        self.add(places, torch.stack(rows))


HEAD_RADIUS = 0.1
"""Metres: a turn by an angle moves the surface of the head by about this times the angle."""

Masks = dict[str, Tensor]
"""``[H, W]`` bool by region."""


class EvaluationScores:
    """Scores test frames, which come in the order of time, and beside each its nearest training frame.

    Args:
        splits: names of the test splits.
        metrics: image metrics by the name under which they are reported.
        with_surface: whether the true surface is known.
        device: device of the frames.
        with_motion: whether frames without the fine motion of the face are known: adds the regions
            ``fine_motion`` and ``quiet_face``.
        with_expression_region: adds the region ``expression_region``.
        without_torso: adds the region ``without_torso``.

    Attributes:
        surface: scores of the surface, to be updated by itself; None if the true one is not known.
        ceiling: scores of pictures without the fine motion, to be updated by itself; None without those.
    """

    def __init__(
        self,
        splits: Iterable[str],
        metrics: Mapping[str, ImageMetric],
        with_surface: bool,
        device: torch.device,
        with_motion: bool = False,
        with_expression_region: bool = False,
        without_torso: bool = False,
    ) -> None:
        splits = list(splits)
        regions = [*EVALUATION_REGIONS, *((FINE_MOTION, QUIET_FACE) if with_motion else ())]
        regions += [EXPRESSION_REGION] if with_expression_region else []

        def images(regions: Iterable[str]) -> ImageMeans:
            return ImageMeans(splits, regions, metrics).to(device)

        def pairs(regions: Iterable[str]) -> TemporalStability:
            return TemporalStability(splits, regions).to(device)

        self._images, self._nearest_images = images(regions), images(NEAREST_FRAME_REGIONS)
        self._cut = images(()) if without_torso else None
        self._pairs, self._nearest_pairs = pairs(regions), pairs(NEAREST_FRAME_REGIONS)
        self.surface = SurfaceError(splits, GEOMETRY_REGIONS).to(device) if with_surface else None
        self.ceiling = FineMotionCeiling(splits).to(device) if with_motion else None

    def update(self, rendered: Prediction, nearest: Tensor, masks: Masks) -> None:
        """Score one frame, by its picture and by ``nearest`` ``[3, H, W]``, its nearest training frame."""
        names, number, target = rendered.frame.splits, rendered.frame.frame_index, rendered.frame.on_white()
        self._images.update(names, rendered.image, target, masks)
        if self._cut is not None:
            torso = rendered.frame.labels == Region.TORSO
            self._cut.update(names, *(torch.where(torso, 1.0, one) for one in (rendered.image, target)), {})
        self._pairs.update(number, names, rendered.image, target, masks)
        self._nearest_images.update(names, nearest, target, masks)
        self._nearest_pairs.update(number, names, nearest, target, masks)

    def has_previous(self, frame: int) -> bool:
        """See `TemporalStability.has_previous`."""
        return self._pairs.has_previous(frame)

    def set_previous(self, rendered: Prediction, nearest: Tensor, masks: Masks) -> None:
        """Make a frame that another process scores the previous one of the next. Arguments as in `update`."""
        place = rendered.frame.frame_index, rendered.frame.splits
        target = rendered.frame.on_white()
        self._pairs.set_previous(*place, rendered.image, target, masks)
        self._nearest_pairs.set_previous(*place, nearest, target, masks)

    def averages(self) -> tuple[Averages, Averages]:
        """Means of the avatar and of the nearest training frames, over all processes."""
        tables = [self._images.compute(), self._pairs.compute()]
        tables += [extra.compute() for extra in (self.surface, self.ceiling) if extra is not None]
        avatar = merged(*tables)
        if self._cut is not None:
            for split, regions in self._cut.compute().items():
                avatar[split][WITHOUT_TORSO] = regions[FULL_FRAME]
        if self.ceiling is not None:
            mark_what_counts(avatar)
        return avatar, merged(self._nearest_images.compute(), self._nearest_pairs.compute())


def expression_displacement(expression_basis: Tensor) -> Tensor:
    """``[E]`` metres: largest shift of a vertex by one unit of each coefficient of a basis ``[E, V, 3]``."""
    return expression_basis.norm(dim=-1).amax(1)


def nearest_training_frames(
    queries: list[int], train: list[int], head: HeadParameters, displacement: Tensor
) -> list[int]:
    """The training frames whose head parameters are nearest to those of some frames.

    The distance is Euclidean, of three parts in metres on the head's surface: the angle between the two
    rotations times a head's radius, the difference of translation, and each expression coefficient's
    difference times the largest displacement that it causes.

    Args:
        queries: indices of Q frames.
        train: frames to choose from, not empty.
        head: parameters of all T frames of the video.
        displacement: ``[E]`` metres, of `expression_displacement`.

    Returns:
        Q indices, each one of ``train``.
    """
    parts = (
        # |A - B| (Frobenius) of two rotations is sqrt(2) times their angle, for small angles.
        head.rotation.flatten(1) * (HEAD_RADIUS / 2**0.5),
        head.translation,
        head.expression * displacement,
    )
    places = torch.cat([part.detach().double() for part in parts], 1)
    distance = torch.cdist(places[queries], places[train], compute_mode="donot_use_mm_for_euclid_dist")
    return [train[nearest] for nearest in distance.argmin(1).tolist()]
