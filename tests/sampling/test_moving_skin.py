"""The cells of the moving skin against a loop over its points."""

import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.meshes.normals import SurfacePoints, posed_normals
from partnerface.sampling.skin_surfaces import shell_cells

LOW, EXTENT = torch.tensor([-0.1, 0.2, 0.3]), torch.tensor(0.4)
POSE = axis_angle_to_matrix(torch.tensor([0.4, -0.8, 0.3])), torch.tensor([0.3, -0.1, -1.0])


def random_mesh(faces: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rigid = LOW + EXTENT * torch.rand(40, 3, generator=generator)
    corners = torch.randint(39, (faces, 3), generator=generator)
    return rigid @ POSE[0].T + POSE[1], corners


def test_cells_of_the_skin_and_of_its_shell_and_their_neighbours_are_marked():
    vertices, faces = random_mesh(20)
    generator = torch.Generator().manual_seed(1)
    barycentric = torch.rand(20, 3, generator=generator)
    barycentric /= barycentric.sum(1, keepdim=True)
    reach = 0.1 * torch.rand(20, generator=generator)
    normals = posed_normals(vertices, faces.int())
    points = SurfacePoints(faces.int(), barycentric)
    found = shell_cells(vertices, normals, points, reach, POSE, (LOW, EXTENT), cells=10).view(10, 10, 10)
    points = SurfacePoints(faces, barycentric)
    skin = points.of(vertices)
    both = torch.cat([skin, skin + reach[:, None] * points.of(normals)])
    expected = torch.zeros(10, 10, 10, dtype=torch.uint8)
    for point in (both - POSE[1]) @ POSE[0]:
        x, y, z = ((point - LOW) / EXTENT * 10).clamp(0, 9).floor().long().tolist()
        expected[max(z - 1, 0) : z + 2, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = 1
    assert 0 < expected.float().mean() < 1
    assert torch.equal(found, expected)


def test_without_moving_skin_no_cell_is_marked():
    vertices, faces = random_mesh(5)
    none = SurfacePoints(torch.zeros(0, 3, dtype=torch.int32), torch.zeros(0, 3))
    normals = posed_normals(vertices, faces.int())
    assert not shell_cells(vertices, normals, none, torch.zeros(0), POSE, (LOW, EXTENT), cells=4).any()
