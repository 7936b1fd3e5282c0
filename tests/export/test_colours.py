"""Colours of the surface, against a field whose colour is the canonical position."""

import math

import numpy as np
import pytest
import torch

from partnerface.export.head_colours import HeadColours, exposure, revealing_views, spread_over
from partnerface.export.head_mesh import head_mesh
from partnerface.export.surface_colours import PosedSurface, surface_colours, within_cone
from partnerface.export.texture import baked_texture
from partnerface.meshes.normals import SurfacePoints, spread_points
from tests.export.conftest import SHELL_M


@pytest.fixture(scope="module")
def points(avatar, views):
    vertices = avatar.head_model(views.head.select([0])).vertices[0]
    return spread_points(vertices, avatar.head_model.faces[avatar.surface], 0.02)


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_a_points_colour_is_that_of_its_own_canonical_place(avatar, views, points, frame) -> None:
    """A ray ends where it enters the shell, straight above its point, in any pose."""
    view = views.select([frame])
    surface = PosedSurface.of(avatar, view)
    found = surface_colours(avatar, surface, points)
    canonical = avatar.place_surface()
    place = found.rgb * avatar.cube.extent + avatar.cube.low
    distance = (place - points.of(canonical)).norm(dim=1)
    free = surface.clearance(avatar, points)
    open_air = free > 0.03
    assert open_air.float().mean() > 0.5
    # No farther than the shell is thick and the samples apart; behind an ear the next shell is nearer.
    assert (distance[open_air] < SHELL_M + 0.004).float().mean() > 0.98
    assert (found.offset[open_air] - SHELL_M).abs().quantile(0.9) < 0.003
    assert (found.opacity[open_air] > 0.99).all()


def test_rays_at_once_are_those_of_samples_that_are_all_evaluated(avatar, views, points, monkeypatch) -> None:
    """On a GPU five times as many were tried, as in pictures that interpolate most samples."""
    kind, sizes = type(avatar), []
    sample = kind.sample

    def noted(self, rays, frames):
        sizes.append(rays.directions.shape[1])
        return sample(self, rays, frames)

    monkeypatch.setattr(kind, "sample", noted)
    monkeypatch.setattr(kind, "rays_at_once", lambda self, device, exact=False: 300 if exact else 10**6)
    surface_colours(avatar, PosedSurface.of(avatar, views.select([0])), points)
    assert max(sizes) == 300
    assert sum(sizes) == len(points.corners)


def test_what_is_hidden_takes_the_colours_around_it(avatar) -> None:
    """The back of the head is not a mirror of its own positions; the face is."""
    views = revealing_views(avatar)
    surface = PosedSurface.of(avatar, views[0])
    faces = avatar.head_model.faces[avatar.surface & avatar.head_model.part_faces("skin")]
    points = spread_points(surface.vertices, faces, 0.03)
    rgb = HeadColours(avatar, views).at(points).rgb
    canonical = points.of(avatar.place_surface())
    error = (rgb * avatar.cube.extent + avatar.cube.low - canonical).norm(dim=1)
    normal = surface.at(points)[1] @ surface.axes
    face, back = normal[:, 2] > 0.8, (normal[:, 2] < -0.9) & (canonical[:, 2] < -0.03)
    assert error[face].quantile(0.75) < SHELL_M + 0.005
    assert error[back].median() > 0.02


def test_exposure_is_the_cosine_to_the_nearest_direction_of_sight(avatar, views) -> None:
    """At the tip of the nose nothing is in the way: the closed form of a convex place."""
    surface = PosedSurface.of(avatar, views.select([0]))
    tip = ((surface.vertices - surface.vertices.mean(0)) @ surface.axes[:, 2]).argmax()
    point = SurfacePoints(tip.repeat(1, 3), torch.tensor([[1.0, 0, 0]]))
    normal = surface.at(point)[1][0] @ surface.axes
    angles = [(0.0, 0.0)] + [(yaw, pitch) for yaw in (-0.6, -0.3, 0.3, 0.6) for pitch in (-0.25, 0, 0.25)]
    directions = [
        torch.tensor([math.sin(yaw) * math.cos(pitch), -math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
        for yaw, pitch in angles
    ]
    best = max(float(normal @ direction) for direction in directions)
    assert float(exposure(avatar, surface, point)) == pytest.approx(best, abs=1e-4)


def test_directions_are_turned_into_the_cone_along_great_circles() -> None:
    axis = torch.tensor([0.0, 0.6, 0.8])
    directions = torch.nn.functional.normalize(
        torch.randn(500, 3, generator=torch.Generator().manual_seed(0)), dim=1
    )
    found = within_cone(torch.cat([directions, axis[None], -axis[None]]), axis, 0.35)
    angle = torch.acos((found @ axis).clamp(-1, 1))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(502), atol=1e-5, rtol=0)
    assert angle.max() < 0.35 + 1e-3
    before = torch.acos((directions @ axis).clamp(-1, 1))
    torch.testing.assert_close(found[:500][before < 0.35], directions[before < 0.35])
    # In one plane with the axis and the direction before.
    volume = torch.linalg.det(torch.stack([found[:500], directions, axis.expand(500, 3)], 1))
    assert volume.abs().max() < 1e-4


def test_spreading_solves_laplaces_equation_on_a_strip() -> None:
    """Known at both ends of a ladder of triangles, the values between are linear."""
    count = 12
    low, high = torch.arange(count - 1), torch.arange(1, count)
    # A tube of square section: every vertex of a ring has the same neighbours.
    rings = torch.arange(count * 4).view(count, 4)
    faces = []
    for k in range(4):
        a, b = rings[low, k], rings[low, (k + 1) % 4]
        c, d = rings[high, k], rings[high, (k + 1) % 4]
        faces += [torch.stack([a, b, c], 1), torch.stack([b, d, c], 1)]
    values, trust = torch.zeros(count * 4 + 1, 1), torch.zeros(count * 4 + 1)
    values[rings[0]], values[rings[-1]], values[-1] = 1.0, 3.0, 7.0
    trust[rings[0]] = trust[rings[-1]] = 1.0
    found = spread_over(values, trust, torch.cat(faces))
    expected = torch.linspace(1, 3, count)[:, None].expand(count, 4).reshape(-1)
    torch.testing.assert_close(found[:-1, 0], expected, atol=0.02, rtol=0)
    assert float(found[-1]) == 7.0, "a part that is not trusted anywhere keeps its values"


def test_the_texture_holds_each_faces_colour(avatar) -> None:
    head_model = avatar.head_model
    mesh = head_mesh(head_model, avatar.surface)
    texture = baked_texture(avatar, mesh, 128)
    texels = mesh.texels(128)
    expected = texels.interpolate(avatar.place_surface()[mesh.vertex], mesh.faces)
    found = torch.tensor(texture / 255)[texels.mask].float() * avatar.cube.extent + avatar.cube.low
    normals = texels.interpolate(mesh.normals(avatar.place_surface()), mesh.faces)
    skin = mesh.parts[texels.faces[texels.mask]] == head_model.asset.part_names.index("skin")
    front = skin & (normals[:, 2] > 0.8)
    assert front.sum() > 100
    # The shell, a texel's quantum of 1/255 of the cube, and the samples' spacing.
    assert np.quantile((found - expected)[front].norm(dim=1), 0.9) < SHELL_M + 0.007
