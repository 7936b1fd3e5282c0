"""Frames that cannot be are found by rules that are worked out here by hand."""

import json
import logging
from dataclasses import replace

import pytest
import torch

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.formats.plausibility import frame_runs, impossible_frames, leave_out, left_out_report
from partnerface.head_models.head_parameters import HeadParameters

FRAMES = 6


def heads(**changed: torch.Tensor) -> HeadParameters:
    """Heads one metre before a camera at the origin that looks along -z."""
    head = HeadParameters.neutral(FRAMES, 3, 4, 6)
    head.translation[:, 2] = -1
    return replace(head, **changed)


def found(head: HeadParameters, residual: torch.Tensor | None = None, weights: torch.Tensor | None = None):
    camera = Camera.static(FRAMES, 200.0, 100, 80)
    return impossible_frames(camera, head, torch.ones(FRAMES) if weights is None else weights, residual)


def test_a_good_clip_has_none():
    assert found(heads()) == {}
    assert found(heads(), torch.full((FRAMES,), 3.0)) == {}
    assert found(heads(), torch.full((FRAMES,), float("nan"))) == {}


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ((0, 0, 1), "behind the camera"),
        ((0, 0, 0), "behind the camera"),
        ((0, 0, -0.05), "nearer than 0.1 m"),
        ((0, 0, -30), "farther than 20 m"),
        # 200 px of focal length: half a metre aside is 100 px from the middle at 50, half a picture outside.
        ((0.51, 0, -1), "outside the picture"),
        ((0, -0.41, -1), "outside the picture"),
    ],
)
def test_places(place, reason):
    head = heads()
    head.translation[2] = torch.tensor(place)
    (frame,), (text,) = found(head).keys(), found(head).values()
    assert frame == 2
    assert reason in text


def test_the_middle_of_the_head_is_looked_at_where_it_is_known():
    """The origin is 96 px below the middle of a picture of 80 px; what is known of the head is 16 px off."""
    head, camera = heads(), Camera.static(FRAMES, 200.0, 100, 80)
    head.translation[:, 1] = -0.48
    assert len(found(head)) == FRAMES
    middle = torch.tensor([0.0, 0.4, 0.0])
    assert impossible_frames(camera, head, torch.ones(FRAMES), middle=middle) == {}
    # It turns with the head: on its head, the middle is far below.
    head.rotation = torch.diag(torch.tensor([-1.0, -1, 1])).repeat(FRAMES, 1, 1)
    assert len(impossible_frames(camera, head, torch.ones(FRAMES), middle=middle)) == FRAMES


@pytest.mark.parametrize("place", [(0.49, 0, -1), (0, 0.39, -1), (0, 0, -0.11), (0, 0, -19)])
def test_unusual_places_stay(place):
    head = heads()
    head.translation[2] = torch.tensor(place)
    assert found(head) == {}


def test_expressions_beyond_measure():
    head = heads()
    head.expression[4, 1] = -21
    assert found(head) == {4: "expression beyond 20"}


def test_residuals_far_out():
    residual = torch.tensor([2.0, 3.0, 2.0, 11.9, 12.1, 40.0])
    assert found(heads(), residual) == dict.fromkeys((4, 5), "landmarks more than 12 px off")
    # Of a clip that is far off everywhere only what stands out: four times the median, which is 30.
    assert found(heads(), 10 * residual) == dict.fromkeys((4, 5), "landmarks more than 120 px off")


def test_frames_without_weight_are_not_looked_at():
    head = heads()
    head.translation[2, 2] = 5
    weights = torch.ones(FRAMES)
    weights[2] = 0
    assert found(head, weights=weights) == {}


def test_runs_and_report():
    assert frame_runs([1, 2, 3, 7]) == "1-3, 7"
    assert frame_runs([]) == ""
    assert left_out_report({1: "a", 2: "a", 4: "b"}) == "1-2 (a), 4 (b)"


def spoil(root, frame, **changed):
    path = root / "transforms.json"
    record = json.loads(path.read_text())
    record["frames"][frame].update(changed)
    path.write_text(json.dumps(record))


def test_reading_leaves_them_out_and_says_so(tmp_path, tiny_video, caplog):
    root = tmp_path / "set"
    whole = tiny_video().write(root, landmark_residual=torch.tensor([2.0, 2, 2, 2, 2, 2]))
    assert whole.left_out == {}
    spoil(root, 1, landmark_residual=50.0)
    with caplog.at_level(logging.WARNING):
        sequence = PartnerfaceReader(root).read()
    assert sequence.left_out == {1: "landmarks more than 12 px off"}
    assert sequence.frame_weights.tolist() == [1, 0, 1, 1, 1, 1]
    assert sequence.splits == {"train": [0, 2], "val": [3], "temporal": [4, 5]}
    assert "frames left out: 1 (landmarks more than 12 px off)" in caplog.text


def test_a_split_that_loses_all_its_frames_is_gone(tmp_path, tiny_video):
    sequence = tiny_video().write(tmp_path / "set")
    assert leave_out(sequence, {}) is sequence
    assert leave_out(sequence, {3: "a"}).splits == {"train": [0, 1, 2], "temporal": [4, 5]}
    assert leave_out(sequence, dict.fromkeys(range(6), "a")).splits == {"train": []}
