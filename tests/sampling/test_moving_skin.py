"""The cells of the moving skin against a loop over its points."""

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.meshes.normals import SurfacePoints, posed_normals
from partnerface.sampling.skin_surfaces import shell_cells
from tests.sampling.packed_cells import unpacked

LOW, EXTENT = torch.tensor([-0.1, 0.2, 0.3]), torch.tensor(0.4)
ROTATION = axis_angle_to_matrix(torch.tensor([[0.4, -0.8, 0.3], [-1.2, 0.1, 0.6]]))
TRANSLATION = torch.tensor([[0.3, -0.1, -1.0], [-0.2, 0.5, -0.7]])


def random_mesh(faces: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices in two frames ``[2, 40, 3]``, and faces."""
    generator = torch.Generator().manual_seed(seed)
    rigid = LOW + EXTENT * torch.rand(2, 40, 3, generator=generator)
    corners = torch.randint(39, (faces, 3), generator=generator)
    return rigid @ ROTATION.mT + TRANSLATION[:, None], corners


@pytest.mark.parametrize("cells", [10, 33, 64])
def test_cells_of_the_skin_and_of_its_shell_and_their_neighbours_are_marked(cells):
    """In both of two frames."""
    vertices, faces = random_mesh(20)
    generator = torch.Generator().manual_seed(1)
    barycentric = torch.rand(20, 3, generator=generator)
    barycentric /= barycentric.sum(1, keepdim=True)
    reach = 0.1 * torch.rand(20, generator=generator)
    normals = posed_normals(vertices, faces.int())
    points = SurfacePoints(faces.int(), barycentric)
    found = shell_cells(vertices, normals, points, reach, (ROTATION, TRANSLATION), (LOW, EXTENT), cells)
    points = SurfacePoints(faces, barycentric)
    expected = torch.zeros(2, cells, cells, cells, dtype=torch.bool)
    for frame in range(2):
        skin = points.of(vertices[frame])
        both = torch.cat([skin, skin + reach[:, None] * points.of(normals[frame])])
        for point in (both - TRANSLATION[frame]) @ ROTATION[frame]:
            x, y, z = ((point - LOW) / EXTENT * cells).clamp(0, cells - 1).floor().long().tolist()
            around = (slice(max(axis - 1, 0), axis + 2) for axis in (z, y, x))
            expected[(frame, *around)] = True
    assert 0 < expected[0].float().mean() < 1
    assert not torch.equal(expected[0], expected[1])
    assert torch.equal(unpacked(found, cells), expected)


def test_without_moving_skin_no_cell_is_marked():
    vertices, faces = random_mesh(5)
    none = SurfacePoints(torch.zeros(0, 3, dtype=torch.int32), torch.zeros(0, 3))
    normals = posed_normals(vertices, faces.int())
    pose = ROTATION, TRANSLATION
    assert not shell_cells(vertices, normals, none, torch.zeros(0), pose, (LOW, EXTENT), cells=4).any()
