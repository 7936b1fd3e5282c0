"""Views: what a picture shows, by frames."""

from dataclasses import replace

import pytest
import torch

from partnerface.data.view import View
from partnerface.errors import UserError
from tests.views import random_view, tensors_of


def assert_same(found: View, expected: View) -> None:
    assert (found.camera.width, found.camera.height) == (expected.camera.width, expected.camera.height)
    for name, value in tensors_of(expected).items():
        other = tensors_of(found)[name]
        assert (other is None) if value is None else torch.equal(other, value), name


@pytest.mark.parametrize("part", ["camera", "head", "torso_motion"])
def test_unequal_numbers_of_frames_are_refused_in_one_line(part):
    view = random_view(3)
    fewer = view.torso_motion[:2] if part == "torso_motion" else getattr(view, part).select([0, 1])
    with pytest.raises(UserError, match="give the same number of frames for each") as refused:
        replace(view, **{part: fewer})
    message = str(refused.value)
    assert "\n" not in message
    names = {"camera": "cameras", "head": "heads", "torso_motion": "torsos"}
    assert all(f"{2 if key == part else 3} {name}" in message for key, name in names.items())


@pytest.mark.parametrize("torso", [True, False])
def test_concatenation_of_selections_is_the_whole(torso):
    whole = random_view(5)
    if not torso:
        without = {"torso_rotation": None, "torso_translation": None, "angular_velocity": None}
        whole = replace(whole, head=replace(whole.head, **without))
    pieces = [whole.select([0]), whole.select(slice(1, 3)), whole.select(torch.tensor([3, 4]))]
    assert [len(piece) for piece in pieces] == [1, 2, 2]
    assert_same(View.concatenate(pieces), whole)


def test_a_selection_has_the_frames_in_the_order_given():
    whole = random_view(4)
    chosen = whole.select([3, 1, 1])
    assert_same(whole.select((3, 1, 1)), chosen)
    assert_same(whole.select(range(1, 3)), whole.select(slice(1, 3)))
    for place, frame in enumerate([3, 1, 1]):
        assert_same(chosen.select([place]), whole.select([frame]))
    assert len(whole.select([])) == 0


def test_another_size_shows_all_that_was_shown_as_large_as_it_fits():
    view = random_view(4, width=64, height=48)
    generator = torch.Generator().manual_seed(0)
    local = torch.cat([torch.rand(4, 20, 2, generator=generator) - 0.5, torch.ones(4, 20, 1)], 2)
    camera = view.camera
    points = local @ camera.camera_to_world[:, :, :3].mT + camera.camera_to_world[:, None, :, 3]
    before, depth = camera.project(points)
    for width, height in ((32, 24), (100, 10)):
        small = view.resized(width, height)
        found, found_depth = small.camera.project(points)
        scale = min(width / 64, height / 48)
        expected = scale * (before - torch.tensor([32.0, 24.0])) + torch.tensor([width / 2, height / 2])
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)
        assert torch.equal(found_depth, depth)
        assert small.head is view.head
        assert (small.camera.width, small.camera.height) == (width, height)


def test_a_clone_shares_no_memory():
    view = random_view(2)
    copied = view.clone()
    assert_same(copied, view)
    with torch.no_grad():
        for value in tensors_of(copied).values():
            value.add_(1)
    assert_same(view, random_view(2))


def test_a_clone_of_tensors_of_inference_takes_part_in_gradients():
    with torch.inference_mode():
        view = random_view(1)
    expression = view.clone().head.expression.requires_grad_()
    (2 * expression).sum().backward()
    assert (expression.grad == 2).all()


def test_to_moves_every_tensor():
    moved = random_view(2).to("meta")
    assert all(value.device.type == "meta" for value in tensors_of(moved).values())
