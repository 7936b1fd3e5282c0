"""ResidentFrames: the training frames on a GPU, where ray batches are made of pixels that the host draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from partnerface.cameras.pinhole import image_pixels
from partnerface.compute.chunks import free_memory
from partnerface.data.batches.datasets import DrawnPixels, RayBatch
from partnerface.data.batches.frame_store import FrameStore
from partnerface.data.view import View
from partnerface.errors import UserError

FREE_SHARE = 0.25
"""Share of a GPU's free memory that frames may take: as much again as training needs is left."""


class ResidentFrames:
    """Some frames of a video, as bytes, and all its views on a device.

    Args:
        store: all T frames of the video.
        views: their views.
        frames: numbers of those to keep.
        device: where.
    """

    def __init__(
        self, store: FrameStore, views: View, frames: Sequence[int], device: torch.device | str
    ) -> None:
        _, height, width, channels = store.channels.shape
        self._channels = torch.empty(len(frames), height * width, channels, dtype=torch.uint8, device=device)
        for place, frame in enumerate(frames):
            # A copy: memory-mapped frames are read-only, which torch warns of.
            self._channels[place] = torch.from_numpy(np.array(store.channels[frame])).flatten(0, 1).to(device)
            store.release()
        places = torch.zeros(len(store), dtype=torch.long)
        places[list(frames)] = torch.arange(len(frames))
        self._places, self._views = places.to(device), views.to(device)
        self._pixels = image_pixels(width, height).to(device)
        # In a tensor of the device: CUDA multiplies by the inverse of a number of the host, which is not
        # rounded as the division on a CPU.
        self._largest = torch.full((), 255.0, device=device)

    def rays(self, drawn: DrawnPixels) -> RayBatch:
        """What the frames show at pixels that were drawn, which lie on the device; nothing is waited for."""
        values = self._channels[self._places[drawn.frame_index][:, None], drawn.indices]
        view, pixels = self._views.select(drawn.frame_index), self._pixels[drawn.indices]
        return RayBatch.of(drawn, view, pixels, values[..., :4] / self._largest, values[..., 4])


def resident_or_not(size: int, device: torch.device, resident: bool | Literal["auto"]) -> tuple[bool, str]:
    """Whether frames of ``size`` bytes are to be kept on a device, and a line about it.

    Raises:
        UserError: ``resident`` is true, and they do not fit.
    """
    taken = f"{size / 1e9:.2f} GB"
    if device.type != "cuda":
        return False, "--data.resident: without effect on a CPU" if resident is True else ""
    free = free_memory(device)
    if resident is True and size > free:
        raise UserError(
            f"--data.resident true: the training frames take {taken}, the GPU has {free / 1e9:.2f} GB free; "
            "choose auto or a smaller --data.image_size"
        )
    if resident is True or (resident == "auto" and size <= FREE_SHARE * free):
        return True, f"the training frames are kept on the GPU: {taken}"
    if resident == "auto":
        limit = f"{FREE_SHARE:.0%} of the GPU's free memory are {FREE_SHARE * free / 1e9:.2f} GB"
        return False, f"the training frames are not kept on the GPU: they take {taken}, {limit}"
    return False, ""
