"""HeadVideoDataModule: a tracked video -> rays for training, frames for evaluation and prediction."""

from __future__ import annotations

import logging
import os
import sys
from functools import cached_property
from typing import Any, Literal

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from partnerface.cameras.pinhole import Camera
from partnerface.compute.frame_record import FrameRecord
from partnerface.compute.ranges import Between
from partnerface.data.batches.datasets import (
    DrawnPixels,
    EvaluationFrame,
    EvaluationFrames,
    RayBatch,
    RayDataset,
)
from partnerface.data.batches.frame_store import FrameStore, reduce_frame
from partnerface.data.batches.loader import ResumableLoader, ShardedFrames, ShuffledFrames
from partnerface.data.batches.pixel_samplers import PixelSampler, RegionWeightedPixels
from partnerface.data.batches.resident_frames import ResidentFrames, resident_or_not
from partnerface.data.drivers.driver import Driver, OwnFrames
from partnerface.data.protocols import divided_by, protocol_named
from partnerface.data.sequence import Reference, SequenceReader, TrackedSequence
from partnerface.data.splits import sampled_sequence, with_angular_velocity
from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.files.whole_files import one_after_another

VISITS_PER_EPOCH = 4
"""How often an epoch sees each training frame, unless ``batches_per_epoch`` is given."""

NEVER = 2**62
"""Number of a visit that training does not come to."""
LOADED_AHEAD = 2
"""Batches that each worker has loaded before they are asked for, `DataLoader`'s ``prefetch_factor``."""

logger = logging.getLogger(__name__)


