"""LogRenderings: pictures of the avatar while it trains."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from partnerface.compute.ranges import Between
from partnerface.data.splits import spread_evenly
from partnerface.errors import UserError
from partnerface.evaluation.pictures import full_strip
from partnerface.files.images import write_image


class LogRenderings(Callback):
    """Writes strips (target | render | error | parts | depth) to ``renderings/`` and to the loggers.

    With validation turned off (``trainer.limit_val_batches: 0``) it renders nothing.

    Args:
        every_steps: steps between two strips; the last step has one too.
        frames: number of frames in a strip, spread over the validation split, or over the training frames
            if there is no validation split.
    """

    def __init__(self, every_steps: Between[int, 1, 10**9] = 500, frames: Between[int, 1, 10**9] = 1) -> None:
        self.every_steps, self.frames = every_steps, frames
        self._last_step = -1

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args) -> None:
        if trainer.global_step % self.every_steps == 0:
            self._render(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._render(trainer, pl_module)

    def _render(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step, data = trainer.global_step, trainer.datamodule
        if not trainer.is_global_zero or step == self._last_step:
            return
        if trainer.fast_dev_run or trainer.limit_val_batches == 0:
            return
        self._last_step = step
        shown = spread_evenly(data.val_frames or data.train_frames, self.frames)
        training = pl_module.training
        pl_module.eval()
        with torch.no_grad():
            frames = [data.evaluation_frame(number).to(pl_module.device) for number in shown]
            strip = np.concatenate([full_strip(pl_module.render(frame, with_parts=True)) for frame in frames])
        pl_module.train(training)
        path = Path(trainer.default_root_dir) / "renderings" / f"step_{step:06d}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, strip)
        except (OSError, UserError) as error:
            # A full disk stops the run at its checkpoint, whose message says what to do.
            print(f"partnerface: {error}; training continues", file=sys.stderr)
        for logger in trainer.loggers:
            # Other loggers take no images.
            if isinstance(logger, WandbLogger):
                logger.log_image("val/strip", [strip], step=step)
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("val/strip", strip, step, dataformats="HWC")
