"""WriteVideo: writes the frames that `predict` renders as a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.evaluation.pictures import RenderedFrame, comparison_strip, picture
from partnerface.files.videos import write_video
from partnerface.training.distributed import gathered_at_first


class WriteVideo(Callback):
    """Writes the rendered frames as a video into the run's folder.

    Args:
        file_name: name of the video.
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
        self._frames.append(comparison_strip(outputs) if self.beside_target else picture(outputs.image))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        frames = gathered_at_first(self._frames)
        if not frames:
            return
        path = Path(trainer.default_root_dir) / self.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames, trainer.datamodule.sequence.fps)
        print(f"{path}: {len(frames)} frames")
