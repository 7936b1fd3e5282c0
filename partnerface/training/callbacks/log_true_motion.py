"""LogTrueMotion: logs at the end of training how well an embedded subject's true motion is reproduced."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.data.splits import spread_evenly
from partnerface.errors import UserError
from partnerface.evaluation.fine_motion import FINE_MOTION, QUIET_FACE
from partnerface.evaluation.image_metric import psnr
from partnerface.training.motion_measures import MotionMeasures

FRAMES = 12
"""Frames of each test split that are rendered, evenly spread."""


class LogTrueMotion(Callback):
    """Logs ``motion/SPLIT/psnr`` where fine motion shows, and of the motion itself the millimetres left.

    For sweeps, which compare what one command logs: `metrics.json` holds the same after a test. The names are
    ``psnr`` and, of the rest of the face, ``quiet_psnr`` (dB, test splits alone; the first says something
    where the second lies well above the ceiling, see `FINE_MOTION_DEFINITION`), ``mm_left``, ``explained``
    and ``cosine`` of the fine face, and ``hair_mm_left``. Nothing that is trained depends on it.

    Raises:
        UserError: before training, if the true motion is not known, as of any real video.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        reader = trainer.datamodule.reader
        if reader.true_motion() is None:
            raise UserError(
                f"LogTrueMotion: the true motion of {reader.root} is not known; choose an embedded subject, "
                "or leave out the callback"
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not `on_train_end`: a run that was killed after its last step trains nothing when it continues.
        if not trainer.is_global_zero:
            return
        avatar, was_training, place = pl_module.avatar, pl_module.avatar.training, pl_module.device
        # After its last step Lightning has moved the module to the CPU.
        pl_module.to(trainer.strategy.root_device)
        measures = MotionMeasures(trainer.datamodule, avatar.head_model, pl_module.device)
        scores = measures.scores(avatar.eval())
        logged = self._psnr(measures, trainer.datamodule, pl_module)
        avatar.train(was_training)
        pl_module.to(place)
        for split, motion in (scores or {}).items():
            left, nothing = motion["mm_left"], motion["mm_nothing"]["fine_face"]
            fine = left["fine_face"]
            found = {"mm_left": fine, "hair_mm_left": left["hair"], "cosine": motion["cosine"]["fine_face"]}
            found["explained"] = 1 - fine / nothing if fine is not None and nothing else None
            logged |= {f"motion/{split}/{name}": value for name, value in found.items() if value is not None}
        for logger in trainer.loggers:
            logger.log_metrics(logged, step=trainer.global_step)

    def _psnr(
        self, measures: MotionMeasures, data: HeadVideoDataModule, module: LightningModule
    ) -> dict[str, float]:
        """``motion/SPLIT/psnr`` and ``quiet_psnr`` in dB of the test splits in which fine motion shows."""
        # One process computes it: a metric of torchmetrics would wait for the others.
        found = {}
        names = {FINE_MOTION: "psnr", QUIET_FACE: "quiet_psnr"}
        for split in measures.sequence.test_splits:
            values = defaultdict(list)
            for number in spread_evenly(measures.sequence.splits[split], FRAMES):
                frame = data.evaluation_frame(number).to(module.device)
                masks = measures.masks(frame)
                if not masks[FINE_MOTION].any():
                    continue
                with torch.inference_mode():
                    error = module.render(frame).image.clamp(0, 1) - frame.on_white()
                for region, name in names.items():
                    if (inside := masks[region]).any():
                        values[name].append(float(psnr(error[:, inside].square().mean())))
            found |= {f"motion/{split}/{name}": fmean(scores) for name, scores in values.items()}
        return found
