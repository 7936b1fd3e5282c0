"""Recording: a performance as it was read; Performance: the same relative to its performer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from pytorch3d.transforms import quaternion_to_matrix
from torch import Tensor
from torch.nn import functional

from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.rotations import matrix_quaternions

NEUTRAL_SHARE, MOST_NEUTRAL_FRAMES = 0.03, 15
"""The neutral expression is the mean of so many frames, at least one."""

RESTING_QUANTILE = 0.1
"""What a coefficient is at rest. Detectors give some an offset that is no motion, squints above all."""


@dataclass
class Recording:
    """T frames of a performer, as a reader found them, with the expressions of the avatar's head model.

    Poses are in the camera's axes with y up and z towards the camera: a head whose rotation is the identity
    faces it.

    Attributes:
        name: shown in messages.
        fps: frames per second.
        expression: ``[T, E]`` coefficients.
        joint_rotations: ``[T, J, 3, 3]`` of the head model's joints.
        rotation: ``[T, 3, 3]`` head to camera.
        translation: ``[T, 3]`` metres, or None where nobody measured it.
        tracked: ``[T]`` bool, False in a frame without a face: its values are no observation.
        neutral: ``[E]`` the performer's neutral expression where it is known.
        sound: a file whose sound belongs to the performance.
        pictures: files of the T frames, or none.
        torso: the performer's own torso, T views of which nothing else is used, or None.
        notes: what a user should know, one line each.
        sound_start: seconds of the sound before the first frame.
    """

    name: str
    fps: float
    expression: Float[Tensor, "T E"]
    joint_rotations: Float[Tensor, "T J 3 3"]
    rotation: Float[Tensor, "T 3 3"]
    translation: Float[Tensor, "T 3"] | None
    tracked: Bool[Tensor, " T"]
    neutral: Float[Tensor, " E"] | None = None
    sound: Path | None = None
    pictures: Sequence[Path] = ()
    torso: View | None = None
    notes: list[str] = field(default_factory=list)
    sound_start: float = 0.0


@dataclass
class Performance:
    """T frames, evenly spaced in time, relative to the performer: nothing in it says who performs.

    Attributes:
        name: shown in messages.
        fps: frames per second.
        times: ``[T]`` seconds.
        expression: ``[T, E]`` coefficients minus ``neutral``.
        expression_names: ``[E]``.
        neutral: ``[E]`` the performer's neutral expression.
        joint_rotations: ``[T, J, 3, 3]`` of the head model's joints, relative to their parents.
        rotation: ``[T, 3, 3]`` turn against the performer's mean pose, in the head's own axes.
        translation: ``[T, 3]`` metres from the mean position, in the camera's axes, y up.
        mean_rotation: ``[3, 3]`` the mean pose, head to camera (y up, z towards the camera).
        mean_translation: ``[3]`` metres, or None where nobody measured the position.
        sound: a file whose sound belongs to the performance, or None.
        pictures: files of the T frames, or none.
        torso: the performer's own torso, see `Recording`.
        notes: what a user should know, one line each: the neutral frames, gaps, smoothing.
        sound_start: seconds of the sound before the first frame.
    """

    name: str
    fps: float
    times: Float[Tensor, " T"]
    expression: Float[Tensor, "T E"]
    expression_names: list[str]
    neutral: Float[Tensor, " E"]
    joint_rotations: Float[Tensor, "T J 3 3"]
    rotation: Float[Tensor, "T 3 3"]
    translation: Float[Tensor, "T 3"]
    mean_rotation: Float[Tensor, "3 3"]
    mean_translation: Float[Tensor, " 3"] | None
    sound: Path | None
    pictures: Sequence[Path]
    torso: View | None
    notes: list[str]
    sound_start: float = 0.0

    def __len__(self) -> int:
        return len(self.times)


def make_performance(
    recording: Recording, head_model: HeadModel, neutral: str = "auto", smooth_hz: float | None = None
) -> Performance:
    """Bridge the gaps of a recording, smooth it if requested, and take it relative to the performer.

    Args:
        recording: as read.
        head_model: the head model that its coefficients belong to.
        neutral: ``auto`` (a neutral that is known, or else the frames of least expression, see
            `least_expression`), ``mean`` of all tracked frames, or the number of a frame.
        smooth_hz: cut-off frequency of a low-pass filter without delay, see `low_pass`; None for no filter.

    Raises:
        UserError: no frame shows a face, or ``neutral`` or ``smooth_hz`` is none of these.
    """
    name, count, tracked = recording.name, len(recording.expression), recording.tracked
    if not tracked.any():
        raise UserError(f"{name}: no frame shows a face")
    notes = [f"{name}: {count} frames at {recording.fps:g} per second", *recording.notes]
    if gaps := gap_report(tracked, recording.fps):
        notes.append(gaps)
    if not tracked.all():
        recording = at_times(recording, torch.arange(count)[tracked].double(), torch.arange(count).double())
    if smooth_hz is not None:
        if not 0 < smooth_hz < recording.fps / 2:
            raise UserError(f"--smooth {smooth_hz:g}: choose between 0 and {recording.fps / 2:g} Hz")
        recording = low_pass(recording, smooth_hz)
        notes.append(f"smoothed: motion faster than {smooth_hz:g} Hz is damped, blinks too")
    expression = recording.expression
    resting, words = _neutral(recording, tracked, head_model, neutral)
    notes.append(f"neutral expression: {words}")
    mean = mean_rotation(recording.rotation[tracked])
    position = recording.translation
    centre = None if position is None else position[tracked].mean(0)
    still = torch.zeros(count, 3)
    return Performance(
        name=name,
        fps=recording.fps,
        times=torch.arange(count) / recording.fps,
        expression=expression - resting,
        expression_names=list(head_model.asset.expression_names),
        neutral=resting,
        joint_rotations=recording.joint_rotations,
        rotation=mean.T @ recording.rotation,
        translation=still if position is None or centre is None else position - centre,
        mean_rotation=mean,
        mean_translation=centre,
        sound=recording.sound,
        pictures=recording.pictures,
        torso=recording.torso,
        notes=notes,
        sound_start=recording.sound_start,
    )


def _neutral(recording: Recording, tracked: Tensor, head_model: HeadModel, choice: str) -> tuple[Tensor, str]:
    """The neutral expression ``[E]`` and where it is from, in words."""
    expression, count = recording.expression, len(recording.expression)
    if choice == "mean":
        return expression[tracked].mean(0), "the mean of all frames"
    if choice == "auto" and recording.neutral is not None:
        return recording.neutral, "that of the driver"
    if choice == "auto":
        frames = least_expression(expression, tracked, head_model)
        listed = ", ".join(map(str, frames))
        return expression[frames].mean(0), f"the mean of the frames of least expression ({listed})"
    if not choice.isdecimal() or int(choice) >= count:
        raise UserError(
            f"--neutral {choice}: choose auto, mean, or the number of a frame of 0 to {count - 1}"
        )
    return expression[int(choice)], f"frame {choice}"


def least_expression(expression: Tensor, tracked: Tensor, head_model: HeadModel) -> list[int]:
    """The frames in which the face is nearest to rest, in time.

    Every coefficient is at rest at its low quantile (its median, where coefficients have both signs),
    whatever that is: detectors give some an offset. A frame's distance is the sum over coefficients of how
    far the difference from rest moves the vertex that it moves farthest.

    Args:
        expression: ``[T, E]``.
        tracked: ``[T]`` bool; other frames do not count.
        head_model: the head model that they belong to.
    """
    numbers = torch.where(tracked)[0]
    seen = expression[numbers]
    signed = float(head_model.asset.expression_range[0]) < 0
    rest = seen.quantile(0.5 if signed else RESTING_QUANTILE, dim=0)
    moved = head_model.expression_basis.norm(dim=-1).amax(1).to(seen)
    distance = ((seen - rest).abs() * moved).sum(1)
    count = min(max(1, round(NEUTRAL_SHARE * len(seen))), MOST_NEUTRAL_FRAMES)
    return sorted(numbers[distance.argsort(stable=True)[:count]].tolist())


def gap_report(tracked: Tensor, fps: float) -> str | None:
    """How many frames show no face, in words; None if all do."""
    if not (missing := int((~tracked).sum())):
        return None
    runs = functional.pad((~tracked).int(), (1, 1)).diff()
    lengths = torch.where(runs < 0)[0] - torch.where(runs > 0)[0]
    longest = float(lengths.max()) / fps
    gaps = "one gap" if len(lengths) == 1 else f"{len(lengths)} gaps, the longest"
    return f"{missing} frames without a face in {gaps} of {longest:.2g} s: interpolated, and held at the ends"


def at_times(recording: Recording, known: Tensor, wanted: Tensor) -> Recording:
    """A recording interpolated at other times, its ends held; the performer's pictures stay as they are.

    Args:
        recording: its tracked frames, n of them, were taken at the times ``known``.
        known: ``[n]`` strictly increasing.
        wanted: ``[m]``; all frames of the result count as tracked.
    """
    tracked = recording.tracked
    right = torch.searchsorted(known, wanted.contiguous()).clamp(1, max(1, len(known) - 1))
    right = right.clamp(max=len(known) - 1)
    left = (right - 1).clamp_min(0)
    share = ((wanted - known[left]) / (known[right] - known[left]).clamp_min(1e-9)).clamp(0, 1).float()

    def mixed(values: Tensor) -> Tensor:
        seen = values[tracked]
        weight = share.view(-1, *[1] * (values.ndim - 1)).to(seen)
        return seen[left] * (1 - weight) + seen[right] * weight

    nearest = torch.where(tracked)[0][torch.where(share < 0.5, left, right)]
    return replace(
        _each_track(recording, mixed),
        tracked=torch.ones(len(wanted), dtype=torch.bool),
        torso=None if recording.torso is None else recording.torso.select(nearest),
    )


def evenly_spaced(recording: Recording, times: Tensor) -> Recording:
    """The recording with frames at multiples of ``1 / fps``, by interpolation, if its own are elsewhere.

    Args:
        recording: T frames.
        times: ``[T]`` seconds from the first, increasing.
    """
    count = round(float(times[-1]) * recording.fps) + 1
    wanted = torch.arange(count).double() / recording.fps
    if len(times) == count and bool(((times - wanted).abs() * recording.fps < 0.5).all()):
        return recording
    even = at_times(recording, times[recording.tracked], wanted)
    # What was interpolated between frames without a face is no observation either.
    after = torch.searchsorted(times, wanted).clamp(1, len(times) - 1)
    near = after - (wanted - times[after - 1] < times[after] - wanted).long()
    pictures = [recording.pictures[i] for i in near.tolist()] if recording.pictures else ()
    note = f"{len(times)} frames unevenly spaced in time became {count}, by interpolation"
    notes = [*recording.notes, f"{recording.name}: {note}"]
    return replace(even, tracked=recording.tracked[near], pictures=pictures, notes=notes)


def low_pass(recording: Recording, cutoff_hz: float) -> Recording:
    """Smooth all tracks by a Gaussian in time, without delay; at the cut-off half of the power is left.

    Its response at frequency f is ``2 ** (-(f / cutoff) ** 2 / 2)``; the first and last frames are repeated
    beyond the ends.
    """
    sigma = math.sqrt(math.log(2)) / (2 * math.pi * cutoff_hz) * recording.fps
    reach = max(1, math.ceil(4 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).square())
    kernel = kernel / kernel.sum()

    def smoothed(values: Tensor) -> Tensor:
        rows = values.flatten(1).T[:, None]
        padded = functional.pad(rows, (reach, reach), mode="replicate")
        return functional.conv1d(padded, kernel[None, None].to(values))[:, 0].T.reshape(values.shape)

    return _each_track(recording, smoothed)


def _each_track(recording: Recording, change: Callable[[Tensor], Tensor]) -> Recording:
    """Apply a linear map over time to every track; rotations as quaternions of one sign."""

    def turned(rotation: Tensor) -> Tensor:
        quaternion = matrix_quaternions(rotation)
        agree = (quaternion[1:] * quaternion[:-1]).sum(-1, keepdim=True) >= 0
        flips = torch.where(agree, 1.0, -1.0).cumprod(0)
        quaternion = torch.cat([quaternion[:1], quaternion[1:] * flips])
        return quaternion_to_matrix(functional.normalize(change(quaternion), dim=-1))

    position = recording.translation
    return replace(
        recording,
        expression=change(recording.expression),
        joint_rotations=turned(recording.joint_rotations),
        rotation=turned(recording.rotation),
        translation=None if position is None else change(position),
    )


def mean_rotation(rotation: Tensor) -> Tensor:
    """``[3, 3]`` the rotation with the least squared Frobenius distance to rotations ``[T, 3, 3]``."""
    u, _, vh = torch.linalg.svd(rotation.double().mean(0))
    signs = torch.tensor([1.0, 1.0, float(torch.linalg.det(u @ vh))], dtype=u.dtype)
    return ((u * signs) @ vh).to(rotation)
