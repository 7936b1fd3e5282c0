"""The oracle carries points back by the true motion: against brute force over the vertices."""

import pytest
import torch

from partnerface.data.sequence import TrueMotion
from partnerface.deformation.oracle import REACH, OracleDeformation
from tests.contracts.deformation_contract import DeformationContract
from tests.contracts.subjects import canonical_head, in_frame, shared_head_model

FRAMES, WIDTH = 6, 5


def bending(frames: int) -> TrueMotion:
    """Motion of the whole template, up to 3 mm, smooth in space, another one in each frame."""
    model = shared_head_model()
    points = model.template_vertices
    shapes = 0.003 * torch.stack([torch.sin(20 * points), torch.cos(30 * points.flip(1))])
    weights = torch.rand(frames, 2, generator=torch.Generator().manual_seed(0))
    return TrueMotion(points, model.faces, shapes, weights, {})


class TestOracleDeformation(DeformationContract):
    def make(self, driving_width: int) -> OracleDeformation:
        return OracleDeformation(driving_width)

    @pytest.fixture
    def trained(self, fresh: OracleDeformation) -> OracleDeformation:
        signals = torch.randn(FRAMES, fresh.driving_width, generator=torch.Generator().manual_seed(1))
        fresh.set_truth(bending(FRAMES), signals)
        return fresh


@pytest.fixture
def oracle() -> OracleDeformation:
    made = OracleDeformation(WIDTH)
    made.adapt_to(canonical_head(shared_head_model()))
    made.set_truth(bending(FRAMES), torch.arange(FRAMES)[:, None].expand(-1, WIDTH).float())
    return made


def test_a_moved_vertex_comes_back_to_its_place(oracle):
    head, truth = canonical_head(shared_head_model()), bending(FRAMES)
    for number in (4, 1):
        motion = truth.offsets([number])[0][head.used]
        places = head.in_cube(truth.points[head.used] + motion)
        signal = torch.full((1, WIDTH), float(number)) + 0.1
        offsets = oracle(places, signal, in_frame(places)).offsets * head.in_cube.extent
        # Sheets that touch, such as the lips, have two closest points.
        error = (offsets + motion).norm(dim=1)
        assert error.median() < 1e-6
        assert (error < 1e-5).float().mean() > 0.97


def test_points_off_the_surface_go_with_it_and_far_ones_stay(oracle):
    head, truth = canonical_head(shared_head_model()), bending(FRAMES)
    surface = truth.points + truth.offsets([2])[0]
    crown = int(surface[:, 1].argmax())
    steps = torch.tensor([0.004, 0.02, REACH + 0.01])
    places = surface[crown] + steps[:, None] * torch.tensor([0.0, 1.0, 0.0])
    offsets = oracle(head.in_cube(places), torch.full((1, WIDTH), 2.0), in_frame(places)).offsets
    offsets = offsets * head.in_cube.extent
    torch.testing.assert_close(offsets[:2], -truth.offsets([2])[:, crown].expand(2, 3), atol=2e-4, rtol=0)
    assert not offsets[2].any()
