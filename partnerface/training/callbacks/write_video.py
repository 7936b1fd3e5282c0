"""WriteVideo: what `predict` renders, as an mp4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.evaluation.image_strips import comparison
from partnerface.evaluation.rendered_frame import RenderedFrame
from partnerface.files.videos import write_video
from partnerface.training.distributed import gathered_at_first


class WriteVideo(Callback):
    """Writes ``prediction.mp4`` into the run's folder.

    Args:
        file_name: name of the video in the run's folder.
        beside_target: show target | render | error instead of the render alone.
    """

    def __init__(self, file_name: str = "prediction.mp4", beside_target: bool = False) -> None:
        self.file_name, self.beside_target = file_name, beside_target
        self._frames: list[np.ndarray] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._frames = []

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: RenderedFrame, *args
    ) -> None:
        image = comparison(outputs)
        if not self.beside_target:
            width = image.shape[1] // 3
            image = image[:, width : 2 * width]
        self._frames.append(image)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        frames = gathered_at_first(self._frames)
        if not frames:
            return
        path = Path(trainer.default_root_dir) / self.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames, trainer.datamodule.sequence.fps)
        print(f"{path}: {len(frames)} frames")
