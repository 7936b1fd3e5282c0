"""RayBatch and EvaluationFrame, and the datasets over a FrameStore: random pixels, whole frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from partnerface.cameras.pinhole import image_pixels
from partnerface.compute.frame_record import FrameRecord
from partnerface.data.batches.frame_store import FrameStore
from partnerface.data.batches.loader import FrameVisit
from partnerface.data.batches.pixel_samplers import PixelSampler, patch_sample
from partnerface.data.view import View


@dataclass
class DrawnPixels(FrameRecord):
    """All that is random about R rays from each of F frames; `RayBatch.of` adds what the frames show there.

    Attributes:
        frame_index: ``[F]`` numbers of the frames in the sequence.
        indices: ``[F, R]`` int64 pixels, row by row: ``y * width + x``.
        background: ``[F, R, 3]`` random colour behind the person.
        loss_weight: ``[F, R]`` weight of each ray in the losses, mean one over a frame.
        patch_side: side S of a square patch of neighbouring pixels, which are the first S * S of every frame,
            row by row; 0 without patches.
    """

    frame_index: Int[Tensor, " F"]
    indices: Int[Tensor, "F R"]
    background: Float[Tensor, "F R 3"]
    loss_weight: Float[Tensor, "F R"]
    patch_side: int = 0

    @classmethod
    def draw(
        cls,
        sampler: PixelSampler,
        frame: int,
        labels: np.ndarray,
        count: int,
        seed: int,
        visit: int,
        patch_side: int = 0,
    ) -> DrawnPixels:
        """Draw ``count`` pixels of a frame (F = 1) with labels ``[H, W]``; the seeds decide which.

        A patch, if ``patch_side`` is not 0, has ``patch_side ** 2`` of them, or fewer in a smaller picture.
        """
        generator = np.random.default_rng((seed, 1, visit))
        side = min(patch_side, *labels.shape)
        sample = sampler.sample(frame, labels, count - side**2, generator)
        background = generator.random((count, 3), np.float32)
        if side:
            sample = patch_sample(sampler, frame, labels, side, generator).beside(sample)
        drawn = (np.array(frame), sample.indices, background, sample.loss_weight)
        number, indices, behind, weight = (torch.from_numpy(value)[None] for value in drawn)
        return cls(number, indices, behind, weight, side)


@dataclass
class RayBatch(FrameRecord):
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
        patch_side: side S of the patch of neighbouring pixels that the first S * S rays of every frame form,
            row by row; 0 without patches.
    """

    view: View
    frame_index: Int[Tensor, " F"]
    pixels: Float[Tensor, "F R 2"]
    rgb: Float[Tensor, "F R 3"]
    alpha: Float[Tensor, "F R"]
    region: UInt8[Tensor, "F R"]
    background: Float[Tensor, "F R 3"]
    loss_weight: Float[Tensor, "F R"]
    patch_side: int = 0

    @classmethod
    def of(cls, drawn: DrawnPixels, view: View, pixels: Tensor, rgba: Tensor, region: Tensor) -> RayBatch:
        """Rays of drawn pixels: the frames' view, pixels, colours with matte ``[F, R, 4]`` and regions."""
        rgb, alpha = rgba[..., :3], rgba[..., 3]
        weights = drawn.background, drawn.loss_weight
        return cls(view, drawn.frame_index, pixels, rgb, alpha, region, *weights, drawn.patch_side)

    def __len__(self) -> int:
        return len(self.frame_index)

    def split(self, count: int) -> list[RayBatch]:
        """At most ``count`` equal slices: frames where that comes out even, else rays of every frame.

        With patches, which are not cut, always frames, of which some slices may have one more.
        """
        count = min(count, len(self)) if self.patch_side else count
        if count == 1:
            return [self]
        if len(self) % count == 0 or self.patch_side:
            return [self.select(frames) for frames in torch.arange(len(self)).tensor_split(count)]
        names = ("pixels", "rgb", "alpha", "region", "background", "loss_weight")
        pieces = zip(*(getattr(self, name).tensor_split(count, 1) for name in names), strict=True)
        slices = [replace(self, **dict(zip(names, piece, strict=True))) for piece in pieces]
        return [piece for piece in slices if piece.alpha.numel()]

    def target(self) -> Tensor:
        """``[F, R, 3]`` the colour to reach: the person over the random background."""
        return torch.lerp(self.background, self.rgb, self.alpha[..., None])

    def patches(self, values: Tensor) -> Tensor:
        """``[F, C, S, S]`` pictures of the patches, of values ``[F, R, C]`` of all rays."""
        side = self.patch_side
        return values[:, : side**2].unflatten(1, (side, side)).permute(0, 3, 1, 2)


