"""Roughness of the fine motion against a loop over neighbours, and what it leaves out."""

import pytest
import torch

from partnerface.avatar.canonical_map import CLOSE, moved_samples, offset_roughness
from partnerface.deformation.deformation import DeformedPoints

COUNT = 5


def some_samples(kept: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    places = torch.tensor(kept, dtype=torch.long)
    positions = torch.rand(len(kept), 3, generator=generator)
    offsets = torch.randn(len(kept), 3, generator=generator).requires_grad_()
    return offsets, positions, places


@pytest.mark.parametrize(
    "kept", [[0, 1, 2, 3, 4, 5, 6], [0, 2, 4, 6, 8], [3, 4, 5, 9, 10], [1, 2, 3, 11, 13, 14]]
)
def test_equals_a_loop_over_neighbours_of_one_ray(kept):
    offsets, positions, places = some_samples(kept)
    changes = []
    for k in range(len(kept) - 1):
        if kept[k + 1] == kept[k] + 1 and kept[k] // COUNT == kept[k + 1] // COUNT:
            distance = float((positions[k + 1] - positions[k]).norm())
            change = float((offsets[k + 1] - offsets[k]).norm())
            changes.append(change**2 / (distance**2 + CLOSE**2))
    found = offset_roughness(offsets, positions, places, COUNT)
    assert float(found) == pytest.approx(sum(changes) / len(changes) if changes else 0.0, rel=1e-4)


@pytest.mark.parametrize("kept", [[], [4], [4, 5]])
def test_no_neighbours_are_smooth(kept):
    offsets, positions, places = some_samples(kept)
    roughness = offset_roughness(offsets, positions, places, COUNT)
    roughness.backward()
    assert float(roughness) == 0
    assert not offsets.grad.any()


def test_of_a_linear_motion_it_is_the_squared_slope_along_the_ray():
    places = torch.arange(4 * COUNT)
    positions = torch.stack([0.05 * (places % COUNT), 0.2 * (places // COUNT), 0 * places], 1)
    slope = torch.tensor([[0.3, 0.0, 0.4], [9.0, 9.0, 9.0], [0.0, 0.0, 0.0]])
    found = offset_roughness(positions @ slope, positions, places, COUNT)
    assert float(found) == pytest.approx(0.25, rel=1e-3)


def test_samples_on_one_place_stay_finite_and_distant_neighbours_hardly_count():
    offsets = torch.tensor([[0.0, 0, 0], [0.01, 0, 0]], requires_grad=True)
    same = offset_roughness(offsets, torch.zeros(2, 3), torch.tensor([0, 1]), COUNT)
    assert float(same) == pytest.approx((0.01 / CLOSE) ** 2, rel=1e-4)
    apart = torch.tensor([[0.0, 0, 0], [0.1, 0, 0]])
    assert float(offset_roughness(offsets, apart, torch.tensor([0, 1]), COUNT)) < 1e-3 * float(same)


def test_what_only_training_asks_for_is_not_computed_without_gradients():
    offsets, positions, places = some_samples([0, 1, 2])
    deformed = DeformedPoints(offsets, None, torch.full((3, 2), 0.5), torch.tensor([[0, 1]] * 3))
    learning = moved_samples(places, COUNT, positions, deformed, 2, with_parts=False)
    assert learning.part_entropy is not None
    assert learning.offset_roughness is not None
    with torch.no_grad():
        rendering = moved_samples(places, COUNT, positions, deformed, 2, with_parts=False)
    assert rendering.part_entropy is None
    assert rendering.offset_roughness is None
    assert torch.equal(rendering.positions, learning.positions)
