"""MotionMeasures: what a test measures of fine motion, beside the scores of every frame."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from partnerface.avatar.method import AvatarMethod
from partnerface.data.batches.datasets import EvaluationFrame
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.data.sequence import Reference, TrackedSequence
from partnerface.data.splits import spread_evenly
from partnerface.evaluation.combinations import (
    COMBINATION_PROTOCOL,
    EXPRESSION_REGION,
    EXPRESSION_REGION_DEFINITION,
    MOST_FRAMES,
    ExpressionRegion,
    combination_splits,
)
from partnerface.evaluation.fine_motion import (
    FINE_MOTION_DEFINITION,
    SAMPLING_FRAMES,
    FineMotionCeiling,
    fine_motion_masks,
)
from partnerface.evaluation.pictures import Prediction
from partnerface.evaluation.scores import Masks
from partnerface.evaluation.true_motion import MOTION_DEFINITION, MotionScores, motion_scores
from partnerface.head_models.head_model import HeadModel


class MotionMeasures:
    """The true motion of an embedded subject and where pictures show it; of a real video, what frames tell.

    Args:
        data: the video.
        head_model: the head model of the avatar.
        device: device of the frames that are scored.

    Attributes:
        truth: the true motion; None of a real video.
        expression_region: where a real video shows its expression; None if there is no such place, or if the
            true motion is known.
        sequence: the video, if it is a real one with the test splits of `combination_splits`.
    """

    def __init__(self, data: HeadVideoDataModule, head_model: HeadModel, device: torch.device) -> None:
        self._data, self._device = data, device
        self.truth, self.sequence = data.reader.true_motion(), data.sequence
        self.expression_region: ExpressionRegion | None = None
        if self.truth is None:
            self.sequence = _with_combinations(data, head_model)
            numbers = spread_evenly(data.train_frames, MOST_FRAMES)
            shown = (data.evaluation_frame(number).to(device) for number in numbers)
            self.expression_region = ExpressionRegion.find(head_model, shown)
        splits = (self.sequence.splits[name] for name in self.sequence.test_splits)
        self._finer = {frame for frames in splits for frame in spread_evenly(frames, SAMPLING_FRAMES)}

    def in_all_splits(self, rendered: Prediction) -> Prediction:
        """The same with the names of all splits of `sequence` that hold the frame."""
        number = rendered.frame.frame_index
        names = [name for name, frames in self.sequence.splits.items() if number in frames]
        return replace(rendered, frame=replace(rendered.frame, splits=names))

    def masks(self, frame: EvaluationFrame) -> Masks:
        """``[H, W]`` bool by region: those of fine motion or that of the expression, where they are known."""
        if self.truth is not None:
            motionless = self._reference(frame, "motionless")
            return fine_motion_masks(frame.on_white(), motionless, frame.matte, frame.labels)
        return (
            {} if self.expression_region is None else {EXPRESSION_REGION: self.expression_region.mask(frame)}
        )

    def update_ceiling(self, ceiling: FineMotionCeiling, frame: EvaluationFrame, masks: Masks) -> None:
        """Score the reference pictures of a frame of an embedded subject."""
        finer = self._reference(frame, "finer") if frame.frame_index in self._finer else None
        motionless = self._reference(frame, "motionless")
        ceiling.update(frame.splits, frame.on_white(), motionless, finer, masks)

    def _reference(self, frame: EvaluationFrame, kind: Reference) -> Tensor:
        return self._data.reference_picture(frame.frame_index, kind).to(self._device)

    def scores(self, avatar: AvatarMethod) -> MotionScores | None:
        """Millimetres of true motion left on training frames and in each test split; None of a real video."""
        if self.truth is None:
            return None

        def offsets(frame: int, points: Tensor) -> Tensor | None:
            return avatar.canonical_offsets(self._data.views.select([frame]).to(self._device), points)

        train = self._data.train_frames
        tests = {name: self.sequence.splits[name] for name in self.sequence.test_splits}
        return motion_scores(self.truth.to(self._device), offsets, {"train": train, **tests}, train)

    def definitions(self) -> dict[str, str | None]:
        """What `EvaluationProtocol` says about these measures, by its attributes."""
        return {
            "fine_motion": None if self.truth is None else FINE_MOTION_DEFINITION,
            "motion": None if self.truth is None else MOTION_DEFINITION,
            "expression_region": None if self.expression_region is None else EXPRESSION_REGION_DEFINITION,
        }


def _with_combinations(data: HeadVideoDataModule, head_model: HeadModel) -> TrackedSequence:
    """The sequence of a real video with the test splits of `combination_splits`, of the tested frames."""
    sequence, names = data.sequence, head_model.asset.expression_names
    whole, tested = data.all_test_frames, set(data.test_frames)
    found = combination_splits(whole, data.train_frames, sequence.head.expression, names)
    found = {name: [frame for frame in frames if frame in tested] for name, frames in found.items()}
    found = {name: frames for name, frames in found.items() if frames}
    sample = "; of these, those that were tested" if len(tested) < len(whole) else ""
    protocol = sequence.split_protocol | {name: COMBINATION_PROTOCOL[name] + sample for name in found}
    return replace(sequence, splits=sequence.splits | found, split_protocol=protocol)
