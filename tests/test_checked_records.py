"""The checker of the records' shapes is on: it refuses what does not fit, and leaves the rest alone."""

import pytest
import torch
from jaxtyping import TypeCheckError

from partnerface.cameras.pinhole import RayBundle
from partnerface.sampling.ray_sampler import RaySamples


def test_axes_of_one_name_have_one_length() -> None:
    origins, uv = torch.zeros(2, 5, 3), torch.zeros(2, 5, 2)
    RayBundle(origins, origins, uv)
    with pytest.raises(TypeCheckError, match="image_uv"):
        RayBundle(origins, origins, uv[:, :4])
    with pytest.raises(TypeCheckError, match="directions"):
        RayBundle(origins, origins[..., :2], uv)


def test_types_of_numbers_are_checked() -> None:
    depths, flags = torch.zeros(4, 3), torch.zeros(4, dtype=torch.bool)
    RaySamples(depths, depths, flags, flags)
    with pytest.raises(TypeCheckError, match="hit"):
        RaySamples(depths, depths, flags, flags.float())
