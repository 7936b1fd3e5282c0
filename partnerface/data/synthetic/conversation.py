"""The script of a face that folds: expressions that co-occur as in talk, then recombined, then larger."""

from __future__ import annotations

import torch
from torch import Tensor

from partnerface.data.splits import nearest_distance
from partnerface.data.synthetic.face_coordinates import smooth_step
from partnerface.data.synthetic.performance import (
    FPS,
    HEAD_POSE_REPLAY,
    HEAD_POSE_REPLAY_PACE,
    TEMPORAL_SHARE,
    VALIDATION_SHARE,
    Performance,
    Tracks,
    blinks,
    consecutive,
    head_tracks,
    sided,
)
from partnerface.head_models.head_model import HeadModel

COMBINATION_SHARE, LARGER_SHARE = 0.10, 0.08
LARGER = 1.35
"""How much larger the amplitudes of the last split are than those of the training frames that it repeats."""

SPLIT_PROTOCOL = {
    "train": "all frames before val",
    "val": f"the {100 * VALIDATION_SHARE:g} % of all frames right before temporal",
    "temporal": f"the {100 * TEMPORAL_SHARE:g} % of all frames right before unseen_combination",
    "unseen_combination": f"the {100 * COMBINATION_SHARE:g} % of all frames right before larger: brows, eyes "
    "and mouth each from another training moment, at head poses of training",
    "larger": f"the last {100 * LARGER_SHARE:g} % of all frames: expressive training moments, their "
    f"coefficients times {LARGER:g}, at head poses of training",
}
"""How `converse` divides a clip, in words."""

MOODS = {
    "smile": {
        "mouthSmile": 0.95,
        "cheekSquint": 0.70,
        "eyeSquint": 0.5,
        "mouthDimple": 0.3,
        "mouthUpperUp": 0.25,
    },
    "surprise": {
        "browInnerUp": 0.95,
        "browOuterUp": 0.95,
        "eyeWide": 0.7,
        "jawOpen": 0.6,
        "mouthFunnel": 0.25,
    },
    "anger": {
        **{"browDown": 1.0, "noseSneer": 0.4, "eyeSquint": 0.5, "mouthPress": 0.75},
        **{"mouthShrugLower": 0.5, "mouthRollUpper": 0.3},
    },
    "disgust": {
        "noseSneer": 1.0,
        "mouthUpperUp": 0.75,
        "browDown": 0.55,
        "cheekSquint": 0.6,
        "eyeSquint": 0.3,
    },
    "sadness": {"browInnerUp": 0.85, "browDown": 0.45, "mouthFrown": 0.9, "mouthShrugLower": 0.85},
    "smirk_left": {
        **{"mouthSmileLeft": 0.95, "mouthDimpleLeft": 0.8, "cheekSquintLeft": 0.6},
        **{"browOuterUpRight": 0.7, "browInnerUp": 0.3},
    },
    "smirk_right": {
        **{"mouthSmileRight": 0.95, "mouthDimpleRight": 0.8, "cheekSquintRight": 0.6},
        **{"browOuterUpLeft": 0.7, "browInnerUp": 0.3},
    },
}
"""Expressions of the whole face, one after the other."""

SPEECH = {
    "open": (1.2, {"jawOpen": 0.75, "mouthLowerDown": 0.55, "mouthUpperUp": 0.3, "browInnerUp": 0.2}),
    "pucker": (0.9, {"mouthPucker": 1.0, "mouthFunnel": 0.45, "eyeSquint": 0.25}),
    "stretch": (0.7, {"mouthStretch": 0.8, "jawOpen": 0.25, "mouthLowerDown": 0.4, "eyeWide": 0.25}),
    "pressed": (0.6, {"mouthPress": 0.6, "mouthRollLower": 0.8, "mouthRollUpper": 0.7, "browDown": 0.2}),
}
"""What the mouth says meanwhile: frequency in Hz, and the rest of the face that joins in."""

MOOD_SECONDS = 0.64
STRENGTH = 0.85
"""Share of the full amplitude that expressions reach, so that `LARGER` times it is about 1."""

TEMPLATE_SHARE = 0.9
"""Share of the amplitude that an action has from its templates; the rest is its own."""

GROUPS = {"brows": ("brow",), "eyes": ("eye", "cheekSquint")}
"""Prefixes of the expression coefficients of a group; the others are the mouth's."""

RUN_LENGTH = 4
"""Frames in a row that come from one moment of training."""

CANDIDATES = 24
"""Draws of three moments for one run of an unseen combination."""


def group_columns(head_model: HeadModel) -> dict[str, list[int]]:
    """Expression coefficients of brows, eyes and mouth: each in one group."""
    names = head_model.asset.expression_names
    columns = {g: [i for i, n in enumerate(names) if n.startswith(p)] for g, p in GROUPS.items()}
    taken = {i for group in columns.values() for i in group}
    return columns | {"mouth": [i for i in range(len(names)) if i not in taken]}


