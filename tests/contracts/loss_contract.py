"""What every `Loss` must hold.

Inherit `LossContract` in a class named ``Test...``, override ``make`` to build yours of a weight, name in
``measures`` what its gradient must reach and run pytest on the file. ``ideal`` is the input of value zero.
"""

from __future__ import annotations

import math
from operator import attrgetter

import pytest
import torch
from torch import Tensor

from partnerface.data.batches.datasets import RayBatch
from partnerface.losses.loss import Loss, weighted_sum
from partnerface.rendering.rendered_rays import DeformationStatistics, MethodOutput, RenderedRays
from tests.views import random_view

FRAMES, RAYS, PARTS = 2, 6, 4


def exact_rendering() -> tuple[MethodOutput, RayBatch]:
    """A random batch of 2 frames with 6 rays and the rendering that equals it, all of it a leaf of gradients.

    Nothing is deformed, four parts are used alike, and a first pass is as good as the second.
    """
    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    batch = RayBatch(
        view=random_view(FRAMES),
        frame_index=torch.tensor([3, 5]),
        pixels=rand(FRAMES, RAYS, 2),
        rgb=rand(FRAMES, RAYS, 3),
        alpha=rand(FRAMES, RAYS),
        region=torch.zeros(FRAMES, RAYS, dtype=torch.uint8),
        background=rand(FRAMES, RAYS, 3),
        loss_weight=rand(FRAMES, RAYS),
    )

    def rays() -> RenderedRays:
        return RenderedRays(
            rgb=(batch.alpha[..., None] * batch.rgb).requires_grad_(),
            opacity=batch.alpha.clone().requires_grad_(),
            depth=torch.zeros(FRAMES, RAYS),
            head_opacity=batch.alpha.clone(),
        )

    statistics = DeformationStatistics(
        offset_size=torch.zeros(FRAMES, requires_grad=True),
        part_usage=torch.full((FRAMES, PARTS), 1 / PARTS, requires_grad=True),
        roughness=lambda: torch.zeros(FRAMES, requires_grad=True),
        entropy=lambda: torch.zeros(FRAMES, requires_grad=True),
        driving_share=torch.zeros((), requires_grad=True),
        slide=lambda: torch.zeros(FRAMES, RAYS, requires_grad=True),
    )
    return MethodOutput(rays(), statistics, coarse=rays()), batch


def spoil(rendering: MethodOutput, error: float) -> None:
    """Make everything in an exact rendering wrong by ``error``."""
    statistics = rendering.deformation
    with torch.no_grad():
        for rays in (rendering.rays, rendering.coarse):
            rays.rgb += error
            rays.opacity += error
        for name, value in statistics.values().items():
            if name != "part_usage":
                value += error
        statistics.part_usage += torch.tensor([error, -error, 0.0, 0.0])


class LossContract:
    """Override ``make``."""

    measures: tuple[str, ...] = ("rays.rgb",)
    """Tensors of the `MethodOutput` that the gradient of a wrong one must reach."""

    def make(self, weight: float) -> Loss:
        """A new one of this weight."""
        raise NotImplementedError("override make")

    def ideal(self) -> tuple[MethodOutput, RayBatch]:
        """A rendering that cannot be better, and its batch."""
        return exact_rendering()

    def test_zero_where_the_rendering_is_ideal(self):
        value = self.make(1.0)(*self.ideal())
        assert value.shape == ()
        assert value.item() == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("error", [0.0, 1e-4, 0.3])
    def test_gradient_is_finite_and_reaches_what_the_term_measures(self, error):
        rendering, batch = self.ideal()
        spoil(rendering, error)
        value = self.make(1.0)(rendering, batch)
        value.backward()
        for name in self.measures:
            gradient = attrgetter(name)(rendering).grad
            assert gradient.isfinite().all()
            if error:
                assert gradient.any(), name

    def test_a_worse_rendering_costs_more(self):
        costs = []
        for error in (0.0, 0.1, 0.2):
            rendering, batch = self.ideal()
            spoil(rendering, error)
            costs.append(self.make(1.0)(rendering, batch).item())
        assert costs[0] < costs[1] < costs[2]

    def test_the_weight_is_carried_and_not_applied(self):
        rendering, batch = self.ideal()
        spoil(rendering, 0.2)
        light, heavy = self.make(0.5), self.make(7.0)
        assert (light.weight, heavy.weight) == (0.5, 7.0)
        assert torch.equal(light(rendering, batch), heavy(rendering, batch))
        total, terms = weighted_sum({"mine": heavy}, rendering, batch)
        assert float(total.detach()) == pytest.approx(7 * float(terms["mine"].detach()))

    def test_inputs_are_left_as_they_are(self):
        rendering, batch = self.ideal()
        spoil(rendering, 0.2)
        before = {name: attrgetter(name)(rendering).detach().clone() for name in self.measures}
        target = batch.target().clone()
        assert math.isfinite(self.make(1.0)(rendering, batch).item())
        assert torch.equal(batch.target(), target)
        for name, value in before.items():
            assert torch.equal(attrgetter(name)(rendering), value)
