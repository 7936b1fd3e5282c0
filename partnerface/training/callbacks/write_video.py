"""WriteVideo: writes the frames that `predict` renders as a video."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.avatar.background import Background
from partnerface.avatar.picture import Picture
from partnerface.errors import UserError
from partnerface.files.videos import fault_of_encoding
from partnerface.training.callbacks.evaluation_report import say_other_head, weights_in_words
from partnerface.training.run_film import RunFilm


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

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._film = RunFilm(Path(trainer.default_root_dir))
        say_other_head(trainer, pl_module)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Picture, *args
    ) -> None:
        self._film.add(self.background.behind(outputs))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        path = Path(trainer.default_root_dir) / self.file_name
        fps, weights = trainer.datamodule.prediction_driver.fps, weights_in_words(trainer, pl_module)
        count = self._film.write(path, fps, weights)
        if count and trainer.is_global_zero:
            print(f"{path}: {count} frames of {trainer.ckpt_path}, step {pl_module.trained_steps}")
