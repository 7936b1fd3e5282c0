"""A rendering and a batch whose figures are easy to add up."""

from collections.abc import Callable

import pytest
import torch

from partnerface.data.batches.ray_batch import RayBatch
from partnerface.rendering.volume_rendering import DeformationStatistics, RenderedRays, Rendering
from tests.views import random_view


@pytest.fixture
def make_pair() -> Callable[..., tuple[Rendering, RayBatch]]:
    """Makes a random batch of 2 frames with 6 rays and the rendering that equals it."""

    def make() -> tuple[Rendering, RayBatch]:
        generator = torch.Generator().manual_seed(0)

        def rand(*shape: int) -> torch.Tensor:
            return torch.rand(shape, generator=generator)

        batch = RayBatch(
            view=random_view(2),
            frame_index=torch.tensor([3, 5]),
            pixels=rand(2, 6, 2),
            rgb=rand(2, 6, 3),
            alpha=rand(2, 6),
            region=torch.zeros(2, 6, dtype=torch.uint8),
            background=rand(2, 6, 3),
            loss_weight=rand(2, 6),
        )
        rays = RenderedRays(
            rgb=(batch.alpha[..., None] * batch.rgb).requires_grad_(),
            opacity=batch.alpha.clone().requires_grad_(),
            depth=torch.zeros(2, 6),
            head_opacity=batch.alpha.clone(),
        )
        statistics = DeformationStatistics(
            offset_size=torch.zeros(2, requires_grad=True),
            offset_roughness=torch.zeros(2, requires_grad=True),
            part_usage=torch.full((2, 4), 0.25, requires_grad=True),
            part_entropy=torch.zeros(2, requires_grad=True),
        )
        return Rendering(rays, statistics), batch

    return make
