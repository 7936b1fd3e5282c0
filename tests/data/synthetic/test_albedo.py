"""Pupil, iris and sclera at their angles; shading against closed forms."""

import math

import torch
from torch.nn import functional

from partnerface.data.synthetic.albedo import (
    ENAMEL,
    FLAT_ALBEDO,
    IRIS_ANGLE,
    KEY_DIRECTION,
    PUPIL,
    SCLERA,
    TOOTH_WIDTH,
    brow_coverage,
    eye_albedo,
    flat_albedo,
    harmonics,
    highlight,
    irradiance,
    mouth_occlusion,
    skin_albedo,
    teeth_albedo,
)
from partnerface.data.synthetic.subject import SUBJECTS
from partnerface.head_models.anny import AnnyHead


def at(angle):
    angle = torch.tensor(angle)
    return eye_albedo(
        0.012 * torch.stack([torch.sin(angle), 0 * angle, torch.cos(angle)])[None], SUBJECTS["b"]
    )[0]


def test_rings():
    torch.testing.assert_close(at(0.0), torch.tensor(PUPIL))
    torch.testing.assert_close(at(IRIS_ANGLE + 0.25), torch.tensor(SCLERA), atol=0.06, rtol=0)
    iris = at(0.30)
    assert iris[2] > iris[0]
    assert at(IRIS_ANGLE).mean() < 0.75 * iris.mean()


def test_gaps():
    x = torch.linspace(-2 * TOOTH_WIDTH, 2 * TOOTH_WIDTH, 401)
    column = torch.stack([x, torch.zeros_like(x), torch.zeros_like(x)], 1)
    dark = teeth_albedo(column)[:, 0] < 0.8 * ENAMEL[0]
    middles = torch.arange(-2, 3) * TOOTH_WIDTH
    assert dark[(x[:, None] - middles).abs().argmin(0)].all()
    assert 0.05 < dark.float().mean() < 0.35


def test_every_part_has_an_albedo():
    painted = {"skin", "eye_left", "eye_right", "teeth_upper", "teeth_lower", *FLAT_ALBEDO}
    assert set(AnnyHead().asset.part_names) <= painted
    for name, colour in FLAT_ALBEDO.items():
        points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(flat_albedo(name, points).mean(0), torch.tensor(colour), atol=0.02, rtol=0)


def test_brows_lie_above_the_eyes_on_both_sides():
    x = torch.linspace(-0.08, 0.08, 321)
    y = torch.linspace(-0.05, 0.06, 221)
    grid = torch.stack(torch.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    cover = brow_coverage(torch.cat([grid, torch.full((len(grid), 1), 0.02)], 1))
    hairy = grid[cover > 0.5]
    assert (hairy[:, 1] > 0.008).all()
    assert (hairy[:, 1] < 0.032).all()
    assert abs(float(hairy[:, 0].mean())) < 1e-3
    assert (hairy[:, 0].abs() > 0.008).all()


def test_cheeks_are_redder_than_the_forehead_and_lips_take_over():
    places = torch.tensor([[0.040, -0.038, 0.02], [0.0, 0.035, 0.026], [0.0, -0.07, 0.035]])
    jitter = 0.004 * torch.randn(400, 1, 3, generator=torch.Generator().manual_seed(0))
    points = (places + jitter).reshape(-1, 3)
    lips = torch.tensor([0.0, 0.0, 1.0]).repeat(400)
    albedo = skin_albedo(points, lips, SUBJECTS["b"]).reshape(400, 3, 3).mean(0)
    redness = albedo[:, 0] / albedo[:, 1]
    assert redness[0] > redness[1] + 0.05
    torch.testing.assert_close(albedo[2], torch.tensor(SUBJECTS["b"].lips), atol=0.02, rtol=0)


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
