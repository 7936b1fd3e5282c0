"""Refinement of a clip's mattes: outlines as sharp as the pictures, without islands of background.

The segmentation network works at 256x256 on one frame at a time: it bites into hair, keeps what looks like
hair in the background and leaves a fringe. A camera that stands still shows most of the background in one
frame or another (a clean plate), so that it is known behind the outline. Alpha then follows from the
compositing equation ``C = alpha F + (1 - alpha) B`` (difference matting, Qian and Sezan 1992) with the clean
plate's colour B and the foreground colour F from nearby. Where the plate is not known, or the background
moves, the network's matte is fitted to the edges of the picture (guided filter, He et al. 2010).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor
from torch.nn import functional

from partnerface.meshes.dilation import dilate

PLATE_FRAMES = 40
"""Frames, spread evenly, that the background is taken from."""
LEAST_SEEN, LEAST_SEEN_SHARE = 3, 0.15
"""Frames that must show a place of the background, and their share: fewer may show hair that was missed."""
ROWS_AT_ONCE = 64
BESIDE_PERSON = 0.024
"""Distance from the matte within which a pixel is no background for sure. Lengths are in picture heights."""
INNER_BAND, OUTER_BAND = 0.02, 0.05
"""Alpha is estimated this far inside and outside the network's outline."""
UNSEEN_FACTOR = 9.0
"""The background's variance where it continues from nearby, in variances of what is seen there."""
COLOUR_RADII = (0.006, 0.012, 0.025, 0.05)
"""Neighbourhoods from which a colour that is not seen is taken, the smallest that shows it."""
LEAST_SHARE = 0.1
"""Share of a neighbourhood that must show the colour."""
GUIDED_RADIUS, GUIDED_EPSILON = 0.012, 1e-4
HALVED_RADIUS = 4
"""Radius in pixels from which the guided filter works at half the size."""
CAMERA_NOISE = 0.015
"""Standard deviation of a compressed video's pixel over time, colours in [0, 1]."""
STRETCH = 0.1
"""What the guided filter leaks over an edge, to both sides."""
UNLIKE_MIX = 0.1
"""Distance of a colour from the line between F and B at which it is foreground of another colour."""
OPAQUE, TRANSPARENT = 0.95, 0.08
"""Alphas of the compositing equation beyond which noise and shadows are taken out."""
CONTRAST = 30.0
"""Distance of F or C from B, in deviations of B, at which the compositing equation has half its weight.

Weak evidence does more harm than good: dark hair before leaves, and a background mixed with missed hair.
"""
NETWORK_WEIGHT = 0.25
"""Weight of the network's matte; that of the compositing equation is at most 1."""
PLATE_FIT = 2.5
"""Mean squared deviation, in variances, below which a patch is the background behind it."""
CERTAIN_DEVIATION = 0.05
"""A background that deviates more takes nothing out of a matte."""
PATCH = 0.005
"""Half the side of such a patch."""
MISFIT_RADIUS = 0.08
"""Neighbourhood in which a frame's own deviation from the background is measured."""
SMALL_COMPONENT = 0.15
"""Share of the largest component's size below which another one is taken out."""
COMPONENT_SIZE = 64
"""Least length of the longer side of the mask whose connected components are found: nearer things count as
connected."""


@dataclass(frozen=True)
class CleanPlate:
    """The scene without the person, as far as the clip shows it.

    Attributes:
        colour: ``[3, H, W]`` in [0, 1].
        deviation: ``[H, W]`` standard deviation, infinite where the background is not known.
    """

    colour: Tensor
    deviation: Tensor


def refine_mattes(
    image: Callable[[int], np.ndarray],
    mattes: np.ndarray,
    on_frame: Callable[[], None] = lambda: None,
    scene: range | None = None,
) -> None:
    """Refine the mattes of a clip in place.

    Args:
        image: gives the picture ``[H, W, 3]`` uint8 RGB of a frame.
        mattes: ``[T, H, W]`` uint8, 255 is the person.
        on_frame: called after each frame.
        scene: frames that show the person's surroundings, for a title or a covered lens does not; all by
            default.
    """
    scene = scene or range(len(mattes))
    chosen = np.unique(np.linspace(scene[0], scene[-1], PLATE_FRAMES).astype(int))
    plate = find_clean_plate(np.stack([image(i) for i in chosen]), mattes[chosen])
    for i, matte in enumerate(mattes):
        mattes[i] = refined_matte(image(i), matte, plate)
        on_frame()


