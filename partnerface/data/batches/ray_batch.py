"""RayBatch: training rays with what each should look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from partnerface.data.view import View


@dataclass
class RayBatch:
    """R pixels from each of F frames.

    Attributes:
        view: the F frames at the training resolution.
        frame_index: ``[F]`` their numbers in the sequence.
        pixels: ``[F, R, 2]`` x and y in pixels of the training resolution, centres at +0.5.
        rgb: ``[F, R, 3]`` colour of the image, in [0, 1].
        alpha: ``[F, R]`` matte, in [0, 1].
        region: ``[F, R]`` uint8, values of `Region`.
        background: ``[F, R, 3]`` random colour behind the person.
        loss_weight: ``[F, R]`` weight of each ray in the losses, mean one over a frame.
    """

    view: View
    frame_index: Int[Tensor, " F"]
    pixels: Float[Tensor, "F R 2"]
    rgb: Float[Tensor, "F R 3"]
    alpha: Float[Tensor, "F R"]
    region: UInt8[Tensor, "F R"]
    background: Float[Tensor, "F R 3"]
    loss_weight: Float[Tensor, "F R"]

    def __len__(self) -> int:
        return len(self.frame_index)

    def target(self) -> Tensor:
        """``[F, R, 3]`` the colour to reach: the person over the random background."""
        alpha = self.alpha[..., None]
        return alpha * self.rgb + (1 - alpha) * self.background

    def select(self, frames: Tensor) -> RayBatch:
        """Some of the batch's frames, by their places in it."""
        tensors = {f.name: getattr(self, f.name)[frames] for f in fields(self) if f.name != "view"}
        return RayBatch(view=self.view.select(frames), **tensors)

    def to(self, device: torch.device | str) -> RayBatch:
        return RayBatch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    @classmethod
    def concatenate(cls, batches: Sequence[RayBatch]) -> RayBatch:
        """Join batches along the frames: the collate function of training."""
        names = [f.name for f in fields(cls) if f.name != "view"]
        tensors = {name: torch.cat([getattr(batch, name) for batch in batches]) for name in names}
        return cls(view=View.concatenate([batch.view for batch in batches]), **tensors)
