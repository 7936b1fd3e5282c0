"""Shading against closed forms."""

import math

import torch
from torch.nn import functional

from partnerface.data.synthetic.shading import (
    KEY_DIRECTION,
    harmonics,
    highlight,
    irradiance,
    mouth_occlusion,
)


def sphere(count):
    """Fibonacci lattice: almost uniform directions."""
    index = torch.arange(count) + 0.5
    z = 1 - 2 * index / count
    angle = math.pi * (1 + 5**0.5) * index
    radius = (1 - z * z).sqrt()
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle), z], 1)


def test_harmonics_are_orthogonal_over_the_sphere():
    basis = harmonics(sphere(20000))
    gram = basis.T @ basis / len(basis)
    off_diagonal = gram - torch.diag(gram.diagonal())
    assert off_diagonal.abs().max() < 2e-3
    # Mean squares of 1, y, xy and 3zz-1 over the sphere: 1, 1/3, 1/15, 4/5.
    expected = torch.tensor([1.0, 1 / 3, 1 / 15, 4 / 5])
    torch.testing.assert_close(gram.diagonal()[[0, 1, 4, 6]], expected, atol=2e-3, rtol=0)


def test_light_comes_from_above_and_the_left_and_never_runs_out():
    up, down, left, right = (
        irradiance(torch.tensor([n])).mean()
        for n in ([0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0])
    )
    assert up > down
    assert left > right
    assert irradiance(sphere(500)).min() > 0


def test_highlight_is_brightest_in_the_mirror_direction():
    key = functional.normalize(torch.tensor([KEY_DIRECTION]), dim=1)
    normals = sphere(4000)
    view = functional.normalize(torch.tensor([[-0.2, 0.1, 1.0]]), dim=1)
    lobe = highlight(normals, view.expand_as(normals), torch.full((4000,), 20.0))
    brightest = normals[lobe.argmax()]
    mirrored = 2 * (brightest @ key[0]) * brightest - key[0]
    assert (mirrored @ view[0]) > 0.99
    assert lobe.max() <= 1 + 1e-6


def test_the_mouth_darkens_inwards_and_when_it_closes():
    depth = torch.zeros(50, 3)
    depth[:, 2] = torch.linspace(-0.06, 0.03, 50)
    opened, closed = mouth_occlusion(depth, 1.0), mouth_occlusion(depth, 0.0)
    assert (opened.diff() >= 0).all()
    assert (opened >= closed).all()
    assert opened.max() <= 1
