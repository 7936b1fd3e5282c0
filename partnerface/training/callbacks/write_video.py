"""WriteVideo: writes the frames that `predict` renders as a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.avatar.background import Background
from partnerface.avatar.picture import Picture
from partnerface.errors import UserError
from partnerface.files.videos import fault_of_encoding, write_video
from partnerface.training.callbacks.evaluation_report import say_other_head
from partnerface.training.distributed import gathered_at_first


class WriteVideo(Callback):
    """Writes the rendered views as a video into the run's folder.

    Args:
        file_name: name of the video; its suffix chooses the encoding, see `ENCODINGS`.
        background: ``transparent``, ``#rrggbb``, the name of a colour, or an image.
    """

    def __init__(self, file_name: str = "prediction.mp4", background: str = "white") -> None:
        self.file_name, self.background = file_name, Background.named(background)
        if encoding_fault := fault_of_encoding(Path(file_name), self.background.transparent):
            raise UserError(f"WriteVideo: {encoding_fault}")
        self._frames: list[np.ndarray] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._frames = []
        say_other_head(trainer, pl_module)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Picture, *args
    ) -> None:
        self._frames.append(self.background.behind(outputs))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        frames = gathered_at_first(self._frames)
        if not frames:
            return
        path = Path(trainer.default_root_dir) / self.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames, trainer.datamodule.prediction_driver.fps)
        print(f"{path}: {len(frames)} frames of {trainer.ckpt_path}, step {pl_module.trained_steps}")
