"""Steps in which frames have no points, or all of them: no waits, finite gradients, the numbers of a CPU."""

from functools import partial

import numpy as np
import pytest
import torch

from partnerface import load_avatar
from partnerface.avatar.method import AvatarMethod
from partnerface.benchmarks.method_under_test import OURS
from partnerface.cameras.pinhole import pixel_rays
from partnerface.skinning.nearest_surface import NearestSurface, PosedBvhs
from tests.cuda.pretended_report import REPORT

FRAMES, RAYS = 3, 40
CASES = {"no ray hits": (), "one frame has all points": (1,), "one frame has none": (0, 2)}
"""Frames whose rays meet the head; those of the others look away from it."""


def constant(value: float, *size, device=None, **_) -> torch.Tensor:
    """In place of random numbers."""
    shape = size if size and isinstance(size[0], int) else size[0]
    return torch.full(tuple(shape), value, device=device)


def hierarchies_of_a_device(
    self: NearestSurface, vertices: torch.Tensor, canonical: torch.Tensor
) -> PosedBvhs:
    """Those that `NearestSurface` searches on a GPU."""
    return self._hierarchies.posed(vertices, canonical, self.faces)


def step(avatar: AvatarMethod, hit: tuple[int, ...]) -> tuple[dict[str, torch.Tensor], int]:
    """What a training step renders and its gradients, on the CPU, and how often the host waited."""
    device = avatar.identity.device
    avatar.train().training_schedule(1.0)
    view = avatar.default_view().select([0] * FRAMES)
    size = torch.tensor([view.camera.width, view.camera.height])
    drawn = torch.from_numpy(np.random.default_rng(0).random((FRAMES, RAYS, 2), np.float32))
    rays = pixel_rays(view.camera, ((0.3 + 0.4 * drawn) * size).to(device))
    away = torch.ones(FRAMES, 1, 1)
    away[list(hit)] = -1
    rays.directions *= -away.to(device)
    index = torch.arange(FRAMES).to(device)
    avatar(rays, view, index)  # makes meshes that later steps only move
    REPORT.clear()
    output = avatar(rays, view, index)
    rendered = {name: value for name, value in vars(output.rays).items() if value is not None}
    sum(value.square().sum() for value in rendered.values()).backward()
    waits = REPORT.waits.total()
    learned = {name: p.grad for name, p in avatar.named_parameters() if p.grad is not None}
    return {name: value.detach().cpu() for name, value in (rendered | learned).items()}, waits


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", [OURS, "insta_like", "nerface"])
def test_a_step_is_that_of_the_cpu(cuda, fitted, monkeypatch, method, case):
    # A CPU draws numbers for what is evaluated only.
    for name, value in (("rand", 0.5), ("randn", 0.0)):
        monkeypatch.setattr(torch, name, partial(constant, value))
    # A CPU takes another of the faces of an edge, which carry points to different places in ``insta_like``.
    monkeypatch.setattr(NearestSurface, "_posed_hierarchies", hierarchies_of_a_device)
    expected, _ = step(load_avatar(fitted(method)), CASES[case])
    found, waits = step(load_avatar(fitted(method), device="cuda:0"), CASES[case])
    assert waits == 0
    # On a CPU what no point reaches has no gradient, on a device zeros.
    assert found.keys() >= expected.keys()
    for name, value in found.items():
        assert value.isfinite().all(), name
        reference = expected.get(name, torch.zeros_like(value))
        limit = 1e-3 * float(reference.abs().max().clamp_min(1e-2))
        torch.testing.assert_close(
            value, reference, atol=limit, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )
    opacity = found["head_opacity"]
    assert (opacity > 0.05).any(1).tolist() == [frame in CASES[case] for frame in range(FRAMES)]
