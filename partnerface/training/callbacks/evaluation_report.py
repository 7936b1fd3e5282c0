"""EvaluationReport: validation scores, and the files of `test`: metrics.json, comparison.mp4, strip.png."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.data.regions import (
    EVALUATION_REGIONS,
    FULL_FRAME,
    WITHOUT_TORSO,
    forehead_mask,
    region_masks,
)
from partnerface.data.sequence import TrueSurface
from partnerface.data.splits import hardest_split, split_coverage, spread_evenly
from partnerface.evaluation.means import ImageMeans
from partnerface.evaluation.pictures import Prediction, comparison_strip, full_strip
from partnerface.evaluation.report import (
    MOTION_CAPTION,
    EvaluationProtocol,
    evaluation_report,
    metrics_protocol,
    motion_rows,
    report_table,
    retracked_caption,
    retracked_rows,
    split_protocol,
    write_report,
)
from partnerface.evaluation.retracking import RETRACKING_DEFINITION
from partnerface.evaluation.scores import (
    GEOMETRY_DEFINITION,
    EvaluationScores,
    Masks,
    expression_displacement,
    nearest_training_frames,
)
from partnerface.files.images import write_image
from partnerface.runs.results import TextTable, print_wide
from partnerface.runs.run import SCORES_FILE
from partnerface.training.distributed import gathered_at_first
from partnerface.training.frame_refinement import REFINEMENT_DEFINITION
from partnerface.training.motion_measures import MotionMeasures
from partnerface.training.retracked_faces import RetrackedFaces
from partnerface.training.run_film import RunFilm

SAME_HEAD_M = 1e-4
"""Metres, mean over the vertices: heads that differ by more are not the same."""

STRIP_ROWS = 5


class EvaluationReport(Callback):
    """Scores rendered frames by split and region, in tests beside the nearest-training-frame baseline.

    Validation logs ``val/psnr`` (full frame), ``val/head_psnr``, ``val/mouth_psnr`` and so on, of metrics
    that are cheap enough. A test writes ``metrics.json``, ``comparison.mp4`` and ``strip.png`` into the
    run's folder once all frames are rendered; with refined test parameters the names end in ``_refined``
    before the extension, so that strict and refined files lie side by side.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        cheap = {name: metric for name, metric in pl_module.metrics.items() if metric.in_validation}
        self._validation = ImageMeans(["val"], EVALUATION_REGIONS, cheap).to(pl_module.device)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction, *args
    ) -> None:
        frame, masks = outputs.frame, _masks(pl_module, outputs)
        self._validation.update(frame.splits, outputs.image, frame.on_white(), masks)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # The sums and counts were added over processes already: no sync_dist.
        for region, metrics in self._validation.compute()["val"].items():
            prefix = "" if region == FULL_FRAME else region.removesuffix("_mask") + "_"
            values = {f"val/{prefix}{name}": v for name, v in metrics.items() if v is not None}
            pl_module.log_dict(values)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data, frames = trainer.datamodule, trainer.datamodule.test_frames
        say_other_head(trainer, pl_module)
        self._knows_surface = _true_surface(trainer, frames[0]) is not None
        self._measures = MotionMeasures(data, pl_module.avatar.head_model, pl_module.device)
        self._scores = EvaluationScores(
            self._measures.sequence.test_splits,
            pl_module.metrics,
            self._knows_surface,
            pl_module.device,
            with_motion=self._measures.truth is not None,
            with_expression_region=self._measures.expression_region is not None,
            without_torso=data.protocol is not None and data.protocol.picture == WITHOUT_TORSO,
        )
        displacement = expression_displacement(pl_module.avatar.head_model.expression_basis).cpu()
        nearest = nearest_training_frames(frames, data.train_frames, data.sequence.head, displacement)
        self._nearest = dict(zip(frames, nearest, strict=True))
        # A method tested on samples of the splits alone shows frames like those of the other methods.
        shown = data.sequence.splits.get(hardest_split(data.sequence.splits) or "", frames)
        self._strip_frames = set(spread_evenly(shown, STRIP_ROWS))
        self._faces = RetrackedFaces(data, pl_module.avatar.head_model)
        self._scored: list[str] = []
        self._strips: list[np.ndarray] = []
        self._film = RunFilm(Path(trainer.default_root_dir))

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction, *args
    ) -> None:
        data, number = trainer.datamodule, outputs.frame.frame_index
        outputs = self._measures.in_all_splits(outputs)
        if number - 1 in self._nearest and not self._scores.has_previous(number):
            # The previous frame is scored by another process; temporal stability needs it here too.
            previous = pl_module.render(data.evaluation_frame(number - 1).to(pl_module.device))
            previous = self._measures.in_all_splits(previous)
            masks = _masks(pl_module, previous) | self._measures.masks(previous.frame)
            self._scores.set_previous(previous, self._nearest_image(trainer, previous), masks)
        masks, nearest = _masks(pl_module, outputs), self._nearest_image(trainer, outputs)
        masks |= self._measures.masks(outputs.frame)
        self._scores.update(outputs, nearest, masks)
        self._faces.update(outputs, nearest)
        if self._scores.ceiling is not None:
            self._measures.update_ceiling(self._scores.ceiling, outputs.frame, masks)
        if self._knows_surface:
            truth = _true_surface(trainer, number).to(pl_module.device)
            depths = outputs.depth, truth.depth
            canonical = [pl_module.canonical_surface(outputs.frame, depth) for depth in depths]
            self._scores.surface.update(outputs.frame.splits, outputs.depth, *canonical, truth, masks)
        self._scored += outputs.frame.splits
        self._film.add(comparison_strip(outputs))
        if number in self._strip_frames:
            self._strips.append(full_strip(pl_module.add_part_weights(outputs)))

    def _nearest_image(self, trainer: Trainer, rendered: Prediction) -> torch.Tensor:
        """``[3, H, W]`` over white: the training frame that is nearest to a rendered one."""
        frame = trainer.datamodule.evaluation_frame(self._nearest[rendered.frame.frame_index])
        return frame.to(rendered.image.device).on_white()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        scores, baseline = self._scores.averages()
        sequence, folder = self._measures.sequence, Path(trainer.default_root_dir)
        ending = "_refined" if pl_module.test_parameters == "refined" else ""

        def file(name: str) -> Path:
            return folder / f"{Path(name).stem}{ending}{Path(name).suffix}"

        # Each process has a run of frames, in the order of ranks, so that all are in the order of time.
        weights = weights_in_words(trainer, pl_module)
        self._film.write(file("comparison.mp4"), sequence.fps, weights)
        strips, faces = gathered_at_first(self._strips), self._faces.gathered()
        num_frames = Counter(gathered_at_first(self._scored))
        if not trainer.is_global_zero:
            return
        coverage = split_coverage(sequence.splits, sequence.head)
        retracked = self._faces.scores(faces, sequence.test_splits)
        protocol = self._protocol(trainer, pl_module, num_frames)
        motion = self._measures.scores(pl_module.avatar)
        report = evaluation_report(protocol, scores, baseline, coverage, motion, retracked)
        if strips:
            write_image(file("strip.png"), np.concatenate(strips), weights)
        # Last, since its presence means that the test has ended.
        write_report(file(SCORES_FILE), report)
        print_report(report)

    def _protocol(
        self, trainer: Trainer, pl_module: LightningModule, num_frames: Counter[str]
    ) -> EvaluationProtocol:
        data, sequence = trainer.datamodule, self._measures.sequence
        metrics = metrics_protocol(pl_module.metrics)
        return EvaluationProtocol(
            dataset=sequence.name,
            name=None if data.protocol is None else data.protocol.name,
            scored=None if data.protocol is None else data.protocol.scored(sequence.split_protocol),
            read_as=sequence.origin,
            checkpoint=_name_of_checkpoint(trainer),
            trained_steps=_steps(trainer, pl_module),
            resolution=(data.camera.width, data.camera.height),
            num_frames={name: num_frames[name] for name in sequence.test_splits},
            num_train_frames=len(data.train_frames),
            split_protocol=split_protocol(sequence),
            split_frames={name: len(frames) for name, frames in sequence.splits.items()},
            metrics=metrics,
            lpips=None if metrics.get("lpips", {}).get("missing", True) else "alexnet",
            test_parameters=pl_module.test_parameters,
            geometry=GEOMETRY_DEFINITION if self._knows_surface else None,
            **self._measures.definitions(),
            retracking=None if self._faces.missing else RETRACKING_DEFINITION,
            retracking_missing=self._faces.missing,
            refinement=REFINEMENT_DEFINITION if pl_module.test_parameters == "refined" else None,
        )


