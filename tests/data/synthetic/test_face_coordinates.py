"""Signed distance against dense outlines, the lip outline on the head model; noise on its lattice."""

import math

import torch

from partnerface.data.synthetic.face_coordinates import (
    face_coordinates,
    lip_outline,
    signed_distance,
    smooth_step,
    value_noise,
)
from partnerface.head_models.anny import AnnyHead


def test_signed_distance_of_a_fine_circle():
    angle = torch.arange(720) * (2 * math.pi / 720)
    circle = torch.stack([2 * torch.cos(angle) + 1, 2 * torch.sin(angle) - 3], 1)
    points = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)) * 3
    expected = (points - torch.tensor([1.0, -3.0])).norm(dim=1) - 2
    torch.testing.assert_close(signed_distance(points, circle), expected, atol=1e-4, rtol=0)


def test_signed_distance_of_a_concave_outline():
    outline = torch.tensor([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [2.0, 1.0], [0.0, 4.0]])
    points = torch.tensor([[2.0, 3.0], [2.0, 0.5], [0.5, 2.0], [5.0, 0.0], [-1.0, -1.0]])
    inside = [False, True, True, False, False]
    t = torch.linspace(0, 1, 4001)[:, None]
    dense = torch.cat([a + t * (b - a) for a, b in zip(outline, outline.roll(-1, 0), strict=True)])
    expected = torch.cdist(points, dense).amin(1)
    found = signed_distance(points, outline)
    torch.testing.assert_close(found.abs(), expected, atol=1e-3, rtol=0)
    assert (found < 0).tolist() == inside


def test_lip_outline_is_symmetric_and_surrounds_the_lips():
    model = AnnyHead()
    outline = lip_outline(model)
    mirrored = outline * torch.tensor([-1.0, 1.0])
    assert torch.cdist(outline, mirrored).amin(1).max() < 1e-3
    # The front teeth stand behind the lips; the tip of the nose and the chin are clear of them.
    points = face_coordinates(model)
    teeth = points[model.faces[model.part_faces("teeth_upper")].unique()]
    front = teeth[teeth[:, 2].argmax()]
    skin = points[model.faces[model.part_faces("skin")].unique()]
    nose = skin[skin[:, 2].argmax()]
    around = torch.stack([front[:2], nose[:2], nose[:2] - torch.tensor([0.0, 0.075])])
    inside = signed_distance(around, outline)
    assert inside[1] > 0.01
    assert inside[2] > 0.01
    assert abs(float(outline[:, 1].mean()) - float(front[1])) < 0.025


def test_midpoint_is_the_mean_of_its_corners():
    corners = torch.tensor([[float(x), float(y), float(z)] for x in (4, 5) for y in (-3, -2) for z in (0, 1)])
    at_corners = value_noise(corners, 3)
    assert at_corners.std() > 0.1
    torch.testing.assert_close(value_noise(corners.mean(0, keepdim=True), 3)[0], at_corners.mean())


def test_bounded_continuous_and_seeded():
    points = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) * 50
    noise = value_noise(points, 1)
    assert noise.abs().max() <= 1
    assert noise.std() > 0.2
    # The smooth step's slope is at most 1.5, and neighbours differ by at most 2.
    step = 1e-3
    assert (value_noise(points + step, 1) - noise).abs().max() < 3 * 1.5 * 2 * step * 1.1
    assert torch.equal(noise, value_noise(points, 1))
    assert not torch.allclose(noise, value_noise(points, 2))


def test_smooth_step_rises_and_falls():
    values = torch.tensor([-1.0, 0.0, 0.25, 0.5, 1.0, 7.0])
    expected = torch.tensor([0.0, 0.0, 0.15625, 0.5, 1.0, 1.0])
    torch.testing.assert_close(smooth_step(0.0, 1.0, values), expected)
    torch.testing.assert_close(smooth_step(1.0, 0.0, values), 1 - expected)
