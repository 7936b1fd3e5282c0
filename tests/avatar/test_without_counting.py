"""Training as on a GPU, where no ray, sample or route is counted: the same numbers as on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from partnerface.avatar import canonical_map
from partnerface.cameras.pinhole import pixel_rays
from partnerface.data.view import View
from partnerface.deformation import part_networks
from partnerface.sampling import ray_sampler
from tests.avatar.test_methods import TestInstaLike as InstaLike
from tests.avatar.test_methods import TestLitPartBlendshapes as Lit
from tests.avatar.test_methods import TestPartBlendshapes as Blendshapes
from tests.avatar.test_methods import TestPartNetworks as Parts
from tests.avatar.test_methods import TestUniformSamplesOfAFrequencyField as UniformSamples
from tests.contracts.subjects import disturb, shared_head_model, tracked_sequence


def all_of_them(marked: Tensor) -> tuple[Tensor, bool]:
    return torch.arange(len(marked)), True


def step(avatar, view: View, pixels: Tensor) -> dict[str, Tensor]:
    """Rendering, statistics and gradients of one training step; some rays of the second frame look away."""
    torch.manual_seed(1)
    leaves = {name: getattr(view.head, name).clone() for name in ("expression", "rotation", "translation")}
    view = replace(view, head=replace(view.head, **{k: leaf.requires_grad_() for k, leaf in leaves.items()}))
    avatar.zero_grad()
    rays = pixel_rays(view.camera, pixels)
    rays.directions[1, ::2] *= -1
    output = avatar(rays, view)
    found = {f"rays.{name}": value for name, value in vars(output.rays).items() if value is not None}
    found |= {f"statistics.{name}": value for name, value in output.deformation.values().items()}
    sum(value.square().sum() for value in found.values()).backward()
    learned = [*avatar.named_parameters(), *leaves.items()]
    gradients = {name: leaf.grad for name, leaf in learned if leaf.grad is not None}
    return {name: value.detach() for name, value in found.items()} | gradients


@pytest.mark.parametrize("method", [Parts, Blendshapes, Lit, InstaLike, UniformSamples])
def test_a_step_in_which_everything_is_evaluated(method, monkeypatch):
    model = shared_head_model()
    sequence = tracked_sequence(model)
    views = View(sequence.camera, sequence.head, sequence.torso_motion).select([0, 5])
    torch.manual_seed(0)
    avatar = method().make(model)
    avatar.adapt_to(sequence)
    disturb(avatar, 0.05)
    avatar.train().training_schedule(1.0)
    pixels = 24 * torch.rand(2, 150, 2, generator=torch.Generator().manual_seed(0))
    expected = step(avatar, views, pixels)
    monkeypatch.setattr(ray_sampler, "chosen", all_of_them)
    monkeypatch.setattr(canonical_map, "chosen", all_of_them)
    networks = part_networks.LocalNetworks
    monkeypatch.setattr(networks, "of_routed_parts", networks.of_all_parts)
    found = step(avatar, views, pixels)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert value.isfinite().all(), name
        limit = 1e-4 * float(value.abs().max().clamp_min(1e-2))
        torch.testing.assert_close(found[name], value, atol=limit, rtol=1e-3, msg=name)
