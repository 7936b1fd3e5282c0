"""The hash grid kernel against its plain-torch twin, inside, on the rim and outside of the cube."""

import pytest
import torch

from partnerface.fields.hash_field import HashGrid
from tests.fields.plain_hash_grid import hash_grid_features


@pytest.fixture
def grid() -> HashGrid:
    """Levels 4, 10 and 24: one dense, two hashed."""
    torch.manual_seed(0)
    made = HashGrid(levels=3, log2_table_size=9, coarsest=4, finest=24)
    torch.nn.init.normal_(made.tables)
    return made


def worst_positions() -> torch.Tensor:
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    return torch.cat(
        [
            torch.rand(200, 3),
            corners,
            corners * 1.02 - 0.01,
            torch.tensor([[0.5, 0.25, 0.75], [0.25, 0.25, 0.25], [-0.1, 0.5, 1.1]]),
        ]
    )


def test_resolutions_grow_geometrically():
    assert HashGrid(levels=5, log2_table_size=4, coarsest=16, finest=256).resolutions.tolist() == [
        16,
        32,
        64,
        128,
        256,
    ]
    assert HashGrid(levels=1, log2_table_size=4, coarsest=16, finest=256).resolutions.tolist() == [16]


def test_values_and_gradients_equal_the_plain_twin(grid):
    resolutions = grid.resolutions.tolist()
    assert (resolutions[0] + 1) ** 3 <= 512 < (resolutions[1] + 1) ** 3
    positions = worst_positions().requires_grad_()
    features = grid(positions)
    weights = torch.randn_like(features)
    gradients = torch.autograd.grad((features * weights).sum(), [positions, grid.tables])
    precise = [t.detach().double().requires_grad_() for t in (positions, grid.tables)]
    expected = hash_grid_features(*precise, resolutions)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), precise)
    torch.testing.assert_close(features, expected.float(), atol=2e-5, rtol=1e-4)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(found, wanted.float(), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("finest", [1289, 1300, 1500, 1624, 2048])
def test_levels_whose_cells_are_more_than_an_integer_holds(finest):
    """Cubes of 1291 to 1625 corners would be negative in 32 bits, and taken for levels that fit."""
    torch.manual_seed(0)
    grid = HashGrid(levels=1, log2_table_size=9, coarsest=finest, finest=finest)
    torch.nn.init.normal_(grid.tables)
    positions = torch.rand(200, 3)
    expected = hash_grid_features(positions.double(), grid.tables.detach().double(), [finest])
    torch.testing.assert_close(grid(positions), expected.float(), atol=3e-3, rtol=1e-3)


def test_repeated_points_add_up_in_the_table(grid):
    positions = torch.full((1000, 3), 0.3)
    grid(positions).sum().backward()
    # Trilinear weights sum to one, so every level gets 1000 in each of its four features.
    torch.testing.assert_close(grid.tables.grad.sum(1), torch.full((3, 4), 1000.0), atol=0.1, rtol=0)


def test_linear_field_is_reproduced(grid):
    """On a dense level that stores a linear function, interpolation and extrapolation are exact."""
    side = 5
    index = torch.arange(side**3)
    xyz = torch.stack([index % side, index // side % side, index // side**2], 1) / 4
    with torch.no_grad():
        grid.tables[0, : side**3, :3] = xyz
    positions = worst_positions().requires_grad_()
    features = grid(positions)[:, :3]
    torch.testing.assert_close(features, positions, atol=1e-6, rtol=0)
    features[:, 1].sum().backward()
    torch.testing.assert_close(
        positions.grad, torch.tensor([0.0, 1, 0]).expand(len(positions), 3), atol=1e-5, rtol=0
    )


def test_no_points(grid):
    positions = torch.zeros(0, 3, requires_grad=True)
    features = grid(positions)
    assert features.shape == (0, grid.width)
    features.sum().backward()
    assert not grid.tables.grad.any()


def test_strided_positions_and_other_dtypes_are_read_as_they_are(grid):
    wide = torch.rand(20, 6)
    torch.testing.assert_close(grid(wide[:, ::2]), grid(wide[:, ::2].clone()))
    torch.testing.assert_close(grid(wide[:, :3].double()), grid(wide[:, :3]))
