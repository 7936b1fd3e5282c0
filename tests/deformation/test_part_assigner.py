"""The soft partition against a dense softmax, at its limits, and under a change of scale."""

import math

import pytest
import torch

from partnerface.deformation.deformation import DeformedPoints, dense_part_weights
from partnerface.deformation.part_assigner import PartAssigner
from partnerface.deformation.statistics import mean_motion, part_entropy
from partnerface.deformation.strongest_parts import strongest_parts
from partnerface.errors import UserError
from tests.contracts.subjects import in_frame


def make_assigner(parts: int, temperature: float = 0.25, top_k: int = 64, **choices) -> PartAssigner:
    torch.manual_seed(0)
    assigner = PartAssigner(parts, temperature, top_k, **choices)
    assigner.place(torch.rand(parts, 3))
    return assigner


def dense(assigner: PartAssigner, positions: torch.Tensor) -> torch.Tensor:
    weights, index = assigner(positions)
    return dense_part_weights(weights, index, assigner.parts)


@pytest.mark.parametrize("top_k", [1, 2, 5, 99])
def test_weights_sum_to_one_and_parts_differ(top_k):
    weights, index = make_assigner(9, top_k=top_k)(torch.rand(200, 3))
    torch.testing.assert_close(weights.sum(1), torch.ones(200))
    assert weights.shape == index.shape == (200, min(top_k, 9))
    assert all(len(row.unique()) == len(row) for row in index)


def test_all_parts_equal_a_dense_softmax_over_scaled_distances():
    assigner = make_assigner(6)
    with torch.no_grad():
        assigner.log_sizes.normal_(0, 0.3)
        assigner.biases.normal_()
    positions = torch.rand(100, 3)
    centres, log_sizes, biases = (p.tolist() for p in assigner.parameters())
    nearest = [min(math.dist(a, b) for b in centres if b is not a) for a in centres]
    spacing = sum(nearest) / len(nearest)
    logits = torch.empty(100, 6)
    for n in range(100):
        for p in range(6):
            size = math.exp(log_sizes[p]) * spacing
            square = math.dist(positions[n].tolist(), centres[p]) ** 2
            logits[n, p] = biases[p] - square / size**2
    expected = torch.softmax(logits / 0.25, 1)
    torch.testing.assert_close(dense(assigner, positions), expected, atol=1e-4, rtol=1e-3)


def test_top_k_keeps_the_strongest_and_their_proportions():
    whole, some = make_assigner(8), make_assigner(8, top_k=3)
    positions = torch.rand(100, 3)
    strongest = dense(whole, positions).topk(3, 1)
    weights, index = some(positions)
    assert torch.equal(index, strongest.indices)
    torch.testing.assert_close(weights, strongest.values / strongest.values.sum(1, keepdim=True))


@pytest.mark.parametrize("hard", [True, False])
def test_low_temperature_and_hard_mode_choose_the_nearest_centre(hard):
    assigner = make_assigner(10, temperature=0.25 if hard else 1e-6, top_k=4)
    assigner.hard = hard
    positions = torch.rand(300, 3)
    weights, index = assigner(positions)
    assert torch.equal(index[:, 0], torch.cdist(positions, assigner.centres).argmin(1))
    torch.testing.assert_close(weights[:, 0], torch.ones(300), atol=1e-3, rtol=0)
    assert weights.shape[1] == (1 if hard else 4)


