"""What every `Deformation` must hold.

Inherit `DeformationContract` in a class named ``Test...``, override ``make`` to build yours for a length of
the driving signal and run pytest on the file. Set ``driven = False`` if the driving signal has no effect.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from partnerface.deformation.deformation import (
    CanonicalHead,
    Deformation,
    DeformedPoints,
    dense_part_weights,
)
from partnerface.deformation.driving_signal import MOTION_WIDTH
from partnerface.head_models.head_model import HeadModel
from tests.contracts.subjects import canonical_head, disturb, shared_head_model


class DeformationContract:
    """Override ``make``."""

    driven: bool = True
    """Whether offsets or appearance depend on the driving signal."""

    rounding: float = 1e-5
    """Largest difference that the order of sums may make, in offsets and appearance."""

    def make(self, driving_width: int) -> Deformation:
        """A new one, for driving signals of this length, that knows nobody yet."""
        raise NotImplementedError("override make")

    @pytest.fixture
    def head_model(self) -> HeadModel:
        return shared_head_model()

    @pytest.fixture
    def head(self, head_model) -> CanonicalHead:
        generator = torch.Generator().manual_seed(0)
        return canonical_head(head_model, torch.rand(20, head_model.num_expression, generator=generator))

    @pytest.fixture
    def fresh(self, head) -> Deformation:
        """Adapted to a person, not trained."""
        torch.manual_seed(0)
        made = self.make(head.expression.shape[1] + MOTION_WIDTH)
        made.adapt_to(head)
        return made

    @pytest.fixture
    def trained(self, fresh) -> Deformation:
        """In its second stage, with the weights of a training that went anywhere."""
        fresh.set_hard(False)
        fresh.set_progress(1.0)
        disturb(fresh, 0.3)
        return fresh

    def test_nothing_moves_at_the_start(self, fresh, head):
        for progress, hard in ((0.0, True), (0.5, False), (1.0, False)):
            fresh.set_progress(progress)
            fresh.set_hard(hard)
            assert not fresh(*_inputs(fresh, head)).offsets.any()

    def test_declared_widths_are_kept(self, trained, head):
        assert trained.driving_width == head.expression.shape[1] + MOTION_WIDTH
        deformed = trained(*_inputs(trained, head, 30))
        assert deformed.offsets.shape == (30, 3)
        assert (deformed.appearance is None) == (trained.appearance_width == 0)
        if deformed.appearance is not None:
            assert deformed.appearance.shape == (30, trained.appearance_width)
        assert deformed.part_weights.shape == deformed.part_index.shape
        assert 0 <= deformed.part_index.min() <= deformed.part_index.max() < trained.parts

    @pytest.mark.parametrize("hard", [True, False])
    def test_part_weights_sum_to_one_in_both_stages(self, trained, head, hard):
        trained.set_hard(hard)
        deformed = trained(*_inputs(trained, head))
        assert (deformed.part_weights >= 0).all()
        assert all(len(row.unique()) == len(row) for row in deformed.part_index)
        dense = dense_part_weights(deformed.part_weights, deformed.part_index, trained.parts)
        torch.testing.assert_close(dense.sum(1), torch.ones(len(dense)))
        if hard:
            assert (dense.amax(1) == 1).all()

    def test_driving_has_an_effect_where_declared_and_nowhere_else(self, trained, head):
        positions, driving, frame = _inputs(trained, head)
        first, second = trained(positions, driving, frame), trained(positions, -driving, frame)
        changed = any(bool((a != b).any()) for a, b in _values(first, second))
        assert changed is self.driven
        assert torch.equal(first.part_weights, second.part_weights)

    def test_gradients_are_finite_and_reach_the_weights(self, trained, head):
        positions, driving, frame = _inputs(trained, head, 500)
        positions.requires_grad_()
        driving.requires_grad_()
        deformed = trained(positions, driving, frame)
        total = sum(value.square().sum() for value, _ in _values(deformed, deformed))
        total = total + deformed.part_weights.square().sum()
        if total.requires_grad:
            total.backward()
        for name, parameter in [("positions", positions), ("driving", driving), *trained.named_parameters()]:
            assert parameter.grad is None or parameter.grad.isfinite().all(), name
        learned = [p for p in trained.parameters() if p.requires_grad]
        assert not learned or any(p.grad is not None and p.grad.any() for p in learned)

    def test_extremes_stay_finite(self, trained, head):
        """Far outside of the cube, all at one place, a signal of zero and one far beyond training."""
        positions, driving, frame = _inputs(trained, head)
        for place in (positions, 20 * positions - 10, torch.zeros_like(positions)):
            for signal in (0 * driving, 100 * driving):
                deformed = trained(place, signal, frame)
                assert all(a.isfinite().all() for a, _ in _values(deformed, deformed))
                assert deformed.part_weights.isfinite().all()

    def test_no_points(self, trained, head):
        _, driving, frame = _inputs(trained, head)
        deformed = trained(torch.zeros(0, 3), driving, frame[:0])
        assert deformed.offsets.shape == (0, 3)
        assert len(deformed.part_weights) == len(deformed.part_index) == 0
        if deformed.appearance is not None:
            assert deformed.appearance.shape == (0, trained.appearance_width)
        total = deformed.offsets.sum() + deformed.part_weights.sum()
        if total.requires_grad:
            total.backward()
        assert not any(p.grad is not None and p.grad.any() for p in trained.parameters())

    @pytest.mark.parametrize("chunk", [1, 7, 64])
    def test_points_in_chunks_are_the_points_at_once(self, trained, head, chunk):
        """Also without gradients, as pictures are rendered."""
        positions, driving, frame = _inputs(trained, head)
        whole = trained(positions, driving, frame)
        with torch.no_grad():
            split = zip(positions.split(chunk), frame.split(chunk), strict=True)
            pieces = [trained(piece, driving, of_piece) for piece, of_piece in split]
        dense = [dense_part_weights(d.part_weights, d.part_index, trained.parts) for d in (whole, *pieces)]
        torch.testing.assert_close(torch.cat(dense[1:]), dense[0], atol=1e-5, rtol=1e-4)
        for value, joined in _values(whole, _joined(pieces)):
            torch.testing.assert_close(joined, value, atol=self.rounding, rtol=1e-4)

    def test_points_of_several_frames_are_those_of_each_by_itself(self, trained, head):
        """Also where a frame has no point."""
        positions, driving, frame = _inputs(trained, head)
        driving = torch.cat([driving, 2 * driving[:1]])
        together = trained(positions, driving, frame)
        for number in range(3):
            of_frame = frame == number
            alone = trained(positions[of_frame], driving[[number]], 0 * frame[of_frame])
            for value, expected in _values(together, alone):
                torch.testing.assert_close(value[of_frame], expected, atol=self.rounding, rtol=1e-4)

    @pytest.mark.parametrize("progress", [0.1, 0.3, 1.0])
    def test_state_travels_with_the_checkpoint(self, trained, head, progress):
        """A checkpoint of a third of training is tested as it was, and resumes where it was."""
        trained.set_progress(progress)
        inputs = _inputs(trained, head)
        torch.manual_seed(1)
        loaded = self.make(trained.driving_width)
        loaded.load_state_dict(trained.state_dict())
        for _ in range(2):
            for found, expected in _values(loaded(*inputs), trained(*inputs)):
                assert torch.equal(found, expected)
            loaded.set_progress(progress)

    def test_a_head_model_without_expressions(self):
        """The shortest driving signal that there is: how the head is held, and how fast it turns."""
        torch.manual_seed(0)
        frame = torch.zeros(9, dtype=torch.int32)
        deformed = self.make(MOTION_WIDTH)(torch.rand(9, 3), torch.randn(1, MOTION_WIDTH), frame)
        assert all(a.isfinite().all() for a, _ in _values(deformed, deformed))

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_on_the_gpu_all_stays_there_and_agrees(self, trained, head):
        inputs = _inputs(trained, head)
        moved = copy.deepcopy(trained).to("cuda")
        found, expected = moved(*(value.cuda() for value in inputs)), trained(*inputs)
        assert found.part_weights.is_cuda
        assert found.part_index.is_cuda
        for value, reference in _values(found, expected):
            assert value.is_cuda
            torch.testing.assert_close(value.cpu(), reference, atol=1e-4, rtol=1e-3)


def _inputs(deformation: Deformation, head: CanonicalHead, count: int = 200) -> tuple[Tensor, ...]:
    """Positions ``[N, 3]`` around the head, driving signals ``[2, D]`` and each point's frame ``[N]``."""
    generator = torch.Generator().manual_seed(3)
    chosen = head.used[torch.randint(len(head.used), (count,), generator=generator)]
    positions = head.in_cube(head.vertices[chosen]) + 0.02 * torch.randn(count, 3, generator=generator)
    frame = torch.randint(2, (count,), generator=generator, dtype=torch.int32)
    return positions, torch.randn(2, deformation.driving_width, generator=generator), frame


def _values(first: DeformedPoints, second: DeformedPoints) -> list[tuple[Tensor, Tensor]]:
    """Offsets, and appearance codes if there are any, of two results."""
    pairs = [(first.offsets, second.offsets)]
    return pairs if first.appearance is None else [*pairs, (first.appearance, second.appearance)]


def _joined(pieces: list[DeformedPoints]) -> DeformedPoints:
    names = [name for name, value in vars(pieces[0]).items() if value is not None]
    joined = {name: torch.cat([getattr(piece, name) for piece in pieces]) for name in names}
    return DeformedPoints(**{"appearance": None, **joined})
