"""Identity components against a principal component analysis written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from partnerface.head_models.anny_baking.identity import centre_on_head, identity_basis
from partnerface.head_models.anny_baking.source import JOINT_NAMES, AnnySource


@pytest.fixture
def source():
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = torch.zeros(30, len(JOINT_NAMES), dtype=torch.float64)
    weights[:, JOINT_NAMES.index("head")] = 1.0
    return AnnySource(
        [f"phenotype_basis:{i}" for i in range(8)],
        normal(30, 3),
        normal(8, 30, 3),
        normal(6, 3),
        normal(8, 6, 3),
        weights,
    )


def test_components_are_the_principal_ones(source):
    samples = torch.randn(500, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    samples = samples * torch.arange(1, 9)
    basis = identity_basis(source, samples, 4)
    heads = np.einsum("nc,cvd->nvd", samples, source.blendshapes).reshape(500, -1)
    centred = heads - heads.mean(0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    expected = values[:4, None] / np.sqrt(500) * axes[:4]
    found = torch.tensordot(basis.components, source.blendshapes, 1).flatten(1).numpy()
    signs = np.sign((found * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(found, signs * expected, atol=1e-8)
    np.testing.assert_allclose(basis.mean, samples.mean(0))
    assert (found[np.arange(4), np.abs(found).argmax(1)] > 0).all()


def test_the_torso_does_not_lead(source):
    """A shape that moves a torso far comes after one that moves the head a little."""
    source.skinning_weights[15:] = 0.0
    source.skinning_weights[15:, JOINT_NAMES.index("root")] = 1.0
    source.blendshapes[:] = 0.0
    source.blendshapes[0, 15:] = 3.0
    source.blendshapes[1, :15] = 1.0
    samples = torch.randn(500, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first = identity_basis(source, samples, 2).components[0]
    assert first[1].abs() > 5 * first[0].abs()


def test_centring_takes_the_head_out(source):
    centred = centre_on_head(source)
    anchors = [JOINT_NAMES.index(name) for name in ("head", "eye_left", "eye_right")]
    assert centred.joint_blendshapes[:, anchors].mean(1).abs().max() < 1e-12
    difference = source.blendshapes - centred.blendshapes
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference))
