"""Performances without a performer: a range of motion, talk, and idling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from partnerface.data.drivers.named_tracks import action_of, eye_angles, eye_joints, rotations
from partnerface.data.drivers.performance import Recording
from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel

FPS = 25.0
SECONDS_PER_ACTION = 1.0
MOVING_SHARE = 0.8
"""Share of an action's time in which the face moves; it rests for the remainder."""

HEAD_TURNS = ((20.0, 0.0, 0.0), (0.0, 12.0, 0.0), (0.0, 0.0, 12.0))
"""Yaw, pitch and roll in degrees that the head swings to, to both sides."""

SHARE_OF_SIGNED = 0.5
"""Share of the head model's range that a range of motion shows where coefficients have two signs."""

LONGEST_S = 3600.0


def range_of_motion(head_model: HeadModel, seconds: float | None = None, seed: int = 0) -> Recording:
    """Every action of the head model once, left and right together, with pauses, then the head turning.

    Args:
        head_model: gives the actions.
        seconds: length; by default a second for each action and two for each axis of the head.
        seed: not used; nothing in it is random.
    """
    lowest, highest = (float(value) for value in head_model.asset.expression_range)
    peak = highest if lowest >= 0 else SHARE_OF_SIGNED * highest
    actions: dict[str, list[int]] = {}
    for number, name in enumerate(head_model.asset.expression_names):
        actions.setdefault(action_of(name), []).append(number)
    slots = len(actions) + 2 * len(HEAD_TURNS)
    seconds = slots * SECONDS_PER_ACTION if seconds is None else seconds
    times = _times(seconds)
    place = times / seconds * slots
    expression = torch.zeros(len(times), head_model.num_expression)
    for slot, numbers in enumerate(actions.values()):
        expression[:, numbers] = peak * _bump((place - slot) / MOVING_SHARE)[:, None]
    angles = torch.zeros(len(times), 3)
    for axis, turn in enumerate(HEAD_TURNS):
        swing = ((place - len(actions) - 2 * axis) / 2).clamp(0, 1)
        angles += torch.sin(2 * math.pi * swing)[:, None] * torch.tensor(turn).deg2rad()
    return _recording("range_of_motion", head_model, expression, angles)


def talk(head_model: HeadModel, seconds: float | None = None, seed: int = 0) -> Recording:
    """Like somebody who talks: syllables in phrases, lips, brows, blinks and nods. Ten seconds by default."""
    draws, times = _generator(seed), _times(10.0 if seconds is None else seconds)
    jaw, lips, stress = torch.zeros(len(times)), torch.zeros(len(times), 3), torch.zeros(len(times))
    now, end = 0.4, float(times[-1])
    while now < end:
        phrase_end = now + draws.uniform(1.2, 2.8)
        stress += _bump((times - now + 0.2) / 0.9) * draws.uniform(0.2, 0.8)
        while now < min(phrase_end, end):
            length = draws.uniform(0.16, 0.3)
            syllable = _bump((times - now) / (1.3 * length))
            jaw = torch.maximum(jaw, syllable * draws.uniform(0.15, 0.55))
            # Open, rounded or spread: vowels differ in the lips more than in the jaw.
            shape = torch.from_numpy(draws.dirichlet([0.6, 0.6, 0.6])).float()
            lips = torch.maximum(lips, syllable[:, None] * shape)
            now += length
        now += draws.uniform(0.25, 0.7)
    expression = _set_actions(
        head_model,
        {
            "jawOpen": jaw,
            "mouthLowerDown": 0.5 * lips[:, 0] * jaw / 0.55,
            "mouthUpperUp": 0.35 * lips[:, 0],
            "mouthFunnel": 0.4 * lips[:, 1],
            "mouthPucker": 0.45 * lips[:, 1],
            "mouthSmile": 0.15 * _onset(times) + 0.3 * lips[:, 2],
            "mouthStretch": 0.25 * lips[:, 2],
            "browInnerUp": 0.5 * stress.clamp(max=1),
            "browOuterUp": 0.35 * stress.clamp(max=1),
            "eyeBlink": _blinks(times, draws),
        },
    )
    angles = _sway(times, draws, 0.05)
    angles[:, 1] += 0.08 * stress.clamp(max=1)  # a nod with each phrase
    return _recording("talk", head_model, expression, angles)


