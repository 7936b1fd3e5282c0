"""What holds for part, global and no deformation alike, and what sets them apart."""

import copy
from collections.abc import Callable

import pytest
import torch

from partnerface.deformation.deformation import OFFSET_SCALE, Deformation
from partnerface.deformation.global_deformation import GlobalDeformation, NoDeformation
from partnerface.deformation.part_blendshapes import PartBlendshapes
from partnerface.deformation.part_networks import PartNetworks
from tests.contracts.deformation_contract import DeformationContract
from tests.contracts.subjects import in_frame

EVERY_CHOICE = {"temperature_schedule": "learned", "residual_frequencies": 2, "windowed_frequencies": True}
MAKERS: dict[str, Callable[..., Deformation]] = {
    "parts": lambda width, **k: PartNetworks(width, parts=6, top_k=2, hidden_width=8, **k),
    "all parts": lambda width, **k: PartNetworks(width, parts=4, top_k=4, hidden_width=8, **k),
    "every choice": lambda width, **k: PartNetworks(
        width, parts=4, top_k=4, hidden_width=8, **EVERY_CHOICE, **k
    ),
    "global": lambda width, **k: GlobalDeformation(width, hidden_width=8, **k),
}


class TestParts(DeformationContract):
    def make(self, driving_width: int) -> PartNetworks:
        return MAKERS["parts"](driving_width)

    def test_no_appearance_at_the_start(self, fresh, head):
        positions = head.in_cube(head.vertices[head.used])
        driving = torch.randn(1, fresh.driving_width)
        assert not fresh(positions, driving, in_frame(positions)).appearance.any()


class TestAllParts(DeformationContract):
    def make(self, driving_width: int) -> PartNetworks:
        return MAKERS["all parts"](driving_width)


class TestEveryChoice(DeformationContract):
    def make(self, driving_width: int) -> PartNetworks:
        return MAKERS["every choice"](driving_width)


class TestAnnealedParts(DeformationContract):
    def make(self, driving_width: int) -> PartNetworks:
        return PartNetworks(driving_width, parts=5, temperature_schedule="annealed", hidden_width=8)


class TestPartsThatStayAtLandmarks(DeformationContract):
    def make(self, driving_width: int) -> PartNetworks:
        choices = {"placement": "landmarks", "learn_parts": False, "appearance_width": 0}
        return PartNetworks(driving_width, parts=12, top_k=4, hidden_width=8, **choices)


class TestBlendshapes(DeformationContract):
    def make(self, driving_width: int) -> PartBlendshapes:
        return PartBlendshapes(driving_width, parts=20, hidden_width=8, shapes=3, driving_hidden_width=5)

    def test_no_appearance_at_the_start(self, fresh, head):
        positions = head.in_cube(head.vertices[head.used])
        driving = torch.randn(1, fresh.driving_width)
        assert not fresh(positions, driving, in_frame(positions)).appearance.any()


class TestOneBlendshapePart(DeformationContract):
    def make(self, driving_width: int) -> PartBlendshapes:
        return PartBlendshapes(
            driving_width, parts=1, hidden_width=8, appearance_width=0, expression_code_width=2
        )


class TestBlendshapesOfAppearance(DeformationContract):
    def make(self, driving_width: int) -> PartBlendshapes:
        choices = {"move_points": False, "appearance_width": 11, "masks": "moved_share"}
        return PartBlendshapes(driving_width, parts=12, top_k=5, hidden_width=7, **choices)


class TestGlobal(DeformationContract):
    def make(self, driving_width: int) -> GlobalDeformation:
        return MAKERS["global"](driving_width)

    def test_no_appearance_at_the_start(self, fresh, head):
        positions = head.in_cube(head.vertices[head.used])
        driving = torch.randn(1, fresh.driving_width)
        assert not fresh(positions, driving, in_frame(positions)).appearance.any()


class TestNone(DeformationContract):
    driven = False

    def make(self, driving_width: int) -> NoDeformation:
        return NoDeformation(driving_width)


def part_deformation(deformation: Deformation) -> PartNetworks:
    """The one that has the networks."""
    return getattr(deformation, "whole_head", deformation)


def wake(deformation: Deformation) -> None:
    for parameter in part_deformation(deformation).networks.parameters():
        torch.nn.init.normal_(parameter)


