"""Millimetres of true motion left, against loops over frames and points and against closed forms."""

from dataclasses import replace

import pytest
import torch

from partnerface.data.sequence import TrueMotion
from partnerface.evaluation import true_motion
from partnerface.evaluation.true_motion import motion_scores

FRAMES, POINTS, SHAPES = 14, 40, 3
TRAIN, SPLITS = list(range(8)), {"train": list(range(8)), "larger": [8, 9, 10, 11, 12, 13]}
REGIONS = ("fine_face", "hair", "quiet_face")


@pytest.fixture(scope="module")
def truth() -> TrueMotion:
    generator = torch.Generator().manual_seed(0)
    owner = torch.arange(POINTS) % 4  # a quarter of the points lies in no region
    return TrueMotion(
        points=torch.rand(POINTS, 3, generator=generator),
        faces=torch.zeros(1, 3, dtype=torch.long),
        shapes=1e-3 * torch.randn(SHAPES, POINTS, 3, generator=generator),
        weights=torch.randn(FRAMES, SHAPES, generator=generator),
        regions={name: owner == number for number, name in enumerate(REGIONS)},
    )


def of_points(truth: TrueMotion, table: torch.Tensor):
    """A deformation that gives the points of all regions offsets ``[T, V, 3]``, where they have moved to."""
    some = torch.stack(list(truth.regions.values())).any(0)

    def offsets(frame: int, points: torch.Tensor) -> torch.Tensor:
        expected = (truth.points + truth.offsets([frame])[0])[some]
        torch.testing.assert_close(points, expected)
        return table[frame][some]

    return offsets


def test_offsets_that_undo_the_motion_leave_nothing(truth):
    found = motion_scores(truth, of_points(truth, -truth.offsets(range(FRAMES))), SPLITS, TRAIN)
    for scores in found.values():
        assert all(value == pytest.approx(0, abs=1e-4) for value in scores["mm_left"].values())
        assert all(value > 0.5 for value in scores["mm_nothing"].values())
        assert scores["cosine"]["fine_face"] == pytest.approx(1)


def test_offsets_that_double_the_motion_point_the_other_way(truth):
    found = motion_scores(truth, of_points(truth, truth.offsets(range(FRAMES))), SPLITS, TRAIN)
    for scores in found.values():
        for region, value in scores["mm_left"].items():
            assert value == pytest.approx(2 * scores["mm_nothing"][region], rel=1e-5)
        assert scores["cosine"]["fine_face"] == pytest.approx(-1)


@pytest.mark.parametrize("constant", [0.0, 0.003])
def test_offsets_that_never_change_leave_all_of_it(truth, constant):
    """A shift of all frames alike is another canonical space, and no error."""
    table = constant * torch.randn(POINTS, 3, generator=torch.Generator().manual_seed(1))
    found = motion_scores(truth, of_points(truth, table.expand(FRAMES, -1, -1)), SPLITS, TRAIN)
    for scores in found.values():
        for region, value in scores["mm_left"].items():
            assert value == pytest.approx(scores["mm_nothing"][region], rel=1e-4)
    if not constant:
        assert found["larger"]["cosine"]["fine_face"] is None


def test_any_offsets_against_loops(truth):
    table = 1e-3 * torch.randn(FRAMES, POINTS, 3, generator=torch.Generator().manual_seed(2))
    found = motion_scores(truth, of_points(truth, table), SPLITS, TRAIN)
    motion = truth.offsets(range(FRAMES)).double()
    total = motion + table.double()
    for split, frames in SPLITS.items():
        for region, inside in truth.regions.items():
            squares = []
            for point in inside.nonzero()[:, 0].tolist():
                mean = sum(total[frame, point] for frame in TRAIN) / len(TRAIN)
                squares += [
                    float((total[frame, point] - mean) @ (total[frame, point] - mean)) for frame in frames
                ]
            left = 1000 * (sum(squares) / len(squares)) ** 0.5
            assert found[split]["mm_left"][region] == pytest.approx(left, rel=1e-4)
        inside = truth.regions["fine_face"]
        first, second = (
            (moved[frames] - moved[TRAIN].mean(0))[:, inside].flatten() for moved in (motion, -table.double())
        )
        cosine = float(first @ second / (first.norm() * second.norm()))
        assert found[split]["cosine"]["fine_face"] == pytest.approx(cosine, abs=1e-5)


def test_a_method_without_offsets_has_what_there_is_to_explain(truth):
    found = motion_scores(truth, lambda frame, points: None, SPLITS, TRAIN)
    for scores in found.values():
        assert scores["mm_left"] == dict.fromkeys(REGIONS)
        assert scores["cosine"] == {"fine_face": None}
        assert all(value > 0 for value in scores["mm_nothing"].values())


def test_a_region_without_points_has_no_value(truth):
    bald = replace(truth, regions=truth.regions | {"hair": torch.zeros(POINTS, dtype=torch.bool)})
    found = motion_scores(bald, of_points(bald, -bald.offsets(range(FRAMES))), SPLITS, TRAIN)
    assert found["larger"]["mm_left"]["hair"] is None
    assert found["larger"]["mm_left"]["fine_face"] == pytest.approx(0, abs=1e-4)


def test_long_splits_are_sampled_evenly(truth, monkeypatch):
    monkeypatch.setattr(true_motion, "FRAMES", 3)
    asked: list[int] = []

    def offsets(frame: int, points: torch.Tensor) -> torch.Tensor:
        asked.append(frame)
        return torch.zeros_like(points)

    motion_scores(truth, offsets, SPLITS, TRAIN)
    assert asked == [0, 4, 7, 8, 10, 13]
