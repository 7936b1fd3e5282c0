"""The exponent of a curve against closed forms; clips and meshes made for it."""

import math

import numpy as np
import pytest
import torch

from partnerface.benchmarks.speed.growth import (
    LINEAR,
    GrowthCurve,
    RepeatedReader,
    SubdividedHead,
    cut_faces,
    growth_exponent,
    measured_curve,
    sequence_for,
)
from partnerface.benchmarks.speed.measurement import Duration
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.errors import UserError
from partnerface.head_models.anny import AnnyHead

SIZES = [1.0, 2.0, 4.0, 8.0, 64.0]


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, -1.0])
def test_a_power_law_has_its_exponent(exponent):
    assert growth_exponent(SIZES, [7 * s**exponent for s in SIZES]) == pytest.approx(exponent, abs=1e-12)


def test_a_fixed_cost_hides_growth_and_never_adds_to_it():
    assert 0 < growth_exponent(SIZES, [100 + s for s in SIZES]) < 1


def test_noise_is_averaged_as_by_least_squares():
    """Against the normal equations solved by hand for three points."""
    costs = [1.1, 3.7, 20.0]
    x, y = ([math.log(v) for v in values] for values in ((2, 8, 32), costs))
    expected = (3 * sum(a * b for a, b in zip(x, y, strict=True)) - sum(x) * sum(y)) / (
        3 * sum(a * a for a in x) - sum(x) ** 2
    )
    assert growth_exponent([2, 8, 32], costs) == pytest.approx(expected)


@pytest.mark.parametrize(("exponent", "holds"), [(0.2, True), (1.0, True), (1.3, False), (2.0, False)])
def test_the_row_holds_up_to_linear_growth(exponent, holds):
    curve = GrowthCurve("mesh", "triangles", "one step", SIZES, [s**exponent for s in SIZES])
    row = curve.row()
    assert row.name == "growth_mesh"
    assert row.target == LINEAR
    assert row.holds is holds
    assert row.details["sizes"] == SIZES


def test_a_fixed_cost_does_not_hide_the_end_of_the_curve():
    curve = GrowthCurve("x", "axis", "cost", [1, 2, 100, 200, 400], [50, 50, 50, 200, 800])
    assert curve.row().value == pytest.approx(2)
    assert curve.row().holds is False


def test_a_curve_is_the_median_of_rounds_without_the_first():
    calls = {10: [], 20: []}

    def measure(size: int):
        def once() -> Duration:
            calls[size].append(1)
            return Duration(0.0, size * len(calls[size]) / 1000)

        return once

    curve = measured_curve("x", "axis", "cost", {s: measure(s) for s in calls}, rounds=3)
    assert curve.sizes == [10, 20]
    assert curve.milliseconds == pytest.approx([30, 60])


def test_frames_repeat_in_order_and_splits_with_them(synthetic_dataset):
    once = PartnerfaceReader(synthetic_dataset).read()
    long = RepeatedReader(synthetic_dataset, 60).read()
    assert len(long) == len(long.camera) == len(long.head) == 60
    for t in (0, 23, 24, 59):
        i = t % 24
        assert long.image_paths[t] == once.image_paths[i]
        torch.testing.assert_close(long.head.expression[t], once.head.expression[i])
        for name, frames in once.splits.items():
            assert (t in long.splits[name]) == (i in frames)


def test_it_can_be_shorter(synthetic_dataset):
    assert len(RepeatedReader(synthetic_dataset, 5).read()) == 5


def test_no_frame_is_one_line(synthetic_dataset):
    with pytest.raises(UserError, match="at least one"):
        RepeatedReader(synthetic_dataset, 0)


@pytest.fixture(scope="module")
def fine() -> SubdividedHead:
    return SubdividedHead(1)


def test_two_triangles_by_hand():
    faces, edges = cut_faces(np.array([[0, 1, 2], [2, 1, 3]]))
    assert edges.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    assert faces.tolist() == [
        [0, 4, 5], [4, 1, 6], [5, 6, 2], [4, 6, 5],
        [2, 6, 8], [6, 1, 7], [8, 7, 3], [6, 7, 8],
    ]  # fmt: skip


def test_area_and_direction_of_every_face_stay(fine, anny):
    def areas(head: AnnyHead | SubdividedHead) -> torch.Tensor:
        a, b, c = head.template_vertices.double()[head.faces].unbind(1)
        return torch.linalg.cross(b - a, c - a)

    children = areas(fine).view(-1, 4, 3)
    torch.testing.assert_close(children, areas(anny)[:, None].expand(-1, 4, -1) / 4, atol=1e-9, rtol=1e-3)


def test_every_new_vertex_is_used_and_lies_between_its_ends_at_rest(fine, anny):
    count = len(anny.template_vertices)
    assert len(fine.faces) == 4 * len(anny.faces)
    used = fine.faces.unique()
    assert (used >= count).sum() == len(fine.template_vertices) - count
    torch.testing.assert_close(fine.skinning_weights.sum(1), torch.ones(len(fine.template_vertices)))
    torch.testing.assert_close(fine.template_vertices[:count], anny.template_vertices)


def test_expressions_move_old_vertices_as_before(fine, anny, random_head_parameters):
    head = random_head_parameters(2)
    count = len(anny.template_vertices)
    torch.testing.assert_close(fine(head).vertices[:, :count], anny(head).vertices, atol=1e-6, rtol=1e-5)


def test_no_level_is_the_head_itself(anny):
    assert SubdividedHead(0).asset.checksum() == anny.asset.checksum()


def test_a_video_for_it_has_a_shell_for_every_vertex(fine, synthetic_dataset):
    plain = SyntheticReader(synthetic_dataset, frames=24, size=32).read()
    sequence = sequence_for(plain, fine)
    assert sequence.head_model_record.checksum == fine.asset.checksum()
    assert len(sequence.shell_thickness) == len(fine.template_vertices)
    # An edge's middle has the mean of its ends; so the corner child's middle corner tells of its face.
    face = fine.faces[0]
    ends = AnnyHead().faces[0][:2]
    torch.testing.assert_close(sequence.shell_thickness[face[1]], plain.shell_thickness[ends].mean())
    assert len(plain.shell_thickness) < len(sequence.shell_thickness)
