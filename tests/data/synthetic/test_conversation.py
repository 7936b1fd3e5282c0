"""The script of subject c: unseen wholes of seen groups, larger amplitudes, known poses, short clips."""

import re

import pytest
import torch

from partnerface.data.splits import nearest_distance
from partnerface.data.synthetic.conversation import (
    LARGER,
    MOODS,
    SPEECH,
    SPLIT_PROTOCOL,
    converse,
    group_columns,
    split_frames,
)
from partnerface.data.synthetic.dressed_head import DressedHead
from partnerface.data.synthetic.performance import sided
from partnerface.data.synthetic.subject import SUBJECTS

FRAMES = 340


@pytest.fixture(scope="module", params=[0, 1])
def performance(anny, request):
    return converse(anny, FRAMES, request.param)


def of_split(performance, name):
    return performance.expression[performance.splits[name]]


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 17, FRAMES])
def test_splits_cover_every_frame_once_and_short_clips_have_a_script(anny, frames):
    splits = split_frames(frames)
    assert sorted(f for part in splits.values() for f in part) == list(range(frames))
    assert splits["train"][0] == 0
    script = converse(anny, frames, 0)
    assert script.expression.shape == (frames, anny.num_expression)
    assert script.expression.isfinite().all()


def test_the_protocol_in_words_is_that_of_the_frames():
    splits = split_frames(1000)
    assert list(splits) == list(SPLIT_PROTOCOL)
    for name in ("val", "temporal", "unseen_combination", "larger"):
        share = re.findall(r"([\d.]+) %", SPLIT_PROTOCOL[name])[0]
        assert float(share) == len(splits[name]) / 10, name
    assert splits["larger"][-1] == 999


def test_groups_divide_the_coefficients(anny):
    columns = group_columns(anny)
    assert sorted(i for group in columns.values() for i in group) == list(range(anny.num_expression))
    names = anny.asset.expression_names
    assert {names[i] for i in columns["brows"]} == {n for n in names if "brow" in n}
    assert "cheekSquintLeft" in {names[i] for i in columns["eyes"]}
    assert "cheekPuff" in {names[i] for i in columns["mouth"]}


def test_of_unseen_combinations_each_group_was_seen_and_no_whole(anny, performance):
    train, unseen = of_split(performance, "train"), of_split(performance, "unseen_combination")
    for columns in group_columns(anny).values():
        assert nearest_distance(unseen[:, columns], train[:, columns]).max() == 0
    whole = nearest_distance(unseen, train)
    assert whole.min() > 0.4
    assert whole.median() > 2 * nearest_distance(of_split(performance, "temporal"), train).median()


def test_larger_frames_are_training_frames_times_a_factor(performance):
    train, larger = of_split(performance, "train"), of_split(performance, "larger")
    assert nearest_distance(larger, (LARGER * train).clamp(0, 1)).max() < 1e-6
    reached = larger.amax(0) > train.amax(0) + 0.1
    assert reached.sum() >= 10
    assert larger.norm(dim=1).mean() > LARGER * train.norm(dim=1).mean()


def test_expressions_co_occur(anny, performance):
    """Actions of one template go together; without them, most of what an action does is not there."""
    train = of_split(performance, "train")
    for actions in list(MOODS.values()) + [speech for _, speech in SPEECH.values()]:
        columns = [index for action in actions for index in sided(anny, action)]
        assert train[:, columns].amax(0).min() > 0.1
    inner, outer = (anny.expression_index(n) for n in ("mouthDimpleLeft", "mouthSmileLeft"))
    assert torch.corrcoef(train[:, [inner, outer]].T)[0, 1] > 0.8
    assert train.min() >= 0
    assert train.amax() <= 1
    blink = train[:, anny.expression_index("eyeBlinkLeft")]
    assert blink.max() > 0.9
    assert blink.median() < 0.1


def test_test_poses_are_near_those_of_training(performance):
    train = performance.head_angles[performance.splits["train"]]
    for name in ("unseen_combination", "larger"):
        angles = performance.head_angles[performance.splits[name]]
        assert torch.rad2deg(nearest_distance(angles, train)).max() < 6
        assert torch.rad2deg(angles[:, 1].max() - angles[:, 1].min()) > 10


def test_every_region_folds_in_training_and_more_in_larger(anny, performance):
    dressed = DressedHead(anny, SUBJECTS["c"])
    offsets = {
        name: torch.stack([dressed.face_offsets(e) for e in of_split(performance, name)]).norm(dim=2)
        for name in ("train", "larger")
    }
    for region, members in dressed.folds.regions.items():
        assert members.sum() >= 8, region
        assert 5e-4 < offsets["train"][:, members].amax() < 3.2e-3, region
    rms = {name: offset.square().mean().sqrt() for name, offset in offsets.items()}
    assert rms["larger"] > LARGER * rms["train"]
    assert 0.5e-3 < offsets["larger"].max() < 4.2e-3


def test_seeds_differ_and_repeat(anny):
    first, again, other = (converse(anny, 40, seed) for seed in (0, 0, 1))
    assert torch.equal(first.expression, again.expression)
    assert not torch.allclose(first.expression, other.expression)
