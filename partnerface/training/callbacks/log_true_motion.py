"""LogTrueMotion: logs at the end of training how much of an embedded subject's true motion is left."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.errors import UserError
from partnerface.training.motion_measures import MotionMeasures


class LogTrueMotion(Callback):
    """Logs ``motion/SPLIT/mm_left``, ``explained`` and ``cosine`` of the fine face, and ``hair_mm_left``.

    For sweeps, which compare what one command logs: `metrics.json` holds the same after a test. Nothing
    that is trained depends on it.

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
        avatar = pl_module.avatar
        measures = MotionMeasures(trainer.datamodule, avatar.head_model, pl_module.device)
        was_training = avatar.training
        scores = measures.scores(avatar.eval())
        avatar.train(was_training)
        logged = {}
        for split, motion in (scores or {}).items():
            left, nothing = motion["mm_left"], motion["mm_nothing"]["fine_face"]
            fine = left["fine_face"]
            found = {"mm_left": fine, "hair_mm_left": left["hair"], "cosine": motion["cosine"]["fine_face"]}
            found["explained"] = 1 - fine / nothing if fine is not None and nothing else None
            logged |= {f"motion/{split}/{name}": value for name, value in found.items() if value is not None}
        for logger in trainer.loggers:
            logger.log_metrics(logged, step=trainer.global_step)
