"""EvaluationReport: validation scores, and the files of `test`: metrics.json, comparison.mp4, strip.png."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.data.regions import EVALUATION_REGIONS, forehead_mask, region_masks
from partnerface.data.sequence import TrueSurface
from partnerface.data.splits import SAMPLE, split_coverage, spread_evenly
from partnerface.evaluation.evaluation_metrics import EvaluationMetrics
from partnerface.evaluation.image_strips import comparison, full_strip
from partnerface.evaluation.lpips import load_lpips
from partnerface.evaluation.nearest_frame import expression_reach, nearest_training_frames
from partnerface.evaluation.rendered_frame import RenderedFrame
from partnerface.evaluation.report import (
    GEOMETRY_DEFINITION,
    EvaluationProtocol,
    evaluation_report,
    report_table,
    write_report,
)
from partnerface.evaluation.scores import EvaluationScores, Masks
from partnerface.files.images import write_image
from partnerface.files.videos import write_video
from partnerface.runs.results import print_wide
from partnerface.training.distributed import gathered_at_first
from partnerface.training.frame_refinement import REFINEMENT_DEFINITION

STRIP_ROWS = 5
STRIP_SPLIT = "unseen_expression"
METRICS_FILE = "metrics.json"


class EvaluationReport(Callback):
    """Scores every rendered frame by split and region, beside the nearest training frame.

    Validation logs ``val/psnr`` (full frame), ``val/head_psnr``, ``val/mouth_psnr`` and so on. A test
    writes its files into the run's folder once all frames are rendered; with refined parameters their
    names end in ``_refined``, so that they lie beside the strict ones.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # LPIPS would cost more than the rendering.
        self._validation = EvaluationMetrics(["val"], EVALUATION_REGIONS).to(pl_module.device)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: RenderedFrame, *args
    ) -> None:
        frame = outputs.frame
        masks = _masks(trainer, pl_module, outputs)
        self._validation.update(frame.splits, outputs.image, frame.on_white(), masks)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # The metric adds its sums and counts over processes itself: the value needs no second mean.
        for region, metrics in self._validation.compute()["val"].items():
            prefix = "" if region == "full_frame" else region.removesuffix("_mask") + "_"
            values = {f"val/{prefix}{name}": v for name, v in metrics.items() if v is not None}
            pl_module.log_dict(values)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data, splits = trainer.datamodule, pl_module.sequence.test_splits
        self._lpips = load_lpips()
        network = self._lpips.metric
        if network is not None:
            network = network.to(pl_module.device).eval()
        self._knows_surface = _true_surface(trainer, data.test_frames[0]) is not None
        self._scores = EvaluationScores(splits, network, self._knows_surface, pl_module.device)
        frames = data.test_frames
        self._nearest = dict(zip(frames, _nearest_frames(frames, trainer, pl_module), strict=True))
        # The sample of a split is spread like the strip: methods tested on samples alone show the same.
        members = pl_module.sequence.splits
        shown = members.get(STRIP_SPLIT) or members.get(STRIP_SPLIT + SAMPLE) or frames
        self._strip_frames = set(spread_evenly(shown, STRIP_ROWS))
        self._strips: list[np.ndarray] = []
        self._video: list[np.ndarray] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: RenderedFrame, *args
    ) -> None:
        frame = outputs.frame
        masks = _masks(trainer, pl_module, outputs)
        if self._scores.lacks_frame_before(frame.frame_index):
            self._follow_frame_before(trainer, pl_module, frame.frame_index - 1)
        self._scores.update(outputs, self._nearest_image(trainer, pl_module, frame.frame_index), masks)
        if self._knows_surface:
            truth = _true_surface(trainer, frame.frame_index).to(pl_module.device)
            depths = outputs.depth, truth.depth
            canonical = [pl_module.canonical_surface(frame.frame_index, depth) for depth in depths]
            self._scores.update_surface(outputs, *canonical, truth, masks)
        self._video.append(comparison(outputs))
        if frame.frame_index in self._strip_frames:
            self._strips.append(full_strip(pl_module.with_parts(outputs)))

    def _follow_frame_before(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Render the last frame of the process before: the first frame here makes a pair with it."""
        if number in self._nearest:
            frame = trainer.datamodule.evaluation_frame(number).to(pl_module.device)
            rendered = pl_module.test_step(frame, 0)
            masks = _masks(trainer, pl_module, rendered)
            self._scores.follow(rendered, self._nearest_image(trainer, pl_module, number), masks)

    def _nearest_image(self, trainer: Trainer, pl_module: LightningModule, number: int) -> torch.Tensor:
        frame = trainer.datamodule.evaluation_frame(self._nearest[number])
        return frame.to(pl_module.device).on_white()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        scores, baseline = self._scores.averages()
        # Processes have runs of frames, in the order of their ranks: the whole is in the order of time.
        video, strips = gathered_at_first(self._video), gathered_at_first(self._strips)
        if not trainer.is_global_zero:
            return
        sequence = pl_module.sequence
        coverage = split_coverage(sequence.splits, sequence.head)
        report = evaluation_report(self._protocol(trainer, pl_module), scores, baseline, coverage)
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        ending = "_refined" if pl_module.test_parameters == "refined" else ""

        def file(name: str) -> Path:
            return folder / f"{Path(name).stem}{ending}{Path(name).suffix}"

        write_video(file("comparison.mp4"), video, sequence.fps)
        if strips:
            write_image(file("strip.png"), np.concatenate(strips))
        # Last: where it is there, the test has ended.
        write_report(file(METRICS_FILE), report)
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
            test_parameters=pl_module.test_parameters,
            geometry=GEOMETRY_DEFINITION if self._knows_surface else None,
            refinement=REFINEMENT_DEFINITION if pl_module.test_parameters == "refined" else None,
        )


def _masks(trainer: Trainer, pl_module: LightningModule, rendered: RenderedFrame) -> Masks:
    """Regions of a frame, by its label image and by its tracked parameters as they are."""
    frame, number = rendered.frame, [rendered.frame.frame_index]
    head, camera = pl_module.sequence.head.select(number), trainer.datamodule.camera.select(number)
    device = pl_module.device
    forehead = forehead_mask(pl_module.avatar.head_model, head.to(device), camera.to(device))
    return region_masks(frame.matte, frame.labels, forehead)


def _true_surface(trainer: Trainer, number: int) -> TrueSurface | None:
    data = trainer.datamodule
    return data.reader.true_surface(number, data.camera.select([number]))


def _nearest_frames(frames: list[int], trainer: Trainer, pl_module: LightningModule) -> list[int]:
    head = pl_module.sequence.head
    reach = expression_reach(pl_module.avatar.head_model.expression_basis).cpu()
    train = trainer.datamodule.train_frames
    return nearest_training_frames(frames, train, head.rotation, head.translation, head.expression, reach)


def print_report(report: dict) -> None:
    """Print the table of a report."""
    print_wide(report_table(report))