def converse(head_model: HeadModel, frames: int, seed: int) -> Performance:
    """Write the script of a clip: talk, then unseen combinations of its moments, then larger ones."""
    splits = split_frames(frames)
    tracks = Tracks(frames, 1000 + seed)
    head_angles, head_offsets, gaze = head_tracks(tracks)
    expression = _talk(head_model, tracks)
    train = splits["train"]
    tests = {"unseen_combination": _recombined, "larger": _larger}
    for k, (name, chosen) in enumerate(tests.items()):
        test = splits.get(name, [])
        if test:
            expression[test] = chosen(head_model, expression[train], len(test), tracks.generator)
            # Expressions are to be new, not head poses: those of training, backwards.
            pace = max(1, min(HEAD_POSE_REPLAY_PACE, len(train) // (len(tests) * len(test))))
            start = k * (len(train) // len(tests))
            shown = (start + pace * torch.arange(len(test)).flip(0)).clamp_max(len(train) - 1)
            head_angles[test] = HEAD_POSE_REPLAY * head_angles[shown]
            head_offsets[test] = HEAD_POSE_REPLAY * head_offsets[shown]
    return Performance(expression, head_angles, head_offsets, gaze, splits)


def split_frames(frames: int) -> dict[str, list[int]]:
    """Frames by split, in the order of `SPLIT_PROTOCOL`; a split that would be empty is left out."""
    tests = {
        "val": VALIDATION_SHARE,
        "temporal": TEMPORAL_SHARE,
        "unseen_combination": COMBINATION_SHARE,
        "larger": LARGER_SHARE,
    }
    counts = {name: round(share * frames) for name, share in tests.items()}
    return consecutive({"train": frames - sum(counts.values()), **counts})


def _talk(head_model: HeadModel, tracks: Tracks) -> Tensor:
    """``[T, E]`` in [0, 1]: moods in turn, speech over them, and blinks."""
    frames = len(tracks.times)
    templates = _mood_levels(tracks)
    actions = dict(MOODS)
    for name, (frequency, speech) in SPEECH.items():
        templates[name] = (1.1 * torch.tanh(1.2 * tracks.band(frequency) - 0.55)).clamp(0, 1)
        actions[name] = speech
    shared, peak = torch.zeros(frames, head_model.num_expression), torch.zeros(head_model.num_expression)
    for name, level in templates.items():
        for action, value in actions[name].items():
            for index in sided(head_model, action):
                shared[:, index] = torch.maximum(shared[:, index], value * level)
                peak[index] = max(float(peak[index]), value)
    own = torch.zeros_like(shared)
    for index in peak.nonzero()[:, 0].tolist():
        own[:, index] = peak[index] * (1.1 * torch.tanh(1.2 * tracks.band(0.6) - 0.55)).clamp(0, 1)
    expression = STRENGTH * (TEMPLATE_SHARE * shared + (1 - TEMPLATE_SHARE) * own)
    lids = sided(head_model, "eyeBlink")
    expression[:, lids] = blinks(tracks)[:, None].expand(frames, len(lids))
    return expression.clamp(0, 1)


def _mood_levels(tracks: Tracks) -> dict[str, Tensor]:
    """``[T]`` level of each mood: one at a time, each once in a round, fading into the next."""
    count = int(len(tracks.times) / (FPS * MOOD_SECONDS)) + 2
    levels = {name: torch.zeros(len(tracks.times)) for name in MOODS}
    names = list(MOODS)
    order: list[int] = []
    while len(order) < count:
        order += torch.randperm(len(names), generator=tracks.generator).tolist()
    for k, mood in enumerate(order[:count]):
        strength = 0.75 + 0.25 * float(torch.rand(1, generator=tracks.generator))
        place = (tracks.times / MOOD_SECONDS - k).abs()
        levels[names[mood]] = torch.maximum(levels[names[mood]], strength * smooth_step(0.85, 0.2, place))
    return levels


def _recombined(head_model: HeadModel, train: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``[count, E]``: runs whose brows, eyes and mouth come from three moments of ``train`` ``[F, E]``.

    Of `CANDIDATES` draws, a run is the one whose frames are farthest from every training frame.
    """
    columns = group_columns(head_model).values()
    length = min(RUN_LENGTH, len(train))
    combined: list[Tensor] = []
    for _ in range(0, count, length):
        best, farthest = train[:length], 0.0
        for _ in range(CANDIDATES):
            moments = torch.randint(len(train) - length + 1, (len(columns),), generator=generator)
            whole = torch.zeros_like(best)
            for group, moment in zip(columns, moments.tolist(), strict=True):
                whole[:, group] = train[moment : moment + length, group]
            distance = float(nearest_distance(whole, train).amin())
            if distance > farthest:
                best, farthest = whole, distance
        combined.append(best)
    return torch.cat(combined)[:count]


def _larger(head_model: HeadModel, train: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``[count, E]``: runs of ``train`` ``[F, E]`` times `LARGER`.

    Each is the one that adds most to the largest coefficients of those before, so that all have
    their turn.
    """
    length = min(RUN_LENGTH, len(train))
    moments = train.unfold(0, length, 1).mean(2)
    covered, found = torch.zeros(train.shape[1]), []
    for _ in range(0, count, length):
        start = int((moments - covered).clamp_min(0).sum(1).argmax())
        covered = torch.maximum(covered, moments[start])
        found.append(train[start : start + length])
    return (LARGER * torch.cat(found)[:count]).clamp(0, 1)
