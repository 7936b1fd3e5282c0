"""What every `RadianceField` must hold.

Inherit `RadianceFieldContract` in a class named ``Test...``, override ``make`` to build yours for a length of
the appearance code (0: none) and run pytest on the file. Nothing else of this checkout's tests is needed.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from partnerface.fields.radiance_field import RadianceField
from tests.contracts.subjects import disturb


class RadianceFieldContract:
    """Override ``make``."""

    def make(self, appearance_width: int) -> RadianceField:
        """A new one, for appearance codes of this length."""
        raise NotImplementedError("override make")

    @pytest.fixture(params=[0, 4], ids=["without appearance", "with appearance"])
    def field(self, request) -> RadianceField:
        """With the weights of a training that went anywhere."""
        torch.manual_seed(0)
        made = self.make(request.param)
        assert made.appearance_width == request.param
        disturb(made, 0.3)
        return made

    def test_density_is_never_negative_and_colours_are_in_range(self, field):
        density, rgb = field(*_inputs(field, 500))
        assert density.shape == (500,)
        assert rgb.shape == (500, 3)
        assert density.dtype == rgb.dtype == torch.float32
        assert (density >= 0).all()
        assert ((rgb >= 0) & (rgb <= 1)).all()
        assert density.max() > density.min()
        assert (rgb.amax(0) > rgb.amin(0)).all()

    def test_density_alone_is_that_of_an_appearance_of_zero(self, field):
        positions, directions, appearance = _inputs(field, 500)
        neutral = None if appearance is None else torch.zeros_like(appearance)
        torch.testing.assert_close(field.density(positions), field(positions, directions, neutral)[0])

    def test_density_does_not_depend_on_the_view(self, field):
        positions, directions, appearance = _inputs(field, 200)
        expected, found = field(positions, directions, appearance), field(positions, -directions, appearance)
        torch.testing.assert_close(found[0], expected[0])

    def test_directions_are_encoded_ray_by_ray(self, field):
        rays = functional.normalize(torch.randn(7, 3, generator=torch.Generator().manual_seed(2)), dim=1)
        encoded = field.encode_directions(rays)
        assert len(encoded) == 7
        torch.testing.assert_close(field.encode_directions(rays[2:4]), encoded[2:4])
        assert len(field.encode_directions(rays[:0])) == 0

    def test_gradients_are_finite_and_reach_every_weight_and_position(self, field):
        positions, directions, appearance = _inputs(field, 300)
        positions.requires_grad_()
        leaves = [("positions", positions), *field.named_parameters()]
        if appearance is not None:
            leaves.append(("appearance", appearance.requires_grad_()))
        density, rgb = field(positions, directions, appearance)
        (density.mean() + rgb.square().sum()).backward()
        for name, leaf in leaves:
            assert leaf.grad.isfinite().all(), name
            assert leaf.grad.any(), name
        assert (positions.grad.abs().sum(1) > 0).all()

    def test_grid_parameters_are_parameters_of_the_field(self, field):
        grids = [id(parameter) for parameter in field.grid_parameters()]
        assert len(set(grids)) == len(grids)
        assert set(grids) <= {id(parameter) for parameter in field.parameters()}

    @pytest.mark.parametrize("chunk", [1, 100, 5000])
    def test_points_in_chunks_are_the_points_at_once(self, field, chunk):
        """Without gradients, as pictures are rendered, against all points with gradients."""
        count = 9001 if chunk == 5000 else 207
        inputs = _inputs(field, count)
        whole = field(*inputs)
        ranges = [slice(first, first + chunk) for first in range(0, count, chunk)]
        with torch.no_grad():
            pieces = [field(*(None if v is None else v[some] for v in inputs)) for some in ranges]
        for place, value in enumerate(whole):
            joined = torch.cat([piece[place] for piece in pieces])
            torch.testing.assert_close(joined, value, atol=1e-4, rtol=1e-4)

    def test_positions_outside_of_the_cube_stay_finite(self, field):
        """A point that the fine motion carries out, and the cube's own corners."""
        _, directions, appearance = _inputs(field, 16)
        corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
        positions = torch.cat([corners, 1.4 * corners - 0.2]).requires_grad_()
        density, rgb = field(positions, directions, appearance)
        (density.sum() + rgb.sum()).backward()
        for value in (density, rgb, positions.grad, field.density(positions)):
            assert value.isfinite().all()
        assert (density >= 0).all()

    def test_no_points(self, field):
        density, rgb = field(*_inputs(field, 0))
        assert density.shape == (0,)
        assert rgb.shape == (0, 3)
        assert field.density(torch.zeros(0, 3)).shape == (0,)
        (density.sum() + rgb.sum()).backward()
        assert not any(p.grad is not None and p.grad.any() for p in field.parameters())

    def test_state_travels_with_the_checkpoint(self, field):
        inputs = _inputs(field, 50)
        torch.manual_seed(9)
        loaded = self.make(field.appearance_width)
        loaded.load_state_dict(field.state_dict())
        for found, expected in zip(loaded(*inputs), field(*inputs), strict=True):
            assert torch.equal(found, expected)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_on_the_gpu_all_stays_there_and_agrees(self, field):
        inputs = _inputs(field, 500)
        moved = copy.deepcopy(field).to("cuda")
        found = moved(*(None if value is None else value.cuda() for value in inputs))
        for value, reference in zip(found, field(*inputs), strict=True):
            assert value.is_cuda
            torch.testing.assert_close(value.cpu(), reference, atol=1e-2, rtol=1e-2)


def _inputs(field: RadianceField, count: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Positions ``[N, 3]``, encoded directions ``[N, C]`` and appearance codes ``[N, A]`` or None."""
    generator = torch.Generator().manual_seed(1)
    directions = functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    width = field.appearance_width
    appearance = torch.randn(count, width, generator=generator) if width else None
    return torch.rand(count, 3, generator=generator), field.encode_directions(directions), appearance
