"""LPIPS of patches, against a slow one on the pictures that the patches were cut from."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from partnerface.data.batches.datasets import RayBatch
from partnerface.errors import UserError
from partnerface.losses import perceptual
from partnerface.losses.loss import weighted_sum
from partnerface.losses.lpips_network import LoadedLPIPS
from partnerface.losses.perceptual import Perceptual
from partnerface.losses.photometric import Photometric
from partnerface.rendering.rendered_rays import MethodOutput, RenderedRays
from tests.contracts.loss_contract import LossContract, exact_rendering
from tests.losses.alexnet_twin import random_features, slow_twin
from tests.views import random_view

SIDE, OTHERS = 16, 5


pytestmark = pytest.mark.usefixtures("random_lpips")


def exact_patches(side: int = SIDE) -> tuple[MethodOutput, RayBatch]:
    """Two frames of a random patch and some more rays, and the rendering that equals them."""
    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(2, side**2 + OTHERS, *shape, generator=generator)

    weights = torch.ones(2, side**2 + OTHERS)
    regions = torch.zeros_like(weights, dtype=torch.uint8)
    values = rand(2), rand(3), rand(), regions, rand(3), weights
    batch = RayBatch(random_view(2), torch.tensor([3, 5]), *values, patch_side=side)
    rgb = (batch.alpha[..., None] * batch.rgb).requires_grad_()
    rays = RenderedRays(rgb, batch.alpha.clone().requires_grad_(), weights, batch.alpha)
    return replace(exact_rendering()[0], rays=rays), batch


class TestPerceptual(LossContract):
    measures = ("rays.rgb", "rays.opacity")

    def make(self, weight: float) -> Perceptual:
        return Perceptual(weight)

    def ideal(self) -> tuple[MethodOutput, RayBatch]:
        return exact_patches()


@pytest.mark.parametrize(("side", "enlargement", "seen"), [(16, 2, 32), (32, 1, 32), (12, 2, 31)])
def test_is_the_mean_lpips_of_the_enlarged_patches(side, enlargement, seen):
    rendered, batch = exact_patches(side)
    with torch.no_grad():
        rendered.rays.rgb += 0.2 * torch.randn(
            rendered.rays.rgb.shape, generator=torch.Generator().manual_seed(1)
        )
    expected = []
    for frame in range(2):
        pictures = torch.zeros(2, 3, side, side)
        for y in range(side):
            for x in range(side):
                ray = side * y + x
                rgb, opacity = rendered.rays.rgb[frame, ray], rendered.rays.opacity[frame, ray]
                alpha, behind = batch.alpha[frame, ray], batch.background[frame, 0]
                pictures[0, :, y, x] = rgb.detach() + (1 - opacity.detach()) * behind
                pictures[1, :, y, x] = alpha * batch.rgb[frame, ray] + (1 - alpha) * behind
        expected.append(
            slow_twin(random_features(), *functional.interpolate(pictures, (seen, seen), mode="bilinear"))
        )
    found = Perceptual(enlargement=enlargement)(rendered, batch).item()
    assert found == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_only_patches_are_learned_from():
    rendered, batch = exact_patches()
    with torch.no_grad():
        rendered.rays.rgb += 0.1
    Perceptual()(rendered, batch).backward()
    gradient = rendered.rays.rgb.grad
    assert gradient[:, : SIDE**2].any(-1).all()
    assert not gradient[:, SIDE**2 :].any()


def test_a_flat_patch_has_a_finite_gradient():
    """Features that are 0 everywhere have no direction."""
    rendered, batch = exact_patches()
    with torch.no_grad():
        for values in (rendered.rays.rgb, rendered.rays.opacity, batch.rgb, batch.alpha):
            values.zero_()
        batch.background.zero_()
        rendered.rays.rgb[0] += 1e-3
    Perceptual()(rendered, batch).backward()
    assert rendered.rays.rgb.grad.isfinite().all()


def test_without_patches_or_weights_it_is_left_out(monkeypatch):
    rendered, batch = exact_patches()
    losses = {"photometric": Photometric(), "perceptual": Perceptual()}
    without = replace(batch, patch_side=0)
    assert weighted_sum(losses, rendered, batch)[1].keys() == losses.keys()
    assert weighted_sum(losses, rendered, without)[1].keys() == {"photometric"}
    with pytest.raises(UserError, match=r"model\.losses: .* patches"):
        weighted_sum({"perceptual": Perceptual()}, rendered, without)
    monkeypatch.setattr(perceptual, "load_lpips", lambda fetch: LoadedLPIPS(None, "no weights"))
    assert weighted_sum(losses, rendered, batch)[1].keys() == {"photometric"}
    assert losses["perceptual"].missing() == "no weights"
    with pytest.raises(UserError, match=r"model\.losses\.perceptual: no weights"):
        Perceptual()(rendered, batch)
