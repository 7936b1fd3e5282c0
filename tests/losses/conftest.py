"""A rendering and a batch whose figures are easy to add up."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from partnerface.data.batches.datasets import RayBatch
from partnerface.rendering.rendered_rays import MethodOutput
from tests.contracts.loss_contract import exact_rendering


@pytest.fixture
def make_pair() -> Callable[..., tuple[MethodOutput, RayBatch]]:
    """Makes a random batch of 2 frames with 6 rays and the rendering, of one pass, that equals it."""

    def make() -> tuple[MethodOutput, RayBatch]:
        rendering, batch = exact_rendering()
        return replace(rendering, coarse=None), batch

    return make
