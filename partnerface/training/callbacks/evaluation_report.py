"""EvaluationReport: validation scores, and the files of `test`: metrics.json, comparison.mp4, strip.png."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console

from partnerface.data.image_files import write_image
from partnerface.data.region_labels import EVALUATION_REGIONS, NEAREST_FRAME_REGIONS
from partnerface.data.video_files import write_video
from partnerface.metrics.evaluation_metrics import EvaluationMetrics
from partnerface.metrics.lpips_weights import load_lpips
from partnerface.metrics.nearest_frame import expression_reach, nearest_training_frames
from partnerface.metrics.report import EvaluationProtocol, evaluation_report, report_table, write_report
from partnerface.training.image_strips import RenderedFrame, comparison, full_strip

STRIP_ROWS = 5
METRICS_FILE = "metrics.json"


class EvaluationReport(Callback):
    """Scores every rendered frame by split and region, beside the nearest training frame.

    Validation logs ``val/psnr`` (full frame), ``val/head_psnr``, ``val/mouth_psnr`` and so on. A test
    writes its files into the run's folder once all frames are rendered.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # LPIPS would cost more than the rendering.
        self._scores = EvaluationMetrics(["val"], EVALUATION_REGIONS).to(pl_module.device)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: RenderedFrame, *args
    ) -> None:
        _update(self._scores, outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # The metric adds its sums and counts over processes itself: the value needs no second mean.
        for region, metrics in self._scores.compute()["val"].items():
            prefix = "" if region == "full_frame" else region.removesuffix("_mask") + "_"
            values = {f"val/{prefix}{name}": v for name, v in metrics.items() if v is not None}
            pl_module.log_dict(values)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data, splits = trainer.datamodule, pl_module.sequence.test_splits
        self._lpips = load_lpips()
        network = self._lpips.metric
        if network is not None:
            network = network.to(pl_module.device).eval()
        self._scores = EvaluationMetrics(splits, EVALUATION_REGIONS, network).to(pl_module.device)
        self._baseline = EvaluationMetrics(splits, NEAREST_FRAME_REGIONS, network).to(pl_module.device)
        frames = data.test_frames
        self._nearest = dict(zip(frames, _nearest_frames(frames, trainer, pl_module), strict=True))
        shown = pl_module.sequence.splits.get("unseen_expression") or frames
        self._strip_frames = {shown[i] for i in _spread(len(shown), STRIP_ROWS)}
        self._strips: list[np.ndarray] = []
        self._video: list[np.ndarray] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: RenderedFrame, *args
    ) -> None:
        frame = outputs.frame
        _update(self._scores, outputs)
        nearest = trainer.datamodule.evaluation_frame(self._nearest[frame.frame_index]).to(pl_module.device)
        _update(self._baseline, outputs, nearest.on_white())
        self._video.append(comparison(outputs))
        if frame.frame_index in self._strip_frames:
            self._strips.append(full_strip(outputs))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        scores, baseline = self._scores.compute(), self._baseline.compute()
        if not trainer.is_global_zero:
            return
        report = evaluation_report(self._protocol(trainer, pl_module), scores, baseline)
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_report(folder / METRICS_FILE, report)
        write_video(folder / "comparison.mp4", self._video, pl_module.sequence.fps)
        if self._strips:
            write_image(folder / "strip.png", np.concatenate(self._strips))
        print_report(report)

    def _protocol(self, trainer: Trainer, pl_module: LightningModule) -> EvaluationProtocol:
        data, sequence = trainer.datamodule, pl_module.sequence
        return EvaluationProtocol(
            dataset=sequence.name,
            resolution=(data.camera.width, data.camera.height),
            num_frames={name: len(sequence.splits[name]) for name in sequence.test_splits},
            num_train_frames=len(data.train_frames),
            lpips=None if self._lpips.metric is None else "alexnet",
            lpips_missing=self._lpips.missing,
        )


def _update(scores: EvaluationMetrics, rendered: RenderedFrame, image: torch.Tensor | None = None) -> None:
    frame = rendered.frame
    render = rendered.image if image is None else image
    scores.update([frame.splits], render[None], frame.on_white()[None], frame.matte[None], frame.labels[None])


def _nearest_frames(frames: list[int], trainer: Trainer, pl_module: LightningModule) -> list[int]:
    head = pl_module.sequence.head
    reach = expression_reach(pl_module.avatar.head_model.expression_basis).cpu()
    train = trainer.datamodule.train_frames
    return nearest_training_frames(frames, train, head.rotation, head.translation, head.expression, reach)


def _spread(length: int, count: int) -> list[int]:
    """Up to ``count`` places spread evenly over ``range(length)``."""
    return sorted({round(p) for p in np.linspace(0, length - 1, min(count, length))})


def print_report(report: dict) -> None:
    """Print the table of a report, not cut to the 80 columns that a file or a pipe is taken for."""
    console = Console()
    console.width = console.width if console.is_terminal else max(console.width, 120)
    console.print(report_table(report))