def test_softness_does_not_depend_on_the_scale():
    """A grid of 8 and one of 64 parts, the second half as wide: weights repeat at half the size."""
    results = []
    for side, scale in ((2, 0.4), (4, 0.2)):
        places = torch.arange(side) * scale
        assigner = PartAssigner(side**3, temperature=0.25, top_k=99)
        assigner.place(torch.cartesian_prod(places, places, places))
        start = scale * (side // 2 - 1)
        within = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
        positions = start + scale * within
        corners = start + scale * torch.cartesian_prod(*[torch.arange(2)] * 3)
        owners = torch.cdist(corners, assigner.centres).argmin(1)
        inner = dense(assigner, positions)[:, owners]
        results.append(inner / inner.sum(1, keepdim=True))
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("scale", [0.01, 30.0])
def test_weights_stay_when_everything_grows(scale):
    assigner = make_assigner(5)
    positions = torch.rand(50, 3)
    before = dense(assigner, positions)
    assigner.place(assigner.centres.detach() * scale)
    torch.testing.assert_close(dense(assigner, positions * scale), before, atol=1e-4, rtol=1e-3)


def test_values_without_a_meaning_are_refused():
    with pytest.raises(UserError, match="temperature is 0"):
        PartAssigner(4, 0, 2)
    with pytest.raises(UserError, match="start_temperature is -1"):
        PartAssigner(4, 0.25, 2, "annealed", -1.0)
    with pytest.raises(UserError, match="residual_frequencies is -1"):
        PartAssigner(4, 0.25, 2, residual_frequencies=-1)


@pytest.mark.parametrize("choice", [{"temperature_schedule": "learned"}, {"residual_frequencies": 2}])
def test_what_would_be_learned_and_is_not(choice):
    with pytest.raises(UserError, match="with learn_parts false neither a temperature nor borders"):
        PartAssigner(4, 0.25, 2, **choice, learned=False)


def test_an_annealed_temperature_falls_in_equal_ratios_and_rests_for_half_of_training():
    """Weights are those of an assigner that has the temperature of the moment."""
    assigner = make_assigner(6, 0.1, temperature_schedule="annealed", start_temperature=1.6)
    positions = torch.rand(50, 3)
    for progress, temperature in ((0.0, 1.6), (0.125, 0.8), (0.25, 0.4), (0.5, 0.1), (0.8, 0.1), (1.0, 0.1)):
        assigner.set_progress(progress)
        expected = dense(make_assigner(6, temperature), positions)
        torch.testing.assert_close(dense(assigner, positions), expected, atol=1e-5, rtol=1e-4)


def test_before_any_training_an_annealed_temperature_is_its_end():
    positions = torch.rand(50, 3)
    annealed = make_assigner(6, temperature_schedule="annealed")
    assert torch.equal(dense(annealed, positions), dense(make_assigner(6), positions))


def test_a_learned_temperature_goes_where_the_loss_leads():
    """Descent on the distance to weights of another temperature finds it; progress does not touch it."""
    positions = torch.rand(300, 3)
    target = dense(make_assigner(6, 0.6), positions).detach()
    assigner = make_assigner(6, 0.2, temperature_schedule="learned")
    optimizer = torch.optim.Adam([assigner.log_temperature_factor], 0.05)
    for step in range(150):
        optimizer.zero_grad()
        (dense(assigner, positions) - target).square().sum().backward()
        optimizer.step()
        assigner.set_progress(step / 150)
    assert float(assigner.current_temperature().detach()) == pytest.approx(0.6, rel=0.02)


def test_the_residual_adds_to_the_logits_of_its_part():
    """Against cosines written out; zero at the start."""
    plain, assigner = make_assigner(5), make_assigner(5, residual_frequencies=2)
    positions = torch.rand(40, 3)
    assert torch.equal(dense(plain, positions), dense(assigner, positions))
    with torch.no_grad():
        assigner.residual.normal_()
    expected = 0.25 * dense(plain, positions).log()
    a = assigner.residual
    for axis in range(3):
        x = positions[:, axis]
        expected += (x - 0.5)[:, None] * a[axis]
        for octave in range(2):
            angle = (2 * math.pi * 2**octave * x)[:, None]
            row = 3 + 2 * axis + octave
            expected += angle.sin() * a[row] + angle.cos() * a[row + 6]
    expected = torch.softmax(expected / 0.25, 1)
    torch.testing.assert_close(dense(assigner, positions), expected, atol=1e-4, rtol=1e-3)


def test_entropy_of_the_weights_by_hand():
    """Three frames, the second without a point."""
    weights = torch.tensor([[0.5, 0.5], [0.2, 0.8], [1.0, 0.0], [0.9, 0.1]], requires_grad=True)
    points = DeformedPoints(torch.zeros(4, 3), None, weights, torch.zeros(4, 2).long())
    entropy = part_entropy(points, torch.tensor([0, 2, 0, 0], dtype=torch.int32), 3)
    first = (math.log(2) + 0 - 0.9 * math.log(0.9) - 0.1 * math.log(0.1)) / 3
    third = -0.2 * math.log(0.2) - 0.8 * math.log(0.8)
    assert entropy.tolist() == pytest.approx([first, 0, third], abs=1e-4)
    entropy.sum().backward()
    assert weights.grad.isfinite().all()
    none = DeformedPoints(torch.zeros(0, 3), None, torch.zeros(0, 2), torch.zeros(0, 2).long())
    assert part_entropy(none, in_frame(none.offsets), 2).tolist() == [0, 0]


def test_a_single_part_takes_everything():
    assigner = make_assigner(1)
    weights, index = assigner(torch.rand(20, 3) * 100)
    assert torch.equal(weights, torch.ones(20, 1))
    assert not index.any()


def test_gradient_reaches_centres_sizes_and_biases():
    assigner = make_assigner(4, top_k=2)
    weights, _ = assigner(torch.rand(100, 3))
    weights[:, 0].sum().backward()
    for name, parameter in assigner.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_no_points():
    weights, index = make_assigner(4, top_k=2)(torch.zeros(0, 3))
    assert weights.shape == index.shape == (0, 2)
    nothing = DeformedPoints(torch.zeros(0, 3), None, weights, index)
    size, usage = mean_motion(nothing, 4, in_frame(nothing.offsets), 2)
    assert not size.any()
    assert torch.equal(usage, torch.full((2, 4), 0.25))
    assert dense_part_weights(nothing.part_weights, nothing.part_index, 4).shape == (0, 4)


def test_usage_is_the_mean_of_the_dense_weights():
    """By frame, and the same for all parts in the second of three frames, which has no point."""
    assigner = make_assigner(7, top_k=3)
    positions, frame = torch.rand(40, 3), 2 * torch.randint(2, (40,), dtype=torch.int32)
    weights, index = assigner(positions)
    size, usage = mean_motion(DeformedPoints(positions, None, weights, index), 7, frame, 3)
    for number in (0, 2):
        expected = dense(assigner, positions[frame == number]).mean(0)
        torch.testing.assert_close(usage[number], expected)
        expected = positions[frame == number].square().sum(1).mean()
        torch.testing.assert_close(size[number], expected)
    assert size[1] == 0
    torch.testing.assert_close(usage[1], torch.full((7,), 1 / 7))


def test_places_travel_with_the_state():
    trained, fresh = make_assigner(6), PartAssigner(6, 0.25, 64)
    fresh.load_state_dict(trained.state_dict())
    positions = torch.rand(10, 3)
    assert torch.equal(dense(trained, positions), dense(fresh, positions))


def without_distance(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The strongest of parts that all lie in the same place."""
    parts = logits.shape[1]
    nowhere, nothing = torch.zeros(len(logits), 3), torch.zeros(parts)
    return strongest_parts(nowhere, torch.zeros(parts, 3), nothing, nothing, logits, count)


@pytest.mark.parametrize(("parts", "count"), [(1, 1), (2, 2), (4, 4), (64, 2), (64, 5)])
def test_the_strongest_are_those_of_a_sort_with_its_gradient(parts, count):
    logits = torch.randn(300, parts, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value, index = without_distance(logits, count)
    expected, order = logits.sort(dim=1, descending=True)
    assert torch.equal(value, expected[:, :count])
    assert torch.equal(index, order[:, :count])
    factor = torch.arange(1.0, count + 1)
    (gradient,) = torch.autograd.grad((value * factor).sum(), logits)
    assert torch.equal(
        gradient, torch.zeros_like(logits).scatter(1, order[:, :count], factor.expand(300, -1))
    )


def test_equal_logits_give_different_parts():
    _, index = without_distance(torch.zeros(3, 5), 3)
    assert all(len(set(row)) == 3 for row in index.tolist())


def test_a_logit_that_is_no_number_is_seen_and_its_parts_exist():
    logits = torch.rand(3, 6)
    logits[0, 2], logits[1] = torch.nan, torch.nan
    value, index = without_distance(logits, 4)
    assert value[:2].isnan().any(1).all()
    assert value[2].isfinite().all()
    assert ((index >= 0) & (index < 6)).all()


@pytest.mark.parametrize(("count", "with_residual"), [(1, False), (3, True), (7, False)])
def test_gradients_of_the_strongest_equal_those_of_the_formula(count, with_residual):
    generator = torch.Generator().manual_seed(1)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    given = [rand(90, 3), rand(7, 3), 5 * rand(7), rand(7), rand(90 if with_residual else 0, 7)]
    factor = rand(90, count)

    def gradients(kind: torch.dtype) -> tuple[torch.Tensor, ...]:
        values = [value.to(kind).requires_grad_() for value in given]
        positions, centres, scales, biases, residual = values
        if kind == torch.float32:
            found, _ = strongest_parts(*values, count)
        else:
            square = (positions[:, None] - centres).square().sum(2)
            logits = biases - scales * square + (residual if with_residual else 0)
            found = logits.topk(count, dim=1).values
        return torch.autograd.grad((factor.to(kind) * found).sum(), values, materialize_grads=True)

    for found, expected in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=2e-5)


def test_gradients_of_mean_motion_equal_those_of_a_loop_over_frames():
    """Three frames, the second without a point that counts."""
    generator = torch.Generator().manual_seed(2)
    offsets, weights = torch.rand(50, 3, generator=generator), torch.rand(50, 2, generator=generator)
    weights = weights / weights.sum(1, keepdim=True)
    index = torch.stack([torch.randperm(5, generator=generator)[:2] for _ in range(50)])
    frame = torch.randint(3, (50,), generator=generator, dtype=torch.int32)
    solid = (torch.rand(50, generator=generator) > 0.3) & (frame != 1)
    factors = torch.rand(3, generator=generator), torch.rand(3, 5, generator=generator)
    offsets.requires_grad_(), weights.requires_grad_()
    size, usage = mean_motion(DeformedPoints(offsets, None, weights, index), 5, frame, 3, solid)
    shares = dense_part_weights(weights, index, 5)
    means = [
        (offsets[some].square().sum(1).mean(), shares[some].mean(0))
        for some in (solid & (frame == f) for f in (0, 2))
    ]
    expected = [torch.stack(values) for values in zip(*means, strict=True)]
    torch.testing.assert_close(size[[0, 2]], expected[0])
    torch.testing.assert_close(usage[[0, 2]], expected[1])
    assert size[1] == 0
    torch.testing.assert_close(usage[1], torch.full((5,), 0.2))
    found = torch.autograd.grad((factors[0] * size).sum() + (factors[1] * usage).sum(), (offsets, weights))
    loss = (factors[0][[0, 2]] * expected[0]).sum() + (factors[1][[0, 2]] * expected[1]).sum()
    for values, other in zip(found, torch.autograd.grad(loss, (offsets, weights)), strict=True):
        torch.testing.assert_close(values, other)