def in_two_frames(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random driving signals ``[2, 5]`` and the frames of points, in turns."""
    return torch.randn(2, 5), (torch.arange(count) % 2).int()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("appearance_width", [0, 4])
def test_appearance_has_the_promised_width(name, appearance_width):
    torch.manual_seed(0)
    deformation = MAKERS[name](5, appearance_width=appearance_width)
    deformed = deformation(torch.rand(9, 3), *in_two_frames(9))
    assert deformation.appearance_width == appearance_width
    assert (deformed.appearance is None) == (appearance_width == 0)
    if appearance_width:
        assert deformed.appearance.shape == (9, appearance_width)


@pytest.mark.parametrize("name", MAKERS)
def test_driving_moves_points_by_the_stated_scale(name):
    torch.manual_seed(0)
    deformation = MAKERS[name](5)
    wake(deformation)
    positions, driving = torch.rand(20, 3), torch.tensor([[0.0], [1.0]]).expand(2, 5)
    first, second = (deformation(positions, driving, in_frame(positions, f)).offsets for f in (0, 1))
    assert ((first - second).abs().amax(1) > 1e-6).all()
    torch.nn.init.zeros_(part_deformation(deformation).networks.weight3)
    torch.nn.init.ones_(part_deformation(deformation).networks.bias3)
    offsets = deformation(positions, driving, in_frame(positions)).offsets
    torch.testing.assert_close(offsets, torch.full((20, 3), OFFSET_SCALE))


@pytest.mark.parametrize("name", MAKERS)
def test_gradient_is_finite_and_reaches_every_weight(name):
    torch.manual_seed(0)
    deformation = MAKERS[name](5)
    part_deformation(deformation).place_parts(torch.rand(deformation.parts, 3))
    wake(deformation)
    positions = torch.rand(500, 3, requires_grad=True)
    driving, frame = in_two_frames(500)
    driving.requires_grad_()
    deformed = deformation(positions, driving, frame)
    (deformed.offsets.sum() + deformed.appearance.square().sum()).backward()
    assert driving.grad.abs().min() > 0
    assert positions.grad.isfinite().all()
    for parameter_name, parameter in deformation.named_parameters():
        assert parameter.grad.isfinite().all(), parameter_name
        # One part alone always weighs one, so its place is of no account.
        assert parameter.grad.any() or (name == "global" and "assigner" in parameter_name), parameter_name


@pytest.mark.parametrize("name", MAKERS)
def test_points_follow_the_velocity_and_shading_knows_nothing_of_it(name):
    torch.manual_seed(0)
    deformation = MAKERS[name](5)
    wake(deformation)
    positions, driving = torch.rand(20, 3), torch.randn(5)
    frames = torch.stack([driving * torch.tensor([1, 1, 0, 0, 0]), driving, driving])
    frames[2, :2] += 1
    still, turning, hot = (deformation(positions, frames, in_frame(positions, f)) for f in range(3))
    assert (still.offsets - turning.offsets).abs().amax(1).min() > 1e-4
    assert torch.equal(still.appearance, turning.appearance)
    assert (hot.appearance != turning.appearance).any()


def test_a_single_part_is_the_global_deformation():
    torch.manual_seed(0)
    one = PartNetworks(5, parts=1, hidden_width=8, local_driving=False)
    whole = GlobalDeformation(5, hidden_width=8)
    wake(one)
    whole.whole_head.load_state_dict(one.state_dict())
    inputs = torch.rand(20, 3), *in_two_frames(20)
    assert torch.equal(one(*inputs).offsets, whole(*inputs).offsets)


def test_hard_and_soft_agree_far_inside_a_part():
    torch.manual_seed(0)
    deformation = PartNetworks(parts=4, temperature=0.01, top_k=4, hidden_width=8, driving_width=5)
    deformation.place_parts(
        torch.tensor([[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])
    )
    wake(deformation)
    positions = deformation.assigner.centres.detach() + 0.05 * torch.rand(4, 3)
    inputs = positions, *in_two_frames(4)
    soft = deformation(*inputs).offsets
    deformation.set_hard(True)
    torch.testing.assert_close(deformation(*inputs).offsets, soft, atol=1e-6, rtol=0)


def test_the_interface_itself_deforms_nothing():
    with pytest.raises(TypeError, match="abstract class Deformation"):
        Deformation()(torch.rand(1, 3), *in_two_frames(1))


def test_a_fixed_partition_gets_no_gradient_and_its_networks_do():
    torch.manual_seed(0)
    fixed = PartNetworks(parts=4, driving_width=5, learn_parts=False)
    torch.nn.init.normal_(fixed.networks.weight3)
    deformed = fixed(torch.rand(50, 3), *in_two_frames(50))
    (deformed.offsets.square().sum() + deformed.part_weights.square().sum()).backward()
    assert all(p.grad is None for p in fixed.assigner.parameters())
    assert fixed.networks.weight1.grad.abs().sum() > 0


def test_choices_that_are_off_leave_no_trace():
    """Neither in the checkpoint nor in the random numbers: what was trained before loads and repeats."""
    torch.manual_seed(0)
    plain = PartNetworks(parts=4, driving_width=5, local_driving=False)
    after_plain = torch.rand(1)
    assert set(plain.state_dict()) == {
        *(f"assigner.{name}" for name in ("centres", "log_sizes", "biases", "spacing")),
        *(f"networks.{name}" for name in ("weight1", "weight2", "weight3", "bias1", "bias2", "bias3")),
        *(f"networks.code_{name}" for name in ("driving_weight", "weight", "bias")),
        "networks.driving_weight",
    }
    torch.manual_seed(0)
    chosen = PartNetworks(parts=4, driving_width=5, **EVERY_CHOICE)
    assert torch.equal(torch.rand(1), after_plain)
    wake(plain)
    chosen.networks.load_state_dict(plain.networks.state_dict())
    inputs = torch.rand(50, 3), *in_two_frames(50)
    assert torch.equal(chosen(*inputs).offsets, plain(*inputs).offsets)


def test_octaves_come_in_one_after_the_other():
    """At the start a network sees the place alone; a change of an octave's weights tells if it is open."""
    torch.manual_seed(0)
    deformation = PartNetworks(parts=1, num_frequencies=4, driving_width=5, windowed_frequencies=True)
    wake(deformation)
    inputs = torch.rand(30, 3), *in_two_frames(30)
    opened = []
    for progress in (0.0, 0.125, 0.25, 0.375, 0.5, 1.0):
        deformation.set_progress(progress)
        before = deformation(*inputs).offsets
        felt = 0
        for octave in range(4):
            changed = copy.deepcopy(deformation)
            with torch.no_grad():
                changed.networks.weight1[:, 3 + octave :: 4] += 1
            felt += not torch.equal(changed(*inputs).offsets, before)
        opened.append(felt)
    assert opened == [0, 1, 2, 3, 4, 4]
