"""Part blendshapes against sums over parts and shapes written out, what drives them, and poor input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from partnerface.deformation.blended_matrices import blended_product
from partnerface.deformation.deformation import OFFSET_SCALE
from partnerface.deformation.driving_signal import MOTION_WIDTH
from partnerface.deformation.part_blendshapes import PartBlendshapes
from partnerface.deformation.part_placement import driving_masks, expression_motion
from partnerface.errors import UserError
from partnerface.fields.encodings import frequency_encoding
from tests.contracts.subjects import canonical_head, disturb, in_frame

PARTS, EXPRESSIONS = 9, 7
WIDTH = EXPRESSIONS + MOTION_WIDTH


def woken(**choices) -> PartBlendshapes:
    """With weights of a training that went anywhere, and random masks."""
    torch.manual_seed(0)
    sizes = {"parts": PARTS, "hidden_width": 10, "shapes": 3, "driving_hidden_width": 5, "num_frequencies": 2}
    choices.setdefault("learn_parts", True)
    made = PartBlendshapes(WIDTH, **(sizes | choices))
    disturb(made, 0.3)
    made.assigner.place(torch.rand(made.parts, 3))
    made.driving_mask.copy_((torch.rand(made.driving_mask.shape) < 0.5).float())
    return made


def some_points(count: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Positions, driving signals of three frames and each point's frame; the second frame has no point."""
    torch.manual_seed(1)
    return torch.rand(count, 3), torch.randn(3, WIDTH), 2 * torch.randint(2, (count,), dtype=torch.int32)


def moved(deformation: PartBlendshapes, positions: Tensor, driving: Tensor, frame: Tensor) -> Tensor:
    """``[N, 3 + A]``."""
    found = deformation(positions, driving, frame)
    return torch.cat([found.offsets, found.appearance], 1)


def matrix_of(network, part: int, signal: Tensor) -> Tensor:
    """``[C, R]`` of one group and frame, a sum over shapes written out."""
    hidden = (network.weight1[part].T @ signal + network.bias1[part]).relu()
    coefficients = network.weight2[part].T @ hidden + network.bias2[part]
    return sum(z * shape for z, shape in zip(coefficients, network.shapes[part], strict=True))


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"top_k": 5},
        {"parts": 1},
        {"parts": 40},
        {"appearance_width": 10},
        {"masks": "learned"},
        {"expression_code_width": 4},
        {"temperature_schedule": "learned", "residual_frequencies": 1, "learn_parts": True},
    ],
    ids=str,
)
def test_offsets_and_codes_are_the_equations_point_by_point_with_their_gradients(choices):
    deformation = woken(**choices)
    positions, driving, frame = some_points()
    leaves = [positions.requires_grad_(), driving.requires_grad_(), *deformation.parameters()]
    found = moved(deformation, positions, driving, frame)
    weights, index = deformation.assigner(positions)
    layer1, _, layer2, _ = deformation.features
    phi = frequency_encoding(positions, 2) @ layer1.weight.T + layer1.bias
    phi = (phi.relu() @ layer2.weight.T + layer2.bias).relu()
    mask = deformation.driving_mask
    if deformation.masks == "learned":
        mask = (1.1 / (1 + torch.exp(-deformation.gate_logits)) - 0.1).clamp_min(0)
    rows = []
    for n in range(len(positions)):
        e, r = driving[frame[n], :EXPRESSIONS], driving[frame[n], EXPRESSIONS:]
        code = e[:0] if deformation.expression_code is None else deformation.expression_code(e)
        columns = []
        for name, motion in (("offset", r), ("code", r[:3])):
            blended = matrix_of(deformation.whole[name], 0, motion)
            for weight, part in zip(weights[n], index[n], strict=True):
                signal = torch.cat([mask[part] * e, code])
                blended = blended + weight * matrix_of(deformation.local[name], part, signal)
            columns.append(blended @ phi[n])
        rows.append(torch.cat([OFFSET_SCALE * columns[0], columns[1]]))
    expected = torch.stack(rows)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    factor = torch.randn(found.shape)
    gradients = torch.autograd.grad((found * factor).sum(), leaves, allow_unused=True)
    wanted = torch.autograd.grad((expected * factor).sum(), leaves, allow_unused=True)
    for a, b in zip(gradients, wanted, strict=True):
        if b is not None:
            torch.testing.assert_close(a, b, atol=2e-5 * float(b.abs().max() + 1), rtol=1e-3)


