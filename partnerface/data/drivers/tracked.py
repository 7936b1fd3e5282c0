"""A tracked dataset, of the avatar's own person or of any other, as a recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from partnerface.data.drivers.expression_transfer import carried_recording
from partnerface.data.drivers.performance import Recording
from partnerface.data.drivers.transfer import camera_axes
from partnerface.data.sequence import TrackedSequence, check_head_model
from partnerface.data.view import View
from partnerface.head_models.head_model import HeadModel


def tracked_recording(
    sequence: TrackedSequence,
    head_model: HeadModel,
    *,
    own: tuple[Tensor, Tensor] | None = None,
    sound: Path | None = None,
    tracked_with: HeadModel | None = None,
) -> Recording:
    """All frames of a tracked sequence, their expressions carried over to the avatar's head model if need be.

    Args:
        sequence: a tracked video of anybody.
        head_model: the avatar's.
        own: identity ``[I]`` and neutral expression ``[E]`` of the avatar: where the sequence has that very
            identity, it is the avatar's own person as tracked for it, and that neutral holds.
        sound: a file whose sound belongs to the frames.
        tracked_with: the sequence's head model, if it is another than the avatar's.

    Raises:
        UserError: the sequence was tracked with another head model than that.
    """
    if tracked_with is not None:
        # Of the joints only jaw and eyes are carried over: what the neck turns goes into the pose.
        skull = tracked_with.head_transforms(
            replace(sequence.head, torso_rotation=None, torso_translation=None)
        )
        head = replace(sequence.head, rotation=skull[..., :3], translation=skull[..., 3])
        recording = tracked_recording(replace(sequence, head=head), tracked_with, sound=sound)
        return carried_recording(recording, tracked_with, head_model)
    check_head_model(sequence, head_model)
    head, camera = sequence.head, sequence.camera
    axes, centre = camera_axes(camera), camera.camera_to_world[:, :, 3]
    known = own is not None and _same(head.identity, own[0])
    return Recording(
        name=sequence.name,
        fps=sequence.fps,
        expression=head.expression,
        joint_rotations=head.joint_rotations,
        rotation=axes.mT @ head.rotation,
        translation=((head.translation - centre)[:, None] @ axes)[:, 0],
        tracked=sequence.frame_weights > 0,
        neutral=own[1] if own is not None and known else None,
        sound=sound,
        pictures=sequence.image_paths,
        torso=View(camera, head, sequence.torso_motion) if known or own is None else None,
        notes=[f"{sequence.name}: the avatar's own person, as tracked for it"] if known else [],
    )


def _same(identity: Tensor, own: Tensor) -> bool:
    padded = torch.zeros_like(own)
    padded[: len(identity)] = identity[: len(own)]
    return bool(own.any()) and torch.allclose(padded, own, atol=1e-5)
