"""Normals and relief of a surface that offsets fold, against closed forms and against a mesh."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from pytorch3d.transforms import random_rotations
from scipy.spatial import ConvexHull
from torch import Tensor
from torch.nn.functional import normalize

from partnerface.cameras.pinhole import Camera
from partnerface.deformation.surface_shape import RING, PosedNormals, along_surface, surface_shape, tangents

EXTENT = torch.tensor(0.3)
PERIOD, HEIGHT = 0.04, 0.002
"""Metres: a wave of 2 mm."""


def wave(x: Tensor) -> Tensor:
    return HEIGHT * torch.sin(2 * math.pi * x / PERIOD)


def shape_of_wave(positions: Tensor, normal: Tensor, along: Tensor, rotation: Tensor) -> Tensor:
    """Shape of a plane with a wave along a direction; skin at u + o(u) is seen at u."""

    def offsets_at(places: Tensor, frames: Tensor) -> Tensor:
        assert len(frames) == len(places)
        return -wave(places @ along * EXTENT)[:, None] * normal / EXTENT

    frame = torch.zeros(len(positions), dtype=torch.int32)
    normals = normal.expand_as(positions)
    return surface_shape(
        offsets_at, positions, offsets_at(positions, frame), normals, frame, rotation, EXTENT
    )


@pytest.mark.parametrize("seed", range(4))
def test_of_a_wave_on_a_plane_of_any_direction(seed):
    torch.manual_seed(seed)
    along, normal, _ = random_rotations(1)[0]
    rotation, positions = random_rotations(1), torch.rand(200, 3)
    facing, relief = shape_of_wave(positions, normal, along, rotation).split([3, 1], 1)
    phase = 2 * math.pi * positions @ along * EXTENT / PERIOD
    slope = 2 * math.pi * HEIGHT / PERIOD * torch.cos(phase)
    exact = normalize(normal - slope[:, None] * along, dim=1) @ rotation[0].T
    # A central difference over a tenth of the period is 2 % below the slope.
    torch.testing.assert_close(facing, exact, atol=0.01, rtol=0)
    # The mean over a ring of four: of a wave, exactly this share of its height is lost.
    first, second = tangents(normal[None])
    kept = sum(torch.cos(2 * math.pi * RING / PERIOD * (t[0] @ along)) for t in (first, second)) / 2
    torch.testing.assert_close(relief[:, 0], 1000 * HEIGHT * torch.sin(phase) * (1 - kept), atol=1e-3, rtol=0)


def test_a_shift_of_the_whole_surface_neither_tilts_nor_hollows_it():
    positions, normals = torch.rand(50, 3), normalize(torch.randn(50, 3), dim=1)
    frame, rotation = torch.randint(2, (50,), dtype=torch.int32), random_rotations(2)
    shift = torch.tensor([[0.01, -0.02, 0.03], [-0.02, 0.0, 0.01]])
    shape = surface_shape(
        lambda _, frames: shift[frames.long()],
        positions,
        shift[frame.long()],
        normals,
        frame,
        rotation,
        EXTENT,
    )
    expected = torch.stack([rotation[f] @ n for f, n in zip(frame.tolist(), normals, strict=True)])
    torch.testing.assert_close(shape[:, :3], expected)
    torch.testing.assert_close(shape[:, 3], torch.zeros(50), atol=1e-2, rtol=0)


def test_a_crease_is_below_zero_and_a_bulge_above():
    along, normal = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 0, 1])
    top = torch.tensor([[PERIOD / 4, 0, 0], [3 * PERIOD / 4, 0, 0]]) / EXTENT
    bulge, crease = shape_of_wave(top, normal, along, torch.eye(3)[None])[:, 3].tolist()
    assert bulge == pytest.approx(-crease, rel=1e-3)
    assert bulge > 0.02


def test_gradients_reach_offsets_and_stay_finite_where_nothing_faces_anywhere():
    """A point beyond the search has a normal of zero."""
    weight = torch.randn(3, 3, requires_grad=True)
    positions, normals = torch.rand(6, 3), torch.zeros(6, 3)
    normals[:4] = normalize(torch.randn(4, 3), dim=1)
    frame = torch.zeros(6, dtype=torch.int32)
    shape = surface_shape(
        lambda places, _: 0.01 * places @ weight,
        positions,
        0.01 * positions @ weight,
        normals,
        frame,
        torch.eye(3)[None],
        EXTENT,
    )
    shape.square().sum().backward()
    assert shape.isfinite().all()
    assert weight.grad.isfinite().all()
    assert weight.grad.any()


def test_tangents_are_perpendicular_for_every_normal():
    normals = torch.cat([torch.eye(3), -torch.eye(3), normalize(torch.randn(200, 3), dim=1)])
    first, second = tangents(normals)
    frames = torch.stack([first, second, normals], 2)
    torch.testing.assert_close(frames.transpose(1, 2) @ frames, torch.eye(3).expand(len(normals), 3, 3))


def test_along_the_surface_is_what_tangents_see_of_an_offset():
    normals, offsets = normalize(torch.randn(50, 3), dim=1), torch.randn(50, 3)
    first, second = tangents(normals)
    expected = sum((offsets * t).sum(1, keepdim=True) * t for t in (first, second))
    torch.testing.assert_close(along_surface(offsets, normals), expected)


def test_normals_of_a_turned_sphere_before_a_turned_camera():
    """On a sphere the normal is the place itself, in whatever axes."""
    torch.manual_seed(0)
    height, turn = torch.linspace(-1, 1, 1500), torch.arange(1500) * math.pi * (3 - math.sqrt(5))
    ring = (1 - height.square()).sqrt()
    sphere = torch.stack([ring * turn.cos(), ring * turn.sin(), height], 1)
    faces = torch.from_numpy(ConvexHull(sphere.numpy()).simplices).long()
    inwards = torch.linalg.det(sphere[faces]) < 0
    faces[inwards] = faces[inwards].flip(1)
    head, towards = random_rotations(2), random_rotations(2)
    posed = SimpleNamespace(vertices=sphere @ head.transpose(1, 2) + 0.3, head_rotation=head)
    camera = Camera.static(2, 100, 32, 32)
    camera.camera_to_world[:, :, :3] = towards
    found = PosedNormals.of(posed, faces, camera)
    corners, frame = faces[::7], (torch.arange(len(faces[::7])) % 2).int()
    places = normalize(torch.rand(len(corners), 3), p=1, dim=1)
    expected = normalize((sphere[corners] * places[..., None]).sum(1), dim=1)
    torch.testing.assert_close(found.at(corners, places, frame), expected, atol=0.02, rtol=0)
    in_camera = torch.einsum("fji,fjk,nk->fni", towards, head, sphere)
    torch.testing.assert_close(found.normals, in_camera, atol=0.02, rtol=0)
