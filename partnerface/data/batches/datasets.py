"""Datasets over a FrameStore: random rays for training, whole frames for evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from partnerface.data.batches.frame_samplers import FrameVisit
from partnerface.data.batches.frame_store import FrameStore
from partnerface.data.batches.pixel_samplers import PixelSampler
from partnerface.data.batches.ray_batch import RayBatch


@dataclass
class EvaluationFrame:
    """One whole frame.

    Attributes:
        frame_index: index in the sequence.
        image: ``[3, H, W]`` colour in [0, 1], not multiplied by the matte.
        matte: ``[H, W]`` in [0, 1].
        labels: ``[H, W]`` uint8, values of `Region`.
        splits: names of the splits that hold the frame.
    """

    frame_index: int
    image: Tensor
    matte: Tensor
    labels: Tensor
    splits: list[str]

    def to(self, device: torch.device | str) -> EvaluationFrame:
        tensors = {name: getattr(self, name).to(device) for name in ("image", "matte", "labels")}
        return replace(self, **tensors)

    def on_white(self) -> Tensor:
        """``[3, H, W]`` the person over white: the target of full-frame metrics."""
        return self.matte * self.image + (1 - self.matte)


class RayDataset(Dataset):
    """A visit to a frame -> random rays of it. What is drawn depends on the seed and the visit's number only.

    Args:
        store: the frames.
        pixel_sampler: which pixels.
        rays_per_frame: how many.
        seed: seed of pixels and background colours.
    """

    def __init__(
        self, store: FrameStore, pixel_sampler: PixelSampler, rays_per_frame: int, seed: int
    ) -> None:
        self.store, self.pixel_sampler = store, pixel_sampler
        self.rays_per_frame, self.seed = rays_per_frame, seed

    def __getitem__(self, visit: FrameVisit) -> RayBatch:
        """Rays of one frame: a batch with F = 1."""
        generator = np.random.default_rng((self.seed, 1, visit.number))
        labels = self.store.labels[visit.frame]
        sample = self.pixel_sampler.sample(visit.frame, labels, self.rays_per_frame, generator)
        y, x = np.divmod(sample.indices, labels.shape[1])
        rgba = torch.from_numpy(self.store.rgba[visit.frame][y, x].astype(np.float32)) / 255
        region = torch.from_numpy(labels[y, x])
        self.store.release()
        return RayBatch(
            frame_index=torch.tensor([visit.frame]),
            pixels=torch.from_numpy(np.stack([x, y], -1).astype(np.float32) + 0.5)[None],
            rgb=rgba[None, :, :3],
            alpha=rgba[None, :, 3],
            region=region[None],
            background=torch.from_numpy(generator.random((self.rays_per_frame, 3), np.float32))[None],
            loss_weight=torch.from_numpy(sample.loss_weight)[None],
        )


class EvaluationFrames(Dataset):
    """Whole frames, in the order given.

    Args:
        store: the frames.
        frames: indices of the frames to serve.
        splits: the sequence's splits.
    """

    def __init__(self, store: FrameStore, frames: list[int], splits: dict[str, list[int]]) -> None:
        self.store, self.frames = store, frames
        self.names: dict[int, list[str]] = {}
        for name, members in splits.items():
            for frame in members:
                self.names.setdefault(frame, []).append(name)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, place: int) -> EvaluationFrame:
        frame = self.frames[place]
        rgba = torch.from_numpy(self.store.rgba[frame].astype(np.float32)).permute(2, 0, 1) / 255
        labels = torch.from_numpy(np.array(self.store.labels[frame]))
        return EvaluationFrame(frame, rgba[:3], rgba[3], labels, self.names.get(frame, []))
