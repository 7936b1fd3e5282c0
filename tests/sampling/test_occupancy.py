"""Occupancy: cells and points, and what pruning keeps."""

import torch

from partnerface.sampling.occupancy import OccupancyGrid, doubled_cells

LOW, EXTENT = torch.tensor([-0.1, 0.2, 0.3]), torch.tensor(0.4)


def make_grid(candidates: torch.Tensor, cells: int = 8, **settings: float) -> OccupancyGrid:
    grid = OccupancyGrid(cells, **settings)
    grid.set_candidates(LOW, EXTENT, candidates)
    return grid


def test_centres_and_cells_are_each_others_inverse():
    grid = make_grid(torch.ones(512, dtype=torch.bool))
    index = torch.arange(512)
    centres = grid.centres(index)
    x, y, z = ((centres - LOW) / EXTENT * 8).floor().long().unbind(1)
    assert torch.equal(x + 8 * (y + 8 * z), index)
    torch.testing.assert_close(centres[0], LOW + EXTENT / 16)
    torch.testing.assert_close(centres[-1], LOW + EXTENT * 15 / 16)


def test_draws_lie_in_their_candidate_cells_and_reach_all_of_them():
    torch.manual_seed(0)
    candidates = torch.rand(512) < 0.1
    grid = make_grid(candidates)
    index, points = grid.draw_candidates(4000)
    assert torch.equal(index.unique(), candidates.nonzero()[:, 0])
    x, y, z = ((points - LOW) / EXTENT * 8).clamp(0, 7.9999).floor().long().unbind(1)
    # A point jittered onto its cell's rim may round into the neighbour.
    assert (x + 8 * (y + 8 * z) == index).float().mean() > 0.999
    assert (points - grid.centres(index)).abs().max() <= 0.5001 * EXTENT / 8


def test_fresh_candidates_are_occupied_and_finite_where_they_are_not():
    candidates = torch.zeros(512, dtype=torch.bool)
    candidates[[3, 77]] = True
    grid = make_grid(candidates)
    assert torch.equal(grid.occupied.bool(), candidates)
    assert grid.density.isfinite().all()
    grid.refresh()
    assert torch.equal(grid.occupied.bool(), candidates)


def test_visits_prune_the_empty_and_keep_the_dense_and_the_unvisited():
    candidates = torch.ones(512, dtype=torch.bool)
    candidates[:8] = False
    grid = make_grid(candidates, threshold=0.02)
    unvisited, dense = 500, 4 + 8 * (4 + 8 * 4)
    index = torch.arange(8, 512)
    index = index[index != unvisited]
    density = torch.zeros(len(index))
    density[index == dense] = 1.0
    grid.visit(index, density)
    grid.refresh()
    expected = torch.zeros(8, 8, 8, dtype=torch.bool)
    # 500 is x = 4, y = 6, z = 7. A density of 1 over 5 cm is an optical depth of 0.05.
    expected[6:8, 5:8, 3:6] = True
    expected[3:6, 3:6, 3:6] = True
    assert torch.equal(grid.occupied.bool(), expected.view(-1) & candidates)


def test_threshold_is_an_optical_depth():
    candidates = torch.ones(512, dtype=torch.bool)
    for density, stays in ((0.39, False), (0.41, True)):
        grid = make_grid(candidates, threshold=0.02)
        grid.visit(torch.arange(512), torch.full((512,), density))
        grid.refresh()
        assert bool(grid.occupied.all()) is stays
        assert bool(grid.occupied.any()) is stays


def test_emptied_cells_are_freed_after_some_visits_and_return_when_dense():
    grid = make_grid(torch.ones(512, dtype=torch.bool), threshold=0.02, decay=0.5)
    everything = torch.arange(512)
    grid.visit(everything, torch.full((512,), 1.0))
    for expected in (True, False):
        grid.visit(everything, torch.zeros(512))
        grid.refresh()
        assert bool(grid.occupied.any()) is expected
    grid.visit(everything[:1], torch.tensor([9.0]))
    grid.refresh()
    assert grid.occupied.sum() == 8


def test_a_cell_visited_twice_remembers_its_densest_point():
    grid = make_grid(torch.ones(512, dtype=torch.bool))
    grid.visit(torch.tensor([5, 5, 5]), torch.tensor([0.1, 7.0, 0.3]))
    assert grid.density[5] == 7.0
    assert grid.visited.nonzero().tolist() == [[5]]


def test_grid_travels_with_the_state():
    grid = make_grid(torch.rand(512, generator=torch.Generator().manual_seed(0)) < 0.3)
    grid.visit(torch.arange(100), torch.rand(100, generator=torch.Generator().manual_seed(1)))
    grid.refresh()
    other = OccupancyGrid(8)
    other.load_state_dict(grid.state_dict())
    for name, buffer in grid.named_buffers():
        assert torch.equal(buffer, other.get_buffer(name)), name


def test_doubled_cells_cover_the_same_places():
    """Every point is in a marked fine cell exactly when its coarse cell is marked."""
    generator = torch.Generator().manual_seed(0)
    coarse, fine = OccupancyGrid(4), OccupancyGrid(8)
    marked = torch.rand(4**3, generator=generator) < 0.3
    for grid in (coarse, fine):
        grid.set_candidates(torch.zeros(3), torch.tensor(1.0), torch.ones(grid.cells**3, dtype=torch.bool))
    centres = fine.centres(torch.arange(8**3))
    index = (centres * 4).long()
    expected = marked[index[:, 0] + 4 * (index[:, 1] + 4 * index[:, 2])]
    assert torch.equal(doubled_cells(marked), expected)