@dataclass
class EvaluationFrame:
    """One whole frame of a tracked video.

    Attributes:
        view: its camera, head and torso, F = 1.
        frame_index: its number in the sequence.
        image: ``[3, H, W]`` colour in [0, 1], not multiplied by the matte.
        matte: ``[H, W]`` in [0, 1].
        labels: ``[H, W]`` uint8, values of `Region`.
        splits: names of the splits that hold the frame.
    """

    view: View
    frame_index: int
    image: Float[Tensor, "3 H W"]
    matte: Float[Tensor, "H W"]
    labels: UInt8[Tensor, "H W"]
    splits: list[str]

    def to(self, device: torch.device | str) -> EvaluationFrame:
        tensors = {name: getattr(self, name).to(device) for name in ("view", "image", "matte", "labels")}
        return replace(self, **tensors)

    def on_white(self) -> Tensor:
        """``[3, H, W]`` the person over white: the target of full-frame metrics."""
        return self.matte * self.image + (1 - self.matte)


class RayDataset(Dataset):
    """A visit to a frame -> random rays of it. What is drawn depends on the seed and the visit's number only.

    Args:
        store: the frames.
        views: all T frames of the video at the store's resolution.
        pixel_sampler: which pixels.
        rays_per_frame: how many.
        seed: seed of pixels and background colours.
        looked_up: False leaves it to somebody else to look up what the frames show, see `ResidentFrames`.
        patch_side: side of the patch in pixels that is among the rays of each frame; 0 for none.
        patches_from: number of the first visit with a patch; in a tensor ``[1]`` int64 of shared memory it
            may be set while workers draw, to the first visit of a batch that is not drawn yet.
    """

    def __init__(
        self,
        store: FrameStore,
        views: View,
        pixel_sampler: PixelSampler,
        rays_per_frame: int,
        seed: int,
        looked_up: bool = True,
        patch_side: int = 0,
        patches_from: int | Tensor = 0,
    ) -> None:
        self.store, self.views, self.pixel_sampler = store, views, pixel_sampler
        self.rays_per_frame, self.seed, self.looked_up = rays_per_frame, seed, looked_up
        self.patch_side, self.patches_from = patch_side, patches_from

    def __getitem__(self, visit: FrameVisit) -> RayBatch | DrawnPixels:
        """Rays of one frame: a batch with F = 1."""
        frame, labels = visit.frame, self.store.labels[visit.frame]
        side = self.patch_side if visit.number >= self.patches_from else 0
        drawn = DrawnPixels.draw(
            self.pixel_sampler, frame, labels, self.rays_per_frame, self.seed, visit.number, side
        )
        if self.looked_up:
            y, x = np.divmod(drawn.indices.numpy(), labels.shape[1])
            rgba = torch.from_numpy(self.store.rgba[frame][y, x].astype(np.float32)) / 255
            # Computed: a table of all pixels would be read at random places.
            pixels = torch.from_numpy(np.stack([x, y], -1).astype(np.float32) + 0.5)
            region = torch.from_numpy(labels[y, x])
            batch = RayBatch.of(drawn, self.views.select([frame]), pixels, rgba, region)
        self.store.release()
        return batch if self.looked_up else drawn


def rays_of_frame(
    frame: EvaluationFrame, pixel_sampler: PixelSampler, rays: int, batches: int, seed: int = 0
) -> Iterator[RayBatch]:
    """Batches of random rays of one frame (F = 1), drawn as in training, on the frame's device."""
    number, labels = frame.frame_index, frame.labels.cpu().numpy()
    rgba = torch.cat([frame.image, frame.matte[None]]).flatten(1).T
    pixels = image_pixels(frame.view.camera.width, frame.view.camera.height).to(rgba.device)
    for batch in range(batches):
        drawn = DrawnPixels.draw(pixel_sampler, number, labels, rays, seed, number * batches + batch)
        drawn = drawn.to(rgba.device)
        region = frame.labels.flatten()[drawn.indices]
        yield RayBatch.of(drawn, frame.view, pixels[drawn.indices], rgba[drawn.indices], region)


class EvaluationFrames(Dataset):
    """Whole frames, in the order given.

    Args:
        store: the frames.
        views: all T frames of the video at the store's resolution.
        frames: numbers of the frames to serve.
        splits: the sequence's splits.
    """

    def __init__(
        self, store: FrameStore, views: View, frames: list[int], splits: dict[str, list[int]]
    ) -> None:
        self.store, self.views, self.frames = store, views, frames
        self.names: dict[int, list[str]] = {}
        for name, members in splits.items():
            for frame in members:
                self.names.setdefault(frame, []).append(name)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, place: int) -> EvaluationFrame:
        frame = self.frames[place]
        view = self.views.select([frame])
        rgba = torch.from_numpy(self.store.rgba[frame].astype(np.float32)).permute(2, 0, 1) / 255
        labels = torch.from_numpy(np.array(self.store.labels[frame]))
        return EvaluationFrame(view, frame, rgba[:3], rgba[3], labels, self.names.get(frame, []))