def find_clean_plate(images: np.ndarray, mattes: np.ndarray) -> CleanPlate:
    """Median over the frames ``[F, H, W, 3]`` that show a place, by their mattes ``[F, H, W]``; both uint8.

    Close to places that are seen, the background continues as there, with a larger deviation.
    """
    height = images.shape[1]
    behind = torch.stack([~dilate(torch.from_numpy(m) > 63, _px(BESIDE_PERSON, height)) for m in mattes])
    colour, deviation = [], []
    for rows in torch.arange(height).split(ROWS_AT_ONCE):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        seen = torch.from_numpy(images[:, part]).float() / 255
        seen[~behind[:, part]] = torch.nan
        median = seen.nanmedian(0).values
        # Of a normal distribution 90 % lie within 1.645 standard deviations.
        spread = (seen - median).abs().nanquantile(0.9, 0).amax(-1) / 1.645
        colour.append(median.nan_to_num(0.0))
        deviation.append(spread.nan_to_num(0.0))
    known = behind.sum(0) >= max(LEAST_SEEN, LEAST_SEEN_SHARE * len(images))
    found = torch.cat(colour).permute(2, 0, 1) * known
    variance = torch.cat(deviation).square() + CAMERA_NOISE**2
    near, spread, reached = _nearby_colour(found, known)
    beside = torch.where(reached, UNSEEN_FACTOR * spread + CAMERA_NOISE**2, torch.inf)
    return CleanPlate(torch.where(known, found, near), torch.where(known, variance, beside).sqrt())


def refined_matte(image: np.ndarray, matte: np.ndarray, plate: CleanPlate) -> np.ndarray:
    """Matte ``[H, W]`` uint8 of a picture ``[H, W, 3]`` uint8 by the network's and the clean plate.

    Zero where the network sees nobody.
    """
    height = len(matte)
    person = _large_components(torch.from_numpy(matte) > 127)
    if not person.any():
        return np.zeros_like(matte)
    colour = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    from_background = colour - plate.colour
    around = ~dilate(person, _px(OUTER_BAND, height))
    variance = plate.deviation.square()
    around &= variance.isfinite()
    variance = variance * _misfit(from_background.square().mean(0) / variance, around)
    squared = from_background.square().sum(0) / variance
    # Holes are filled, and opened again where they show the background.
    whole = _without_holes(person)
    network = torch.where(whole & ~person, 1.0, torch.from_numpy(matte).float() / 255)
    shown = _shown_background(squared, variance, ~whole)
    person = whole & ~shown
    core = _eroded(person, _px(INNER_BAND, height))
    band = dilate(person, _px(OUTER_BAND, height)) & ~core
    prior = network * (core | band) * ~shown
    guided = _guided(colour, prior, _px(GUIDED_RADIUS, height))
    inside = core.float()
    inside[band] = ((guided[band] - STRETCH) / (1 - 2 * STRETCH)).clamp(0, 1)
    if core.any():
        foreground, _, reached = _nearby_colour(colour * core, core)
        mixed = band & reached & variance.isfinite()
        inside[mixed] = _mixed_alpha(
            from_background[:, mixed],
            (foreground - plate.colour)[:, mixed],
            variance[mixed],
            inside[mixed],
        )
    one = inside * _large_components(inside > 0.1)
    return (one * 255).round().to(torch.uint8).numpy()


def _mixed_alpha(seen: Tensor, foreground: Tensor, variance: Tensor, prior: Tensor) -> Tensor:
    """Alpha ``[N]`` of pixels by the compositing equation, and by the network's ``[N]`` where that is vague.

    ``seen`` and ``foreground`` ``[3, N]`` are colours minus the background's, ``variance`` ``[N]`` is that of
    the background.
    """
    contrast = foreground.square().sum(0)
    along = (seen * foreground).sum(0) / contrast.clamp_min(1e-6)
    beside = (seen - along * foreground).square().sum(0)
    alpha = along.clamp_min(0) + beside / (UNLIKE_MIX**2 + 4 * variance)
    alpha = ((alpha - TRANSPARENT) / (OPAQUE - TRANSPARENT)).clamp(0, 1)
    evidence = torch.maximum(contrast, seen.square().sum(0))
    weight = evidence / (evidence + CONTRAST**2 * variance)
    return (weight * alpha + NETWORK_WEIGHT * prior) / (weight + NETWORK_WEIGHT)


def _misfit(squared: Tensor, around: Tensor) -> Tensor:
    """``[H, W]`` factor, at least 1, on the background's variance: by how much a frame misses it nearby.

    A shaking camera, leaves in the wind and changing light deviate together over a whole neighbourhood.
    ``squared`` ``[H, W]`` are squared distances in variances, ``around`` ``[H, W]`` is surely background.
    """
    counted = torch.stack([squared.clamp_max(100) * around, around.float()])
    summed, share = _box(counted, _px(MISFIT_RADIUS, len(squared)))
    return (summed / share.clamp_min(1e-3)).clamp_min(1)


def _shown_background(squared: Tensor, variance: Tensor, outside: Tensor) -> Tensor:
    """``[H, W]`` bool: patches, connected with ``outside``, that look like the background behind them.

    ``squared`` ``[H, W]`` are squared distances from it in variances.
    """
    radius = _px(PATCH, len(squared))
    patches = _box(squared.clamp_max(50)[None], radius)[0] < PLATE_FIT
    shown = dilate(_eroded(patches & (variance < CERTAIN_DEVIATION**2), radius), radius)
    return shown & _connected(outside, shown | outside)


