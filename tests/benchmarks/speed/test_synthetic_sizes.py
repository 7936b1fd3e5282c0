"""A short video again and again."""

import numpy as np
import pytest
import torch

from partnerface.benchmarks.speed.synthetic_sizes import (
    RepeatedReader,
    SubdividedHead,
    cut_faces,
    sequence_for,
)
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.errors import UserError
from partnerface.head_models.anny import AnnyHead


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
    assert sequence.head_model.checksum == fine.asset.checksum()
    assert len(sequence.shell_thickness) == len(fine.template_vertices)
    # An edge's middle has the mean of its ends; so the corner child's middle corner tells of its face.
    face = fine.faces[0]
    ends = AnnyHead().faces[0][:2]
    torch.testing.assert_close(sequence.shell_thickness[face[1]], plain.shell_thickness[ends].mean())
    assert len(plain.shell_thickness) < len(sequence.shell_thickness)