class HeadVideoDataModule(lightning.LightningDataModule):
    """Serves one tracked video. Set ``use_distributed_sampler: false`` in the trainer: it shards by itself.

    Args:
        reader: where the video comes from.
        image_size: longer side of the frames in pixels; files are reduced to it, never enlarged.
        rays_per_frame: rays drawn from a frame in training.
        frames_per_batch: frames in a training batch.
        batches_per_epoch: training batches in an epoch; by default each frame is seen four times.
        pixel_sampler: which pixels are drawn; by default weighted by region.
        predict_frames: frames that ``predict`` renders: ``held_out`` (those of ``val`` and all test
            splits), ``all``, or the name of a split.
        driver: what ``predict`` renders instead of frames of the video.
        sample_frames: beside every test split, test on one of so many of its frames, named
            ``<split>_sample``; 0 for none. Methods that render slowly are compared on those.
        test_splits: the splits to test on; all by default.
        num_workers: worker processes; sampling takes so little that 0 is fastest on few cores.
        seed: seed of frame order, pixels and backgrounds; by default that of ``seed_everything``.
        protocol: name of a protocol of the literature, which divides the frames and sets ``image_size``; see
            docs/protocols.md. By default the dataset's own division.
        resident: keep the training frames on the GPU and make ray batches there: with ``auto`` where they
            take at most a quarter of its free memory. Batches are the same; without effect on a CPU.
        patch_side: side in pixels of a square patch of neighbouring pixels that is among the rays of each
            frame towards the end of training, for losses that compare pictures; 0 for none. A frame whose
            rays are no more than the patch's pixels has none either.
        patches_from: share of ``trainer.max_steps``, or of ``trainer.max_time`` if that comes first, after
            which patches are drawn.
    """

    def __init__(
        self,
        reader: SequenceReader,
        image_size: Between[int, 16, 8192] = 256,
        rays_per_frame: Between[int, 1, 1_000_000] = 1024,
        frames_per_batch: Between[int, 1, 4096] = 2,
        batches_per_epoch: Between[int, 1, 10**9] | None = None,
        pixel_sampler: PixelSampler | None = None,
        predict_frames: str = "held_out",
        driver: Driver | None = None,
        sample_frames: Between[int, 0, 10**9] = 0,
        test_splits: list[str] | None = None,
        num_workers: Between[int, 0, 256] = 0,
        seed: Between[int, 0, 2**63] | None = None,
        protocol: str | None = None,
        resident: bool | Literal["auto"] = "auto",
        patch_side: Between[int, 0, 1000] = 0,
        patches_from: Between[float, 0, 1] = 0.8,
    ) -> None:
        super().__init__()
        sizes = {
            "image_size": image_size,
            "rays_per_frame": rays_per_frame,
            "frames_per_batch": frames_per_batch,
            "batches_per_epoch": 1 if batches_per_epoch is None else batches_per_epoch,
        }
        for name, value in sizes.items():
            if value < 1:
                raise UserError(f"--data.{name}: {value} is not a positive number")
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed
        for name, value in (
            ("sample_frames", sample_frames),
            ("num_workers", num_workers),
            ("seed", self.seed),
        ):
            if value < 0:
                raise UserError(f"--data.{name}: {value} is negative")
        self.patch_side = patch_side if patch_side**2 < rays_per_frame else 0
        self.patches_from = patches_from
        self.reader = reader
        self.image_size = image_size
        self.rays_per_frame = rays_per_frame
        self.frames_per_batch = frames_per_batch
        self.batches_per_epoch = batches_per_epoch
        self.pixel_sampler = pixel_sampler or RegionWeightedPixels()
        self.predict_frames, self.driver = predict_frames, driver
        self.sample_frames, self.test_splits = sample_frames, test_splits
        self.num_workers = num_workers
        self.protocol = None if protocol is None else protocol_named(protocol)
        size = None if self.protocol is None else self.protocol.image_size
        if size not in (None, image_size):
            raise UserError(f"--data.image_size {image_size}: protocol {protocol} has {size}; leave one out")
        self.resident = resident
        self._resident_frames: ResidentFrames | None = None
        self._first_patch: Tensor | None = None

    @cached_property
    def _divided(self) -> TrackedSequence:
        """The tracked video with whole splits."""
        with one_after_another(self.reader.root):
            sequence = self.reader.read()
            if self.protocol is not None:
                sequence = divided_by(sequence, self.protocol)
            return with_angular_velocity(sequence)

    @cached_property
    def sequence(self) -> TrackedSequence:
        """The tracked video, cameras at the resolution of the files. Read at first use."""
        return sampled_sequence(self._divided, self.sample_frames, self.test_splits)

    @property
    def num_frames(self) -> int:
        """All T frames of the video."""
        return len(self.sequence)

    @cached_property
    def camera(self) -> Camera:
        """``T`` cameras at ``image_size``."""
        camera = self.sequence.camera
        longer = max(camera.width, camera.height)
        if self.image_size > longer:
            logger.warning("image_size %d is larger than the images: using %d", self.image_size, longer)
        scale = min(self.image_size / longer, 1.0)
        return camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))

    @cached_property
    def views(self) -> View:
        """All T frames of the video at ``image_size``."""
        return View(self.camera, self.sequence.head, self.sequence.torso_motion)

    @cached_property
    def store(self) -> FrameStore:
        """All frames at ``image_size``. Decoded at first use."""
        sequence, camera = self.sequence, self.camera
        with one_after_another(self.reader.root):
            return FrameStore.build(sequence, camera.width, camera.height, self.reader.root)

    @property
    def train_frames(self) -> list[int]:
        """Frames of the split ``train`` in which the head was tracked.

        Raises:
            UserError: there are none.
        """
        weights = self.sequence.frame_weights
        frames = [i for i in self.sequence.splits.get("train", []) if weights[i] == 1]
        if not frames:
            raise UserError(f"dataset {self.reader.root}: no frame to train on; track the video again")
        return frames

    @property
    def val_frames(self) -> list[int]:
        return self.sequence.splits.get("val", [])

    @property
    def test_frames(self) -> list[int]:
        """Frames of all test splits, each once."""
        return self.sequence.test_frames

    @property
    def all_test_frames(self) -> list[int]:
        """`test_frames` as they would be without samples and with every test split."""
        return self._divided.test_frames

    def evaluation_frame(self, frame: int) -> EvaluationFrame:
        """Any frame of the video, whole."""
        return EvaluationFrames(self.store, self.views, [frame], self.sequence.splits)[0]

    def reference_picture(self, frame: int, kind: Reference) -> Tensor | None:
        """``[3, H, W]`` a `Reference` picture over white at ``image_size``; None where there is none."""
        with one_after_another(self.reader.root):
            found = self.reader.reference_picture(frame, kind)
        if found is None:
            return None
        image, matte = found
        reduced = reduce_frame(image, matte, np.zeros_like(matte), self.camera.width, self.camera.height)
        values = torch.from_numpy(reduced[..., :4].astype(np.float32)).permute(2, 0, 1) / 255
        return values[3] * values[:3] + (1 - values[3])

    def setup(self, stage: str) -> None:
        """Decode the frames, so that a bad dataset stops a run before it starts.

        Raises:
            UserError: an image is damaged, or no frame is left to train on.
        """
        del stage
        len(self.train_frames)
        len(self.store)

    def teardown(self, stage: str) -> None:
        """Free the GPU's memory."""
        del stage
        self._resident_frames = None

    def train_dataloader(self) -> ResumableLoader:
        """Batches of `RayBatch`; of `DrawnPixels`, from which they are made on the GPU, for frames there."""
        frames, size = self.train_frames, self.frames_per_batch
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        self._resident_frames = self._frames_on(device)
        looked_up = self._resident_frames is None
        rank, world = self._process()
        batches = self.batches_per_epoch or -(-VISITS_PER_EPOCH * len(frames) // (size * world))
        steps = -1 if self.trainer is None else self.trainer.max_steps
        first = round(self.patches_from * steps) * size * world if steps > 0 else NEVER
        self._first_patch = torch.tensor([first]).share_memory_()
        return ResumableLoader(
            RayDataset(
                *(self.store, self.views, self.pixel_sampler, self.rays_per_frame, self.seed, looked_up),
                *(self.patch_side, self._first_patch),
            ),
            ShuffledFrames(frames, batches * size, size, self.seed, rank, world),
            size,
            collate_fn=FrameRecord.concatenate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=device.type == "cuda",
        )

    def begin_patches(self, step: int) -> None:
        """Draw patches from a training step on, or from one just after it: what is loaded ahead stays.

        For a training whose time may end before its steps; called on every process with the same step. A
        later call with a later step changes nothing.
        """
        loaded_ahead = self.num_workers * LOADED_AHEAD + 1
        first = (step + loaded_ahead) * self.frames_per_batch * self._process()[1]
        if self._first_patch is not None:
            self._first_patch.clamp_(max=first)

    def _frames_on(self, device: torch.device) -> ResidentFrames | None:
        """The training frames on a device, if they are to be there; one line says so."""
        frames = self.train_frames
        size = len(frames) * self.store.channels[0].nbytes
        kept, line = resident_or_not(size, device, self.resident)
        if line and self.trainer is not None and self.trainer.is_global_zero:
            print(f"partnerface: {line}", file=sys.stderr)
        return ResidentFrames(self.store, self.views, frames, device) if kept else None

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        if isinstance(batch, RayBatch | DrawnPixels):
            # The host works while pinned memory is copied.
            batch = batch.to(device, non_blocking=True)
            frames = self._resident_frames
            return frames.rays(batch) if isinstance(batch, DrawnPixels) and frames is not None else batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def val_dataloader(self) -> DataLoader | list:
        """One `EvaluationFrame` after another; nothing where there are fewer frames than processes."""
        enough = len(self.val_frames) >= self._process()[1]
        return self._evaluation_loader(self.val_frames) if self.val_frames and enough else []

    def test_dataloader(self) -> DataLoader:
        """The frames of all test splits, each once, as `EvaluationFrame`.

        Raises:
            UserError: the dataset has no test split.
        """
        if not self.test_frames:
            training = self.sequence.split_protocol.get("train")
            said = f" (training: {training})" if training else ""
            raise UserError(f"dataset {self.reader.root}: has no test split{said}; nothing to test on")
        return self._evaluation_loader(self.test_frames)

    @property
    def prediction_driver(self) -> Driver:
        """What ``predict`` renders: the ``driver`` that was given, or the frames named by ``predict_frames``.

        Raises:
            UserError: there are none.
        """
        if self.driver is not None:
            return self.driver
        choices = {
            "held_out": sorted({*self.val_frames, *self.test_frames}),
            "all": list(range(self.num_frames)),
            **self.sequence.splits,
        }
        frames = choices.get(self.predict_frames)
        if not frames:
            filled = ", ".join(name for name, members in choices.items() if members)
            raise UserError(
                f"--data.predict_frames: no frames in {self.predict_frames!r}; choose from {filled}"
            )
        return OwnFrames(self.views, frames, self.sequence.fps)

    def predict_dataloader(self) -> DataLoader:
        """One `View` of the `prediction_driver` after another, in time."""
        return self._one_by_one(self.prediction_driver)

    def _evaluation_loader(self, frames: list[int]) -> DataLoader:
        return self._one_by_one(EvaluationFrames(self.store, self.views, frames, self.sequence.splits))

    def _one_by_one(self, dataset: EvaluationFrames | Driver) -> DataLoader:
        rank, world = self._process()
        if len(dataset) < world:
            raise UserError(f"{len(dataset)} frames cannot be shared by {world} processes: use fewer")
        return DataLoader(
            dataset,
            sampler=ShardedFrames(len(dataset), rank, world),
            batch_size=None,
            num_workers=self.num_workers,
        )

    def _process(self) -> tuple[int, int]:
        """Number of this process and of all processes."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size
