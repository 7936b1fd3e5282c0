"""Dilation against a maximum filter."""

import pytest
import torch
from torch.nn import functional

from partnerface.meshes.dilation import dilate


@pytest.mark.parametrize("radius", [1, 2, 3, 4, 5, 8, 40])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(33, 70), (9, 14, 11), (2, 3, 1)])
def test_dilation_is_a_maximum_filter(radius, share, shape):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(radius)) < share
    before, values = mask.clone(), mask[None, None].float()
    pool = functional.max_pool2d if len(shape) == 2 else functional.max_pool3d
    if radius > min(shape):  # more padding than torch pools with
        far = functional.pad(values, (radius,) * 2 * len(shape))
        expected = pool(far, 2 * radius + 1, stride=1)[0, 0] > 0
    else:
        expected = pool(values, 2 * radius + 1, stride=1, padding=radius)[0, 0] > 0
    assert torch.equal(dilate(mask, radius), expected)
    assert torch.equal(dilate(mask.byte(), radius), expected.byte())
    assert torch.equal(mask, before)


def test_a_single_cell_has_no_neighbours():
    assert dilate(torch.ones(1, 1, 1, dtype=torch.uint8)).item() == 1
