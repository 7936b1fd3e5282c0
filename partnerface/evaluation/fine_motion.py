"""Where the face's fine motion shows in a picture, and how well a picture without it would score there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from partnerface.data.regions import WHOLE_FACE, in_regions
from partnerface.evaluation.image_metric import psnr
from partnerface.evaluation.means import Averages, SplitMeans

FINE_MOTION, QUIET_FACE = "fine_motion", "quiet_face"
LEAST_CHANGE = 6 / 255
INNER_MATTE = 250 / 255
"""Pixels at the rim of the person differ by what is behind them."""
LEAST_PIXELS = 16
"""Fewer pixels of a frame make no region."""
LEAST_MARGIN = 3.0
"""dB by which the quiet face must lie above the ceiling before the score of fine motion counts."""
SAMPLING_FRAMES = 3
"""Frames of a split on which the pictures' own sampling error is measured."""

CEILING_PSNR, SAMPLING_PSNR, COUNTS = "ceiling_psnr", "sampling_psnr", "counts"
FINE_MOTION_DEFINITION = (
    f"{FINE_MOTION}: pixels of the face (labels face, eyes, mouth; matte above 250/255) that the true fine "
    "motion of the face changes by more than 6/255 in some channel in that frame; "
    f"{QUIET_FACE}: all others of the face; a frame with under {LEAST_PIXELS} pixels of a region has no "
    f"value; {CEILING_PSNR}: PSNR in {FINE_MOTION} of a picture that is perfect but for that motion; "
    f"{SAMPLING_PSNR}: PSNR there of the dataset's own picture against one with twice as many samples along "
    f"each axis, on up to {SAMPLING_FRAMES} frames of a split; {COUNTS}: whether PSNR in {QUIET_FACE} is at "
    f"least {LEAST_MARGIN:g} dB above {CEILING_PSNR}: below that, {FINE_MOTION} measures texture and says "
    "nothing about motion"
)


def fine_motion_masks(target: Tensor, motionless: Tensor, matte: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """``[H, W]`` bool of `FINE_MOTION` and `QUIET_FACE`, empty where they have under `LEAST_PIXELS` pixels.

    Args:
        target: ``[3, H, W]`` the frame over white, in [0, 1].
        motionless: ``[3, H, W]`` the same without the fine motion of the face.
        matte: ``[H, W]`` in [0, 1].
        labels: ``[H, W]`` uint8 (`Region`).
    """
    face = (matte > INNER_MATTE) & in_regions(labels, WHOLE_FACE)
    # Differences of whole bytes, which floating point would put on either side of the limit.
    changed = (255 * (motionless - target)).abs().amax(0) > 255 * LEAST_CHANGE + 0.01
    masks = {FINE_MOTION: face & changed, QUIET_FACE: face & ~changed}
    return {name: mask & (mask.sum() >= LEAST_PIXELS) for name, mask in masks.items()}


class FineMotionCeiling(SplitMeans):
    """PSNR in the fine-motion region of pictures that no method has made, see `FINE_MOTION_DEFINITION`."""

    def __init__(self, splits: Iterable[str]) -> None:
        super().__init__(splits, [FINE_MOTION], [CEILING_PSNR, SAMPLING_PSNR])

    def update(
        self,
        names: list[str],
        target: Tensor,
        motionless: Tensor,
        finer: Tensor | None,
        masks: Mapping[str, Tensor],
    ) -> None:
        """Score one frame's references.

        Args:
            names: the splits that hold it; unknown names are ignored.
            target: ``[3, H, W]`` over white, in [0, 1].
            motionless: ``[3, H, W]`` the same without the fine motion of the face.
            finer: ``[3, H, W]`` the same with more samples; None if it was not rendered.
            masks: ``[H, W]`` bool by region.
        """
        inside, places = masks[FINE_MOTION], self.places(names)
        if not places or not inside.any():
            return
        values = [
            target.new_tensor(torch.nan)
            if picture is None
            else psnr((picture - target)[:, inside].square().mean())
            for picture in (motionless, finer)
        ]
        self.add(places, torch.stack(values)[None])


def mark_what_counts(averages: Averages) -> None:
    """Add `COUNTS` to the fine-motion region of every split that has a score of it."""
    for regions in averages.values():
        fine, quiet = regions[FINE_MOTION], regions[QUIET_FACE].get("psnr")
        ceiling = fine.get(CEILING_PSNR)
        known = quiet is not None and ceiling is not None
        fine[COUNTS] = quiet >= ceiling + LEAST_MARGIN if known else None