def idle(head_model: HeadModel, seconds: float | None = None, seed: int = 0) -> Recording:
    """Somebody who waits: blinks, and a head that hardly moves. Ten seconds by default."""
    draws, times = _generator(seed), _times(10.0 if seconds is None else seconds)
    expression = _set_actions(head_model, {"eyeBlink": _blinks(times, draws)})
    return _recording("idle", head_model, expression, _sway(times, draws, 0.02))


MOTIONS: Mapping[str, Callable[[HeadModel, float | None, int], Recording]] = {
    "range_of_motion": range_of_motion,
    "talk": talk,
    "idle": idle,
}
"""The built-in motions by name."""


def _times(seconds: float) -> Tensor:
    if not 0 < seconds <= LONGEST_S:
        raise UserError(f"--seconds {seconds:g}: give a number above 0 and up to {LONGEST_S:g}")
    return torch.arange(max(1, round(seconds * FPS))) / FPS


def _generator(seed: int) -> np.random.Generator:
    if seed < 0:
        raise UserError(f"--seed {seed}: give 0 or more")
    return np.random.default_rng(seed)


def _bump(place: Tensor) -> Tensor:
    """Smoothly from 0 at 0 to 1 at 0.5 and back to 0 at 1, and 0 outside."""
    return 0.5 - 0.5 * torch.cos(2 * math.pi * place.clamp(0, 1))


def _onset(times: Tensor) -> Tensor:
    """From 0 at the start to 1 within a second."""
    return _bump((times / 2).clamp(max=0.5))


def _blinks(times: Tensor, draws: np.random.Generator) -> Tensor:
    """``[T]`` a lid closes in 0.1 s, opens in 0.2 s, every two to five seconds."""
    lids, now = torch.zeros(len(times)), draws.uniform(0.6, 2.0)
    while now < float(times[-1]):
        since = times - now
        lids = torch.maximum(lids, torch.minimum(since / 0.1, (0.3 - since) / 0.2).clamp(0, 1))
        now += draws.uniform(2.0, 5.0)
    return lids * lids * (3 - 2 * lids)


def _sway(times: Tensor, draws: np.random.Generator, radians: float) -> Tensor:
    """``[T, 3]`` slow turns about the three axes, of a mean size in radians."""
    turns = []
    for _ in range(3):
        rates = torch.from_numpy(draws.uniform(0.08, 0.45, 3)).float()
        starts = torch.from_numpy(draws.uniform(0, 2 * math.pi, 3)).float()
        waves = torch.sin(2 * math.pi * times[:, None] * rates + starts)
        turns.append(radians * waves.mean(1) * _onset(times))
    return torch.stack(turns, 1)


def _set_actions(head_model: HeadModel, actions: Mapping[str, Tensor]) -> Tensor:
    """``[T, E]`` with each named action ``[T]`` on both of its sides, as far as the head model has it."""
    frames = len(next(iter(actions.values())))
    expression = torch.zeros(frames, head_model.num_expression)
    names = head_model.asset.expression_names
    for action, values in actions.items():
        for name in (action, f"{action}Left", f"{action}Right"):
            if name in names:
                expression[:, names.index(name)] = values
    return expression


def _recording(name: str, head_model: HeadModel, expression: Tensor, angles: Tensor) -> Recording:
    """A recording whose neutral is zero; angles ``[T, 3]`` are yaw, pitch and roll in radians."""
    return Recording(
        name=name,
        fps=FPS,
        expression=expression,
        joint_rotations=eye_joints(eye_angles(expression, head_model), head_model),
        rotation=rotations(*angles.unbind(1)),
        translation=None,
        tracked=torch.ones(len(expression), dtype=torch.bool),
        neutral=torch.zeros(head_model.num_expression),
    )
