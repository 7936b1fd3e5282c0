"""The script: band-limited control tracks of head pose, gaze and expression, and the splits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from pytorch3d.transforms import euler_angles_to_matrix
from torch import Tensor

from partnerface.data.synthetic.face_coordinates import smooth_step
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters

FPS = 25.0
DISTANCE = 1.05
"""Metres from the camera to the head joint."""

YAW_LIMIT, PITCH_LIMIT, ROLL_LIMIT = (math.radians(angle) for angle in (35.0, 15.0, 7.0))
GAZE_YAW_LIMIT, GAZE_PITCH_LIMIT = math.radians(16.0), math.radians(5.0)
SHORT_CLIP_PEAK = 1.5
"""A clip too short for its tracks to swing this far does not reach the limits."""

OFFSET_LIMITS = (0.008, 0.004, 0.010)
HEAD_POSE_REPLAY = 0.9
HEAD_POSE_REPLAY_PACE = 2

TALKING = {
    "jawOpen": (1.6, 0.13, 0.20),
    "mouthPucker": (0.7, -0.10, 0.35),
    "mouthFunnel": (0.8, -0.15, 0.30),
    "mouthSmile": (0.35, 0.08, 0.30),
    "mouthUpperUp": (0.9, 0.00, 0.22),
    "mouthLowerDown": (0.9, 0.00, 0.25),
    "browInnerUp": (0.30, 0.00, 0.35),
    "browOuterUp": (0.30, 0.00, 0.32),
    "browDown": (0.28, -0.20, 0.35),
    "cheekSquint": (0.35, 0.00, 0.20),
    "mouthFrown": (0.25, -0.25, 0.30),
    "jawLeft": (0.5, -0.15, 0.20),
}
"""Action (both sides where it has sides): frequency in Hz, mean and amplitude before clamping to [0, 1]."""

GESTURES = (
    {"mouthSmileLeft": 0.95, "mouthSmileRight": 0.15, "jawOpen": 0.45, "cheekSquintLeft": 0.5},
    {"browInnerUp": 0.9, "browOuterUp": 0.9, "mouthPucker": 0.85},
    {"jawOpen": 0.80, "mouthLowerDown": 0.3, "browInnerUp": 0.4},
    {"mouthSmile": 0.85, "jawOpen": 0.5, "browOuterUp": 0.6, "mouthUpperUp": 0.4},
    {"browDown": 0.85, "mouthFunnel": 0.7, "jawOpen": 0.35},
    {"mouthSmileRight": 0.9, "eyeBlinkRight": 1.0, "cheekSquintRight": 0.6, "browOuterUpLeft": 0.7},
    {"mouthFrown": 0.7, "browInnerUp": 0.8, "browDown": 0.5},
    {"mouthPucker": 0.7, "jawLeft": 0.5, "mouthSmileLeft": 0.5, "eyeBlink": 0.6},
)
"""Key poses of the unseen part: combinations and amplitudes that the talking part does not reach."""

FRAMES_PER_GESTURE = 8

UNSEEN_SHARE, TEMPORAL_SHARE, VALIDATION_SHARE = 0.17, 0.10, 0.03
SPLIT_PROTOCOL = {
    "train": "all frames before val",
    "val": f"the {100 * VALIDATION_SHARE:g} % of all frames right before temporal",
    "temporal": f"the {100 * TEMPORAL_SHARE:g} % of all frames right before unseen_expression",
    "unseen_expression": f"the last {100 * UNSEEN_SHARE:g} % of all frames: gestures that no other split has",
}
"""How `split_frames` divides a clip, in words."""


@dataclass
class Performance:
    """Control tracks of T frames.

    Attributes:
        expression: ``[T, E]`` in [0, 1].
        head_angles: ``[T, 3]`` pitch, yaw and roll in radians.
        head_offsets: ``[T, 3]`` metres from the head's mean place.
        gaze: ``[T, 2]`` pitch and yaw of both eyes in radians.
        splits: frame indices by split name.
    """

    expression: Tensor
    head_angles: Tensor
    head_offsets: Tensor
    gaze: Tensor
    splits: dict[str, list[int]]

    def head_parameters(self, head_model: HeadModel, identity: Tensor) -> HeadParameters:
        """The exact head parameters, in the form that a tracker gives them."""
        frames = len(self.expression)
        head = head_model.neutral_parameters(frames)
        head.identity = identity
        head.expression = self.expression
        head.rotation = euler_angles_to_matrix(self.head_angles[:, [1, 0, 2]], "YXZ")
        place = torch.tensor([0.0, 0.0, -DISTANCE])
        head.translation = place + self.head_offsets
        pitch, yaw = self.gaze.unbind(1)
        eyes = euler_angles_to_matrix(torch.stack([yaw, pitch, torch.zeros_like(yaw)], 1), "YXZ")
        for name in ("eye_left", "eye_right"):
            head.joint_rotations[:, head_model.joint(name)] = eyes
        head.torso_rotation = torch.eye(3).repeat(frames, 1, 1)
        head.torso_translation = place.repeat(frames, 1)
        return head


class Tracks:
    """Seeded sums of three sines, about unit variance."""

    def __init__(self, frames: int, seed: int) -> None:
        self.times = torch.arange(frames) / FPS
        self.generator = torch.Generator().manual_seed(seed)

    def band(self, frequency: float) -> Tensor:
        draws = torch.rand(3, 2, generator=self.generator)
        rates = frequency * (0.6 + 0.8 * draws[:, :1])
        return torch.sin(2 * math.pi * (rates * self.times + draws[:, 1:])).sum(0) / 1.5**0.5

    def limited(self, frequency: float, limit: float) -> Tensor:
        """Reaches ``limit`` in a clip of some seconds, never passes it."""
        band = self.band(frequency)
        return limit * band / max(float(band.abs().max()), SHORT_CLIP_PEAK)


def perform(head_model: HeadModel, frames: int, seed: int) -> Performance:
    """Write the script of a clip: talking, then gestures that talking does not contain."""
    splits = split_frames(frames)
    tracks = Tracks(frames, 1000 + seed)
    head_angles, head_offsets, gaze = head_tracks(tracks)
    expression = _talking(head_model, tracks)
    if "unseen_expression" in splits:
        unseen = splits["unseen_expression"]
        expression[unseen] = 0.15 * expression[unseen] + _gestures(head_model, len(unseen))
        # The expressions are to be new, not the head poses: those of the talking part, backwards.
        pace = min(HEAD_POSE_REPLAY_PACE, len(splits["train"]) // len(unseen))
        talked = pace * torch.arange(len(unseen)).flip(0)
        head_angles[unseen] = HEAD_POSE_REPLAY * head_angles[talked]
        head_offsets[unseen] = HEAD_POSE_REPLAY * head_offsets[talked]
    return Performance(
        expression=expression.clamp(0, 1),
        head_angles=head_angles,
        head_offsets=head_offsets,
        gaze=gaze,
        splits=splits,
    )


def head_tracks(tracks: Tracks) -> tuple[Tensor, Tensor, Tensor]:
    """``head_angles``, ``head_offsets`` and ``gaze`` of a `Performance`, within their limits."""
    limits = ((0.45, PITCH_LIMIT), (0.35, YAW_LIMIT), (0.30, ROLL_LIMIT))
    head_angles = torch.stack([tracks.limited(*limit) for limit in limits], 1)
    head_offsets = torch.stack([tracks.limited(0.3, limit) for limit in OFFSET_LIMITS], 1)
    gaze = torch.stack([tracks.limited(0.6, GAZE_PITCH_LIMIT), tracks.limited(0.5, GAZE_YAW_LIMIT)], 1)
    return head_angles, head_offsets, gaze


def split_frames(frames: int) -> dict[str, list[int]]:
    """Train, validation and temporal runs of the talking part, then the unseen expressions.

    Short clips keep what exists: one frame is all training, and an empty split is left out.
    """
    shares = UNSEEN_SHARE, TEMPORAL_SHARE, VALIDATION_SHARE
    unseen, temporal, val = (round(share * frames) for share in shares)
    train = frames - unseen - temporal - val
    return consecutive({"train": train, "val": val, "temporal": temporal, "unseen_expression": unseen})


def consecutive(counts: dict[str, int]) -> dict[str, list[int]]:
    """Frame indices by split, of splits that follow each other; one without frames is left out."""
    splits, start = {}, 0
    for name, count in counts.items():
        if count:
            splits[name] = list(range(start, start + count))
        start += count
    return splits


def sided(head_model: HeadModel, action: str) -> list[int]:
    """Expression coefficients of an action: one, or those of the left and the right."""
    names = head_model.asset.expression_names
    return [names.index(n) for n in (action, f"{action}Left", f"{action}Right") if n in names]


def _talking(head_model: HeadModel, tracks: Tracks) -> Tensor:
    """``[T, E]``: every action follows its own band; the two sides differ a little."""
    expression = torch.zeros(len(tracks.times), head_model.num_expression)
    for action, (frequency, mean, amplitude) in TALKING.items():
        common = tracks.band(frequency)
        for index in sided(head_model, action):
            own = 0.15 * tracks.band(frequency)
            expression[:, index] = (mean + amplitude * torch.tanh(common + own)).clamp(0, 1)
    expression[:, sided(head_model, "eyeBlink")] = blinks(tracks)[:, None]
    return expression


def blinks(tracks: Tracks) -> Tensor:
    """``[T]`` how far the lids are closed: full blinks, 1.4 to 3.2 s apart."""
    lids = torch.zeros(len(tracks.times))
    blink = 0.6
    while blink < float(tracks.times[-1]) + 1:
        lids = torch.maximum(lids, torch.exp(-(((tracks.times - blink) / 0.08) ** 2)))
        blink += 1.4 + 1.8 * float(torch.rand(1, generator=tracks.generator))
    return lids


def _gestures(head_model: HeadModel, frames: int) -> Tensor:
    """``[n, E]``: from key pose to key pose, without a rest between."""
    keys = torch.zeros(len(GESTURES), head_model.num_expression)
    for key, gesture in zip(keys, GESTURES, strict=True):
        for action, value in gesture.items():
            key[sided(head_model, action)] = value
    place = torch.arange(frames) / FRAMES_PER_GESTURE
    index = place.long()
    blend = smooth_step(0.35, 1.0, place - index)[:, None]
    now, then = keys[index % len(keys)], keys[(index + 1) % len(keys)]
    return now * (1 - blend) + then * blend
