"""The first pass pays for its own colours, and its gradient reaches only itself."""

import pytest
import torch

from partnerface.data.batches.datasets import RayBatch
from partnerface.errors import UserError
from partnerface.losses.photometric import CoarsePhotometric, Photometric
from partnerface.rendering.rendered_rays import MethodOutput, RenderedRays
from tests.views import random_view


def _rendered(seed: int) -> RenderedRays:
    generator = torch.Generator().manual_seed(seed)
    opacity = torch.rand(2, 5, generator=generator)
    rgb = (opacity[..., None] * torch.rand(2, 5, 3, generator=generator)).requires_grad_()
    return RenderedRays(rgb, opacity, opacity, opacity)


def test_it_is_the_photometric_loss_of_the_first_pass():
    coarse, fine = _rendered(0), _rendered(1)
    generator = torch.Generator().manual_seed(2)
    batch = RayBatch(
        view=random_view(2),
        frame_index=torch.arange(2),
        pixels=torch.zeros(2, 5, 2),
        rgb=torch.rand(2, 5, 3, generator=generator),
        alpha=torch.rand(2, 5, generator=generator),
        region=torch.zeros(2, 5, dtype=torch.uint8),
        background=torch.rand(2, 5, 3, generator=generator),
        loss_weight=torch.rand(2, 5, generator=generator),
    )
    loss = CoarsePhotometric(weight=0.5, delta=0.2)(MethodOutput(fine, coarse=coarse), batch)
    torch.testing.assert_close(loss, Photometric(delta=0.2)(MethodOutput(coarse), batch))
    loss.backward()
    assert coarse.rgb.grad.abs().sum() > 0
    assert fine.rgb.grad is None


def test_a_method_of_one_pass_is_refused(make_pair):
    with pytest.raises(UserError, match=r"--model\.losses\.coarse_photometric: .* take the loss out"):
        CoarsePhotometric()(*make_pair())
