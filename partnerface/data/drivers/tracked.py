"""A tracked dataset, of the avatar's own person or of any other, as a recording."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

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
) -> Recording:
    """All frames of a tracked sequence.

    Args:
        sequence: a tracked video of anybody.
        head_model: the avatar's.
        own: identity ``[I]`` and neutral expression ``[E]`` of the avatar: where the sequence has that very
            identity, it is the avatar's own person as tracked for it, and that neutral holds.
        sound: a file whose sound belongs to the frames.

    Raises:
        UserError: the sequence was tracked with another head model.
    """
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
        torso=View(camera, head, sequence.torso_motion),
        notes=[f"{sequence.name}: the avatar's own person, as tracked for it"] if known else [],
    )


def _same(identity: Tensor, own: Tensor) -> bool:
    padded = torch.zeros_like(own)
    padded[: len(identity)] = identity[: len(own)]
    return bool(own.any()) and torch.allclose(padded, own, atol=1e-5)