def _nearby_colour(colour: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean ``[3, H, W]`` and variance ``[H, W]`` of known colours nearby, and where there are any.

    ``colour`` ``[3, H, W]`` is zero where ``known`` ``[H, W]`` is False.
    """
    height = len(known)
    mean, variance = torch.zeros_like(colour), torch.zeros_like(colour[0])
    reached = torch.zeros_like(known)
    summed = torch.cat([colour, colour.square(), known.float()[None]])
    for radius in COLOUR_RADII:
        blurred = _box(summed, _px(radius, height))
        share = blurred[6].clamp_min(1e-6)
        use = ~reached & (blurred[6] >= LEAST_SHARE)
        here = blurred[:3] / share
        mean = torch.where(use, here, mean)
        variance = torch.where(use, (blurred[3:6] / share - here.square()).amax(0).clamp_min(0), variance)
        reached |= use
    return mean, variance, reached


def _guided(colour: Tensor, values: Tensor, radius: int) -> Tensor:
    """Values ``[H, W]`` fitted to the edges of a picture ``[3, H, W]`` (fast guided filter, He and Sun 2015).

    Around each pixel they are a linear function of its colour, found in pictures of half the size: kornia's
    filter takes corners of blocks for their middles, and moves outlines by a pixel and a half.
    """
    height, width = values.shape
    step = 2 if radius >= HALVED_RADIUS else 1
    colours, halved = (
        functional.avg_pool2d(whole, step, ceil_mode=True, count_include_pad=False)
        for whole in (colour, values[None])
    )
    products = colours[:, None] * torch.cat([colours, halved])[None]
    radius = round(radius / step)
    means = _box(torch.cat([colours, halved, products.flatten(0, 1)]), radius)
    mean, of_products = means[:4], means[4:].unflatten(0, (3, 4)).permute(2, 3, 0, 1)
    covariance = of_products - mean[:3].permute(1, 2, 0)[..., None] * mean.permute(1, 2, 0)[..., None, :]
    regular = covariance[..., :3] + GUIDED_EPSILON * torch.eye(3)
    slope = torch.linalg.solve(regular, covariance[..., 3]).permute(2, 0, 1)
    offset = mean[3:] - (slope * mean[:3]).sum(0, keepdim=True)
    linear = _box(torch.cat([slope, offset]), radius)
    if step > 1:
        linear = functional.interpolate(linear[None], scale_factor=step, mode="bilinear")[0]
        linear = linear[:, :height, :width]
    return (linear[:3] * colour).sum(0) + linear[3]


def _box(channels: Tensor, radius: int) -> Tensor:
    """Mean of ``[C, H, W]`` over squares of ``2 radius + 1`` pixels, without what lies beyond the border."""
    # Running sums: pooling takes ten times as long for the larger squares.
    for _ in range(2):
        channels = channels.transpose(1, 2)
        length = channels.shape[2]
        places = torch.arange(length)
        counts = (places + radius + 1).clamp_max(length) - (places - radius).clamp_min(0)
        sums = channels.cumsum(2)
        sums = torch.cat([functional.pad(sums, (radius + 1, 0)), sums[..., -1:].expand(-1, -1, radius)], 2)
        channels = (sums[..., 2 * radius + 1 :] - sums[..., :length]) / counts
    return channels


def _px(share: float, height: int) -> int:
    return max(1, round(share * height))


def _eroded(mask: Tensor, radius: int) -> Tensor:
    return ~dilate(~mask, radius)


def _coarse(mask: Tensor) -> Tensor:
    """The mask ``[h, w]`` of cells in which any pixel of ``[H, W]`` is marked."""
    cell = max(1, max(mask.shape) // COMPONENT_SIZE)
    return functional.max_pool2d(mask.float()[None], cell, ceil_mode=True)[0] > 0


def _fine(coarse: Tensor, mask: Tensor) -> Tensor:
    """The pixels of a mask ``[H, W]`` whose cells of `_coarse` are marked."""
    cell = max(1, max(mask.shape) // COMPONENT_SIZE)
    whole = coarse.repeat_interleave(cell, 0).repeat_interleave(cell, 1)
    return whole[: mask.shape[0], : mask.shape[1]] & mask


def _large_components(mask: Tensor) -> Tensor:
    """The connected components of a mask ``[H, W]`` but the small ones, with what all but touches them.

    A head may be parted from the shoulders: by a scarf that the network does not know, say.
    """
    cells = _coarse(mask)
    labels = torch.from_numpy(label(cells.numpy(), np.ones((3, 3)))[0]).long()
    sizes = labels.flatten().bincount()
    sizes[0] = 0
    large = (sizes > 0) & (sizes >= SMALL_COMPONENT * sizes.max())
    return _fine(large[labels], mask)


def _connected(seeds: Tensor, mask: Tensor) -> Tensor:
    """The pixels of a mask ``[H, W]`` that are connected with a seed ``[H, W]`` through it."""
    cells = _coarse(mask)
    found = _coarse(seeds & mask)
    while True:
        wider = dilate(found) & cells
        if wider.equal(found):
            return _fine(found, mask)
        found = wider


def _without_holes(mask: Tensor) -> Tensor:
    """The mask ``[H, W]`` and what it encloses; the picture's lower edge encloses too."""
    border = torch.ones_like(mask)
    border[1:, 1:-1] = False
    return ~_connected(border & ~mask, ~mask)
