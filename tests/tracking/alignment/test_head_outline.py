import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch.nn import functional

from partnerface.cameras.pinhole import Camera
from partnerface.meshes.normals import vertex_normals
from partnerface.meshes.rasterizer import rasterize_mesh
from partnerface.tracking.alignment.head_outline import HairShell, measure_outline, outline_equations

SIZE = 192
HAIR_M = 0.02
YAWS = torch.linspace(-0.5, 0.5, 9)


@pytest.fixture(scope="module")
def turning_head(anny):
    """A bald head under hair of 2 cm, in nine yaws: vertices, normals, poses, camera, mattes."""
    camera = Camera.static(len(YAWS), 2.2 * SIZE, SIZE, SIZE)
    vertices = anny.identity_vertices(torch.zeros(1))
    faces = anny.faces[anny.part_faces("skin")]
    normals = functional.normalize(vertex_normals(vertices, faces), dim=-1)
    rotation = axis_angle_to_matrix(torch.stack([0 * YAWS, YAWS, 0 * YAWS], 1))
    translation = torch.tensor([0.0, -0.02, -0.8]).expand(len(YAWS), 3)
    haired = vertices + HAIR_M * normals
    drawn = []
    for i in range(len(YAWS)):
        world = haired @ rotation[i].T + translation[i]
        pixels, depth = camera.select([i]).project(world[None])
        drawn.append(rasterize_mesh(pixels[0], depth[0], faces, SIZE, SIZE, False).mask)
    return vertices, normals, rotation, translation, camera, torch.stack(drawn).to(torch.uint8) * 255


def measured(shell, turning_head, mattes, translation, gate):
    vertices, normals, rotation, _, camera, _ = turning_head
    rest = [
        values[rows].expand(len(rotation), -1, -1)
        for values, rows in ((vertices, shell.vertices), (normals, shell.vertices), (vertices, shell.rivals))
    ]
    return measure_outline(shell, mattes, camera, *rest, rotation, translation, gate)


def learned(anny, turning_head, rounds=4):
    shell, (*_, translation, _, mattes) = HairShell.bare(anny), turning_head
    for _ in range(rounds):
        rows = measured(shell, turning_head, mattes, translation, 25.0)
        metres = -rows.residual * rows.metres_per_pixel
        sums = torch.zeros(3, len(shell.vertices))
        sums.index_add_(1, rows.vertices, torch.stack([metres, metres.square(), torch.ones_like(metres)]))
        shell.learn(*sums)
    return shell


def test_the_shell_grows_to_the_hair(anny, turning_head):
    shell = learned(anny, turning_head)
    seen = shell.spread.isfinite()
    assert seen.sum() > 100
    pixel = 0.8 / (2.2 * SIZE)
    assert (shell.reach[seen] - HAIR_M).abs().median() < 0.5 * pixel


def test_the_equations_find_a_shift(anny, turning_head):
    """The step of one Gauss-Newton solution against the shift that was made."""
    shell = learned(anny, turning_head)
    *_, translation, camera, mattes = turning_head
    made = torch.tensor([0.002, 0.0015, 0.006])
    rows = measured(shell, turning_head, mattes, translation + made, 8.0)
    normal, slope = outline_equations(rows, shell, camera, translation + made)
    step = torch.linalg.solve(normal[:, 3:, 3:], -slope[:, 3:])
    torch.testing.assert_close(step.mean(0), -made, atol=6e-4, rtol=0.15)


@pytest.mark.parametrize("value", [0, 255])
def test_a_matte_without_an_edge_says_nothing(anny, turning_head, value):
    shell = HairShell.bare(anny)
    *_, translation, camera, mattes = turning_head
    rows = measured(shell, turning_head, torch.full_like(mattes, value), translation, 8.0)
    assert len(rows.frames) == 0
    normal, slope = outline_equations(rows, shell, camera, translation)
    assert not normal.any()
    assert not slope.any()
    nothing = torch.zeros(len(shell.vertices))
    shell.learn(nothing, nothing, nothing)
    assert not shell.reach.any()