def _masks(pl_module: LightningModule, rendered: Prediction) -> Masks:
    """``[H, W]`` bool by region, from the frame's label image and its tracked parameters, never refined."""
    frame, view = rendered.frame, rendered.frame.view
    forehead = forehead_mask(pl_module.avatar.head_model, view.head, view.camera)
    return region_masks(frame.matte, frame.labels, forehead)


def _true_surface(trainer: Trainer, number: int) -> TrueSurface | None:
    """The true surface of a frame; None if the dataset does not know it."""
    data = trainer.datamodule
    return data.reader.true_surface(number, data.camera.select([number]))


def _name_of_checkpoint(trainer: Trainer) -> str | None:
    """Path of the tested checkpoint from the run's folder, which it may lie outside of."""
    if trainer.ckpt_path is None:
        return None
    return Path(os.path.relpath(trainer.ckpt_path, trainer.default_root_dir)).as_posix()


def _steps(trainer: Trainer, pl_module: LightningModule) -> int:
    return pl_module.trained_steps or trainer.global_step


def weights_in_words(trainer: Trainer, pl_module: LightningModule) -> str:
    """The checkpoint and its step as ``checkpoints/last.ckpt, step 1700``: what films and pictures say."""
    name, step = _name_of_checkpoint(trainer), f"step {_steps(trainer, pl_module)}"
    return step if name is None else f"{name}, {step}"


def say_other_head(trainer: Trainer, pl_module: LightningModule) -> None:
    """Print one line if the dataset's head is not the one that the avatar was trained with."""
    data, head_model = trainer.datamodule, pl_module.avatar.head_model
    other = data.sequence.head.identity.to(pl_module.device)
    own, other = (head_model.identity_vertices(one) for one in (pl_module.avatar.identity, other))
    distance = float((own - other).norm(dim=1).mean())
    if distance > SAME_HEAD_M and trainer.is_global_zero:
        print(
            f"partnerface: the head of {data.reader.root} is {1000 * distance:.1f} mm from the avatar's on "
            "average: another person or tracking; to drive an avatar by others use partnerface reenact",
            file=sys.stderr,
        )


def print_report(report: dict) -> None:
    """Print the tables of a report."""
    print_wide(report_table(report))
    titles, rows = motion_rows(report)
    if rows:
        TextTable(titles, rows, MOTION_CAPTION).print()
    titles, rows = retracked_rows(report)
    if rows:
        TextTable(titles, rows, retracked_caption(report)).print()
