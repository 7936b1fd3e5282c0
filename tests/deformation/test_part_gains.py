"""Parts that are exaggerated or switched off: what each network adds, and nothing else."""

import pytest
import torch

from partnerface.deformation.global_deformation import GlobalDeformation
from partnerface.deformation.part_networks import PartNetworks
from tests.contracts.subjects import disturb, in_frame

PARTS, DRIVING = 5, 20


@pytest.fixture
def deformation() -> PartNetworks:
    torch.manual_seed(0)
    made = PartNetworks(DRIVING, parts=PARTS, top_k=3, hidden_width=16, num_frequencies=2)
    disturb(made, 0.3)
    return made.eval()


def moved(deformation, gains: torch.Tensor | None) -> torch.Tensor:
    """``[N, 3 + A]`` offsets and appearance codes at random positions."""
    generator = torch.Generator().manual_seed(1)
    positions, driving = torch.rand(200, 3, generator=generator), torch.rand(1, DRIVING, generator=generator)
    deformation.scale_parts(gains)
    found = deformation(positions, driving, in_frame(positions))
    return torch.cat([found.offsets, found.appearance], 1).detach()


def test_parts_add_up(deformation) -> None:
    """What all parts do is the sum of what each does alone, with the factor that it is given."""
    alone = [moved(deformation, torch.eye(PARTS)[part]) for part in range(PARTS)]
    assert all(part.abs().max() > 1e-3 for part in alone)
    torch.testing.assert_close(sum(alone), moved(deformation, None))
    gains = torch.tensor([0.0, 2.5, 1.0, 0.3, 3.0])
    torch.testing.assert_close(
        sum(g * part for g, part in zip(gains, alone, strict=True)), moved(deformation, gains)
    )


def test_none_and_one_are_as_trained_to_the_bit(deformation) -> None:
    plain = moved(deformation, None)
    assert torch.equal(moved(deformation, torch.ones(PARTS)), plain)
    moved(deformation, torch.zeros(PARTS))
    assert torch.equal(moved(deformation, None), plain)
    assert "part_gains" not in deformation.state_dict()


def test_part_weights_stay_those_of_the_partition(deformation) -> None:
    positions, driving = torch.rand(50, 3), torch.rand(1, DRIVING)
    deformation.scale_parts(torch.zeros(PARTS))
    found = deformation(positions, driving, in_frame(positions))
    assert found.offsets.abs().max() == 0
    torch.testing.assert_close(found.part_weights.sum(1), torch.ones(50))


def test_one_network_for_all_is_scaled_as_one_part() -> None:
    torch.manual_seed(0)
    whole = GlobalDeformation(DRIVING, hidden_width=16)
    disturb(whole, 0.3)
    torch.testing.assert_close(moved(whole, torch.tensor([2.0])), 2 * moved(whole, None))
