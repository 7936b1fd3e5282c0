"""A local network is conditioned on the expressions that move its part, and on no others."""

import pytest
import torch

from partnerface.deformation.part_networks import PartNetworks
from partnerface.deformation.part_placement import LEAST_MOTION_M, LEAST_PART_WEIGHT, expression_masks
from tests.contracts.subjects import canonical_head, in_frame


def talking(anny) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(20, anny.num_expression)


def test_the_mask_is_what_moves_a_vertex_of_the_part(anny):
    """Against a loop over parts, expressions and vertices."""
    head = canonical_head(anny, talking(anny))
    torch.manual_seed(1)
    weights = torch.rand(len(head.used), 3).pow(6)
    weights[:, 2] = 0
    weights[[5, 99], 2] = LEAST_PART_WEIGHT + 0.05
    masks = expression_masks(head, weights)
    for part in range(3):
        vertices = head.used[weights[:, part] > LEAST_PART_WEIGHT]
        for expression in range(anny.num_expression):
            strongest = head.expression[:, expression].abs().max()
            moved = max(float((strongest * anny.expression_basis[expression, v]).norm()) for v in vertices)
            assert bool(masks[part, expression]) == (moved > LEAST_MOTION_M), (part, expression)


def test_an_expression_that_training_hardly_shows_is_judged_by_what_it_could_do(anny):
    silent = canonical_head(anny, torch.zeros(1, anny.num_expression))
    weights = torch.ones(len(silent.used), 1)
    assert torch.equal(
        expression_masks(silent, weights),
        expression_masks(canonical_head(anny, torch.full((1, anny.num_expression), 0.3)), weights),
    )


def test_a_part_without_a_vertex_depends_on_everything_that_moves_the_head(anny):
    head = canonical_head(anny, talking(anny))
    weights = torch.stack([torch.ones(len(head.used)), torch.zeros(len(head.used))], 1)
    masks = expression_masks(head, weights)
    assert torch.equal(masks[0], masks[1])
    assert masks[0].all()


def woken(anny, **choices) -> PartNetworks:
    torch.manual_seed(0)
    deformation = PartNetworks(
        parts=8, hidden_width=8, driving_width=anny.num_expression + 6, top_k=1, **choices
    )
    for parameter in deformation.networks.parameters():
        torch.nn.init.normal_(parameter)
    deformation.adapt_to(canonical_head(anny, talking(anny)))
    return deformation


def test_a_blink_does_not_reach_the_chin_and_the_head_reaches_every_part(anny):
    local, unconfined = woken(anny), woken(anny, local_driving=False)
    blink = anny.expression_index("eyeBlinkLeft")
    # Three frames: at rest, with the left eye closed, turning.
    driving = torch.zeros(3, anny.num_expression + 6)
    driving[1, blink], driving[2, -3:] = 1.0, 1.0
    places = local.assigner.centres.detach()
    for deformation, confined in ((local, True), (unconfined, False)):
        rest, closed, turned = (deformation(places, driving, in_frame(places, f)).offsets for f in range(3))
        by_blink = (closed - rest).abs().amax(1) > 0
        assert bool(by_blink.all()) is not confined
        assert by_blink.any()
        assert ((turned - rest).abs().amax(1) > 0).all()
    assert not local.driving_mask[int(places[:, 1].argmin()), blink]


def test_masks_travel_with_the_checkpoint(anny):
    trained = woken(anny)
    fresh = PartNetworks(parts=8, hidden_width=8, driving_width=anny.num_expression + 6, top_k=1)
    fresh.load_state_dict(trained.state_dict())
    positions, driving = torch.rand(30, 3), torch.randn(1, anny.num_expression + 6)
    inputs = positions, driving, in_frame(positions)
    assert torch.equal(fresh(*inputs).offsets, trained(*inputs).offsets)


@pytest.mark.parametrize("parts", [1, 40])
@pytest.mark.parametrize("clip", ["zero expression everywhere", "one frame", "a mask of zero"])
def test_clips_that_show_little(anny, clip, parts):
    """The bank's values and gradients are finite at rest, at training's signals and far outside them."""
    shown = 0.5 * talking(anny)[: 1 if clip == "one frame" else 5] * (clip != "zero expression everywhere")
    head = canonical_head(anny, shown)
    bank = PartNetworks(parts=parts, hidden_width=8, driving_width=anny.num_expression + 6)
    bank.adapt_to(head)
    if clip == "a mask of zero":
        bank.driving_mask.zero_()
    for parameter in bank.networks.parameters():
        torch.nn.init.normal_(parameter)
    positions = head.in_cube(head.vertices[head.used[::40]])
    driving = torch.cat([torch.zeros(1, bank.driving_width), 50 * torch.eye(bank.driving_width)])
    frame = (torch.arange(len(positions)) % len(driving)).int()
    offsets = bank(positions, driving, frame).offsets
    offsets.square().sum().backward()
    assert offsets.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in bank.parameters())
    assert offsets.abs().max() > 0
