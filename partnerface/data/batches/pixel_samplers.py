"""Which pixels of a frame to train on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from partnerface.data.regions import Region
from partnerface.errors import UserError

CACHE_LIMIT = 256_000_000
"""Bytes of sorted pixel lists that one process keeps; frames beyond it are sorted at every visit."""


@dataclass
class PixelSample:
    """Pixels drawn from one frame.

    Attributes:
        indices: ``[R]`` int64, row by row: ``y * width + x``.
        loss_weight: ``[R]`` float32, mean one.
    """

    indices: np.ndarray
    loss_weight: np.ndarray

    def beside(self, other: PixelSample) -> PixelSample:
        """These pixels and then those of another sample, with weights in the same proportions."""
        weight = np.concatenate([self.loss_weight, other.loss_weight])
        return PixelSample(np.concatenate([self.indices, other.indices]), weight / weight.mean())


class PixelSampler(ABC):
    """Draws pixels of a frame."""

    @abstractmethod
    def sample(
        self, frame: int, labels: np.ndarray, count: int, generator: np.random.Generator
    ) -> PixelSample:
        """Draw pixels, with replacement.

        Args:
            frame: index of the frame; what belongs to a frame may be kept from visit to visit.
            labels: ``[H, W]`` uint8, values of `Region`.
            count: number of pixels R.
            generator: the only source of randomness.
        """


class UniformPixels(PixelSampler):
    """Every pixel is as likely as any other."""

    def sample(
        self, frame: int, labels: np.ndarray, count: int, generator: np.random.Generator
    ) -> PixelSample:
        del frame
        return PixelSample(generator.integers(labels.size, size=count), np.ones(count, np.float32))


class RegionWeightedPixels(PixelSampler):
    """Pixels of some regions are likelier than others.

    A pixel of region ``r`` is drawn with probability ``u / HW + (1 - u) w_r / sum of w over the
    image``, where ``u`` is ``uniform_share``. Draws are stratified (one in each of R equal slices of
    the probability), which spreads them over the region at no cost.

    Args:
        background: weight of a background pixel.
        face: weight of a face pixel outside eyes and mouth.
        eyes: weight of an eye pixel.
        mouth: weight of a mouth pixel.
        hair: weight of a hair pixel.
        neck: weight of a neck pixel.
        torso: weight of a torso pixel.
        uniform_share: share of the draws that ignores regions, so that no pixel is never seen.
        importance_correction: 0 leaves all loss weights at one, so that the loss follows the
            weights; 1 divides by them, so that the loss is that of the whole image, with less noise
            where the weights are large.

    Raises:
        UserError: a weight is negative, or all are zero, or a share is not in [0, 1].
    """

    def __init__(
        self,
        background: float = 0.3,
        face: float = 2.0,
        eyes: float = 6.0,
        mouth: float = 6.0,
        hair: float = 1.5,
        neck: float = 1.0,
        torso: float = 0.7,
        uniform_share: float = 0.1,
        importance_correction: float = 0.0,
    ) -> None:
        # In the order of Region.
        self.weights = np.array([background, face, eyes, mouth, hair, neck, torso], np.float64)
        if not (self.weights >= 0).all() or self.weights.sum() == 0:
            raise UserError("pixel_sampler: region weights must be 0 or more, and not all 0")
        shares = {"uniform_share": uniform_share, "importance_correction": importance_correction}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise UserError(f"pixel_sampler.{name}: {share} is not between 0 and 1")
        self.uniform_share = uniform_share
        self.importance_correction = importance_correction
        self._sorted: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._cached_bytes = 0

    def __getstate__(self) -> dict:
        """Without the cached lists: they belong to one sequence in one process."""
        return {**self.__dict__, "_sorted": {}, "_cached_bytes": 0}

    def sample(
        self, frame: int, labels: np.ndarray, count: int, generator: np.random.Generator
    ) -> PixelSample:
        order, counts = self._sorted_pixels(frame, labels)
        mass = counts * self.weights
        total = mass.sum()
        uniform = count if total == 0 else round(self.uniform_share * count)
        indices = np.empty(count, np.int64)
        indices[:uniform] = _strata(uniform, labels.size, generator).astype(np.int64)
        indices[uniform:] = order[_weighted_places(counts, mass, count - uniform, generator)]
        loss_weight = np.ones(count, np.float32)
        if self.importance_correction and total > 0:
            density = self.weights * ((1 - self.uniform_share) / total) + self.uniform_share / labels.size
            loss_weight = density[labels.reshape(-1)[indices]] ** -self.importance_correction
            loss_weight = (loss_weight / loss_weight.mean()).astype(np.float32)
        return PixelSample(indices, loss_weight)

    def _sorted_pixels(self, frame: int, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels sorted by region, and the number of pixels of each region."""
        if frame in self._sorted:
            return self._sorted[frame]
        flat = labels.reshape(-1)
        small = np.uint16 if flat.size <= 1 << 16 else np.uint32
        order = np.argsort(flat, kind="stable").astype(small)
        entry = order, np.bincount(flat, minlength=len(Region))
        if self._cached_bytes + order.nbytes <= CACHE_LIMIT:
            self._sorted[frame] = entry
            self._cached_bytes += order.nbytes
        return entry


def patch_sample(
    sampler: PixelSampler, frame: int, labels: np.ndarray, side: int, generator: np.random.Generator
) -> PixelSample:
    """A square patch around a pixel that a sampler draws, moved into the picture where it would leave it.

    Args:
        sampler: draws the patch's centre; the loss weight of the centre is that of the whole patch.
        frame: index of the frame.
        labels: ``[H, W]`` uint8, values of `Region`.
        side: side of the patch in pixels, at most H and W.
        generator: the only source of randomness.
    """
    # As many as there are pixels in the patch, for weights are relative to those of the same draw.
    centres = sampler.sample(frame, labels, side**2, generator)
    chosen = generator.integers(side**2)
    height, width = labels.shape
    y, x = divmod(int(centres.indices[chosen]), width)
    top = min(max(y - side // 2, 0), height - side)
    left = min(max(x - side // 2, 0), width - side)
    rows = (np.arange(top, top + side) * width)[:, None] + np.arange(left, left + side)
    return PixelSample(rows.reshape(-1), np.full(side**2, centres.loss_weight[chosen], np.float32))


def _strata(count: int, total: float, generator: np.random.Generator) -> np.ndarray:
    """One random number in each of ``count`` equal slices of ``[0, total)``."""
    places = (np.arange(count) + generator.random(count)) * (total / max(count, 1))
    return np.minimum(places, np.nextafter(total, 0))


def _weighted_places(
    counts: np.ndarray, mass: np.ndarray, draws: int, generator: np.random.Generator
) -> np.ndarray:
    """Places in the list sorted by region, each with a probability proportional to its region's weight."""
    ends = np.cumsum(mass)
    place = _strata(draws, ends[-1], generator)
    region = np.searchsorted(ends, place, side="right")
    within = (place - (ends - mass)[region]) * (counts / np.maximum(mass, 1e-300))[region]
    within = np.clip(within.astype(np.int64), 0, counts[region] - 1)
    return (np.cumsum(counts) - counts)[region] + within