@pytest.mark.parametrize("columns", [1, 7, 8, 9, 24])
@pytest.mark.parametrize(("points", "routes"), [(0, 2), (1, 1), (37, 3)])
def test_the_blended_product_is_an_einsum_with_its_gradients(columns, points, routes):
    torch.manual_seed(0)
    features, weights = torch.randn(points, 6), torch.rand(points, routes)
    matrices = torch.randn(4, 3, columns, 6)
    frame, index = torch.randint(3, (points,), dtype=torch.int32), torch.randint(4, (points, routes))
    leaves = [t.requires_grad_() for t in (matrices, features, weights)]
    found = blended_product(matrices, features, frame, weights, index)
    chosen = matrices[index, frame.long()[:, None]]
    expected = torch.einsum("nk,nr,nkcr->nc", weights, features, chosen)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    factor = torch.randn(found.shape)
    for a, b in zip(
        torch.autograd.grad((found * factor).sum(), leaves),
        torch.autograd.grad((expected * factor).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_a_point_costs_the_same_for_any_number_of_parts():
    """Products of matrices alone, in multiplications; what a frame costs is in both counts of points."""

    def of_blending(matrices, features, frame, weights, index, **_):
        return 2 * math.prod(index) * matrices[2] * features[1]

    def multiplications(parts: int, points: int) -> int:
        made = PartBlendshapes(WIDTH, parts)
        blending = {torch.ops.partnerface.blended_matrices: of_blending}
        with FlopCounterMode(display=False, custom_mapping=blending) as counter:
            made(*some_points(points))
        return counter.get_total_flops() // 2

    found = [(multiplications(parts, 200) - multiplications(parts, 100)) / 100 for parts in (8, 64, 256)]
    # Two layers, and of the matrices of two parts seven rows, whose 46 columns are filled up to 48.
    assert found == 3 * [39 * 46 + 46 * 46 + 2 * 7 * 48]


def test_the_heads_motion_drives_the_global_part_alone_and_shading_not_by_velocity():
    """What a turn changes is the same whether local parts are there or not, and whatever the face does."""
    deformation = woken()
    positions, _, frame = some_points()
    driving = torch.zeros(3, WIDTH)
    driving[1:, EXPRESSIONS : EXPRESSIONS + 3] = 0.4
    driving[2, -3:] = 1.0
    changes = []
    for gains, expression in ((None, 0.0), (torch.zeros(PARTS), 0.0), (None, 0.7)):
        deformation.scale_parts(gains)
        driving[:, :EXPRESSIONS] = expression
        still, turned, turning = (moved(deformation, positions, driving, 0 * frame + f) for f in range(3))
        changes.append(torch.cat([turned - still, turning - still]))
        assert (turned - still).abs().amin(0).max() > 0
        assert torch.equal(turning[:, 3:], turned[:, 3:])
    torch.testing.assert_close(changes[0], changes[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(changes[0], changes[2], atol=1e-5, rtol=1e-4)


def test_a_part_moves_by_its_own_expressions_alone():
    deformation = woken(top_k=1)
    positions, _, frame = some_points(300)
    parts = deformation.assigner(positions)[1][:, 0]
    in_part = parts == parts.mode().values
    assert not in_part.all()
    deformation.driving_mask.zero_()
    deformation.driving_mask[parts.mode().values, 2] = 1
    driving = torch.zeros(3, WIDTH)
    driving[1, 2], driving[2, 3] = 1.0, 1.0
    rest, own, other = (moved(deformation, positions, driving, 0 * frame + f) for f in range(3))
    assert torch.equal(((own - rest).abs().amax(1) > 0), in_part)
    assert torch.equal(other, rest)


def test_parts_add_up_to_the_whole_over_what_the_head_does():
    """Each factor acts on its own part; the global part stays."""
    deformation = woken(top_k=3)
    inputs = some_points()

    def with_gains(gains: Tensor | None) -> Tensor:
        deformation.scale_parts(gains)
        return moved(deformation, *inputs)

    of_head, plain = with_gains(torch.zeros(PARTS)), with_gains(None)
    alone = [with_gains(row) - of_head for row in torch.eye(PARTS)]
    assert all(part.abs().max() > 1e-4 for part in alone)
    torch.testing.assert_close(of_head + sum(alone), plain, atol=1e-5, rtol=1e-4)
    gains = torch.linspace(-1, 3, PARTS)
    expected = of_head + sum(g * part for g, part in zip(gains, alone, strict=True))
    torch.testing.assert_close(with_gains(gains), expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(with_gains(torch.ones(PARTS)), plain)


def test_points_or_shading_alone():
    inputs = some_points()
    both, points, shading = woken(), woken(appearance_width=0), woken(move_points=False)
    for some, name in ((points, "offset"), (shading, "code")):
        some.load_state_dict({k: v for k, v in both.state_dict().items() if k in some.state_dict()})
        assert list(some.local) == list(some.whole) == [name]
    expected = both(*inputs)
    assert points(*inputs).appearance is None
    torch.testing.assert_close(points(*inputs).offsets, expected.offsets)
    assert not shading(*inputs).offsets.any()
    torch.testing.assert_close(shading(*inputs).appearance, expected.appearance)
    with pytest.raises(UserError, match="move_points false and appearance_width 0"):
        woken(appearance_width=0, move_points=False)


def test_the_expression_code_reaches_parts_without_expressions_of_their_own():
    plain, coded = woken(), woken(expression_code_width=3)
    positions, driving, frame = some_points()
    for deformation, reached in ((plain, False), (coded, True)):
        deformation.driving_mask.zero_()
        changed = driving.clone()
        changed[:, :EXPRESSIONS] += 1
        before, after = (moved(deformation, positions, some, frame) for some in (driving, changed))
        assert bool((after != before).any()) is reached


def test_the_stricter_mask_is_the_share_of_a_part_that_moves(anny):
    """Against a loop over parts and expressions; a part without weight depends on nothing."""
    torch.manual_seed(0)
    head = canonical_head(anny, torch.rand(20, anny.num_expression))
    weights = torch.rand(len(head.used), 4).pow(4)
    weights[:, 3] = 0
    masks = driving_masks("moved_share", head, weights)
    strongest = head.expression.abs().amax(0)
    for part in range(3):
        for expression in range(0, anny.num_expression, 5):
            motion = (strongest[expression] * anny.expression_basis[expression, head.used]).norm(dim=1)
            share = weights[motion > 3e-4, part].sum() / weights[:, part].sum()
            assert bool(masks[part, expression]) == bool(share > 0.25), (part, expression)
    assert not masks[3].any()
    assert masks[:3].any()
    assert (masks[:3] <= driving_masks("any_vertex", head, weights)[:3]).all()
    assert driving_masks("none", head, weights).all()


def test_gates_close_where_they_do_not_help_and_stay_where_they_do():
    """Descent on a target that one of the expressions drives, with the loss of open gates."""
    torch.manual_seed(0)
    deformation = woken(parts=1, masks="learned", move_points=False, appearance_width=1)
    positions, _, _ = some_points(40)
    optimizer = torch.optim.Adam(deformation.parameters(), 0.05)
    for _ in range(250):
        driving = torch.zeros(8, WIDTH)
        driving[:, :EXPRESSIONS] = torch.rand(8, EXPRESSIONS)
        frame = torch.arange(40, dtype=torch.int32) % 8
        error = deformation(positions, driving, frame).appearance[:, 0] - driving[frame.long(), 2]
        optimizer.zero_grad()
        (error.square().mean() + 0.1 * deformation.driving_share()).backward()
        optimizer.step()
    gates = deformation.gates()[0]
    others = torch.cat([gates[:2], gates[3:]])
    assert gates[2] > 0.1
    assert (others == 0).sum() >= EXPRESSIONS // 2
    assert others.max() < gates[2] / 4
    assert woken().driving_share() is None


def finite_and_learning(deformation: PartBlendshapes, head) -> None:
    """Values and gradients are finite on the head, at signals of zero, of training and far outside."""
    disturb(deformation, 0.3)
    positions = head.in_cube(head.vertices[head.used[::40]]).requires_grad_()
    width = deformation.driving_width
    driving = torch.cat([torch.zeros(1, width), 50 * torch.eye(width)])
    frame = (torch.arange(len(positions)) % len(driving)).int()
    output = moved(deformation, positions, driving.requires_grad_(), frame)
    output.square().sum().backward()
    assert output.isfinite().all()
    for value in (positions, driving, *deformation.parameters()):
        assert value.grad is None or value.grad.isfinite().all()
    assert all(p.grad.any() for p in (deformation.local["offset"].shapes, deformation.whole["offset"].shapes))


@pytest.mark.parametrize("masks", ["any_vertex", "moved_share", "learned", "none"])
@pytest.mark.parametrize(
    "frames", ["zero expression everywhere", "one frame", "one expression", "still but for one"]
)
def test_clips_that_show_little(anny, masks, frames):
    shown = torch.zeros(1 if frames == "one frame" else 6, anny.num_expression)
    if frames == "one frame":
        shown[0] = 0.5
    elif frames != "zero expression everywhere":
        shown[3:, anny.expression_index("jawOpen")] = 1.0
    head = canonical_head(anny, shown)
    made = PartBlendshapes(anny.num_expression + MOTION_WIDTH, parts=40, hidden_width=8, masks=masks)
    made.adapt_to(head)
    assert made.assigner.spacing > 0
    finite_and_learning(made, head)


@pytest.mark.parametrize("masks", ["any_vertex", "moved_share"])
def test_more_parts_than_vertices_that_move(anny, masks):
    """They spread over the rest of the head; none lie in one place."""
    shown = torch.zeros(4, anny.num_expression)
    shown[2:, anny.expression_index("eyeBlinkLeft")] = 0.6
    head = canonical_head(anny, shown)
    moving = int((expression_motion(anny, shown)[head.used] > 1e-3).sum())
    parts = moving + 50
    made = PartBlendshapes(anny.num_expression + MOTION_WIDTH, parts=parts, hidden_width=8, masks=masks)
    made.adapt_to(head)
    distance = torch.cdist(made.assigner.centres, made.assigner.centres).fill_diagonal_(torch.inf)
    assert distance.min() > 1e-4
    finite_and_learning(made, head)


def test_more_parts_than_the_surface_has_vertices(anny):
    head = canonical_head(anny)
    head.used = head.used[:30]
    made = PartBlendshapes(anny.num_expression + MOTION_WIDTH, parts=31)
    with pytest.raises(UserError, match="parts is 31, but the head model has 30 vertices"):
        made.adapt_to(head)


def test_parts_that_nothing_drives_and_expressions_that_move_nothing(anny):
    """A mask of zero everywhere leaves the head's motion; an expression without a part moves no point."""
    head = canonical_head(anny, torch.rand(5, anny.num_expression))
    made = PartBlendshapes(anny.num_expression + MOTION_WIDTH, parts=40, hidden_width=8)
    made.adapt_to(head)
    made.driving_mask[:, 3] = 0
    made.driving_mask[7] = 0
    finite_and_learning(made, head)
    positions = head.in_cube(head.vertices[head.used[::40]])
    driving = torch.zeros(3, made.driving_width)
    driving[1, 3], driving[2, -1] = 1.0, 1.0
    rest, silent, turning = (moved(made, positions, driving, in_frame(positions, f)) for f in range(3))
    assert torch.equal(rest, silent)
    made.driving_mask.zero_()
    finite_and_learning(made, head)
    assert (turning != rest).any()
