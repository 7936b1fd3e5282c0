"""What every `InverseSkinning` must hold.

Inherit `InverseSkinningContract` in a class named ``Test...``, override ``make`` to build yours and run
pytest on the file. ``expression_error_m`` is the accuracy that your map claims under strong expressions.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel, PosedHead
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.skinning.head_surface import head_surface
from partnerface.skinning.inverse_skinning import BEYOND_SEARCH, CanonicalPoints, InverseSkinning
from tests.contracts.subjects import (
    SHELL_M,
    in_frame,
    moved_head,
    random_motion,
    rigid_parameters,
    shared_head_model,
    strong_parameters,
)


class InverseSkinningContract:
    """Override ``make``."""

    expression_error_m: float = 1e-5
    """Metres by which nine tenths of the vertices may miss their canonical place under strong expressions."""

    def make(self) -> InverseSkinning:
        """A new one, without a surface."""
        raise NotImplementedError("override make")

    @pytest.fixture
    def head_model(self) -> HeadModel:
        return shared_head_model()

    @pytest.fixture
    def skinning(self, head_model) -> InverseSkinning:
        made = self.make()
        thickness = torch.full((len(head_model.template_vertices),), SHELL_M)
        made.set_surface(head_model.faces[head_surface(head_model)], thickness)
        return made

    @pytest.fixture
    def posed(self, head_model) -> PosedHead:
        """Two frames of strong poses and expressions."""
        return head_model(strong_parameters(head_model, frames=2, seed=3))

    def test_a_rigid_head_returns_to_its_canonical_place(self, head_model, skinning):
        """Without expression and torso the map is one rigid motion, off the surface too."""
        still = rigid_parameters(head_model, strong_parameters(head_model, seed=5))
        head, used = head_model(still), skinning.faces.unique()
        canonical = head.canonical_vertices[used] + _noise(len(used), 0.004, seed=2)
        world = canonical @ still.rotation[0].T + still.translation[0]
        found = skinning(world, in_frame(world), skinning.posed_surface(head))
        near = found.faces >= 0
        assert near.float().mean() > 0.99
        torch.testing.assert_close(found.points[near], canonical[near], atol=2e-5, rtol=0)

    def test_posed_vertices_come_home_under_strong_expressions(self, skinning, posed):
        """Lips and lids touch, so that some vertices lie on another part of the surface as well."""
        used = skinning.faces.unique()
        surface = skinning.posed_surface(posed)
        for frame in range(2):
            found = skinning(posed.vertices[frame, used], in_frame(used, frame), surface)
            assert found.valid.all()
            error = (found.points - posed.canonical_vertices[used]).norm(dim=1)
            assert error.quantile(0.9) < self.expression_error_m

    def test_the_shell_ends_at_its_thickness(self, skinning, posed):
        world = _around(posed, skinning)
        found = skinning(world, in_frame(world), skinning.posed_surface(posed))
        depth, near = skinning.depth_inside(found), found.faces >= 0
        assert 0.1 < found.valid.float().mean() < 0.9
        assert torch.equal(found.valid, depth >= 0)
        torch.testing.assert_close(depth[near], SHELL_M - found.distance[near], atol=1e-6, rtol=0)
        assert (found.barycentric[near] > -1e-5).all()
        corners = posed.vertices[0, skinning.faces[found.faces[near].long()]]
        place = (corners * found.barycentric[near, :, None]).sum(1)
        torch.testing.assert_close((place - world[near]).norm(dim=1), found.distance[near], atol=1e-5, rtol=0)

    def test_points_beyond_the_search_are_invalid_and_say_so(self, skinning, posed):
        directions = torch.cat([torch.eye(3), -torch.eye(3)])
        far = posed.vertices[0].mean(0) + torch.cat([directions, 1e3 * directions])
        found = skinning(far, in_frame(far), skinning.posed_surface(posed))
        assert not found.valid.any()
        assert (found.faces == -1).all()
        assert found.distance.isinf().all()
        assert found.points.isfinite().all()
        assert (skinning.depth_inside(found) == BEYOND_SEARCH).all()

    def test_moving_the_world_leaves_canonical_points(self, head_model, skinning):
        head, (turn, shift) = strong_parameters(head_model, seed=7), random_motion()
        before, after = head_model(head), head_model(moved_head(head, turn, shift))
        world = _around(before, skinning)
        expected = skinning(world, in_frame(world), skinning.posed_surface(before))
        found = skinning(world @ turn.T + shift, in_frame(world), skinning.posed_surface(after))
        # A point as close to two faces may go with either, and one on the shell's rim to either side.
        same = (found.faces == expected.faces) & (found.faces >= 0)
        assert same.sum() > 0.9 * (expected.faces >= 0).sum()
        assert (found.valid == expected.valid).float().mean() > 0.999
        error = (found.points - expected.points)[same].norm(dim=1)
        assert error.quantile(0.99) < 5e-5

    def test_with_gradient_keeps_the_value(self, head_model, skinning):
        posed, world = _followed(head_model, skinning, strong_parameters(head_model, seed=8))[:2]
        surface = skinning.posed_surface(posed)
        found, world = _near(skinning(world, in_frame(world), surface), world)
        assert not found.points.requires_grad
        followed = skinning.with_gradient(found, world, in_frame(world), surface)
        assert followed.requires_grad
        torch.testing.assert_close(followed, found.points, atol=1e-6, rtol=0)
        still = skinning.posed_surface(head_model(strong_parameters(head_model, seed=8)))
        assert not skinning.with_gradient(found, world, in_frame(world), still).requires_grad

    def test_gradient_predicts_a_new_search(self, head_model, skinning):
        """A rigid head: the gradient foretells where searches under moved heads put the points."""
        start = rigid_parameters(head_model, strong_parameters(head_model, seed=9))
        generator = torch.Generator().manual_seed(0)
        world = head_model(start).vertices[0, skinning.faces.unique()][::11]
        world = world + 0.004 * torch.randn(world.shape, generator=generator)
        weights = torch.randn(world.shape, generator=generator)
        turn, move = torch.tensor([[0.3, -0.7, 0.5]]), torch.tensor([[0.6, -0.5, 0.62]])

        def moved(amount: Tensor) -> PosedHead:
            rotation = axis_angle_to_matrix(amount * turn) @ start.rotation
            return head_model(
                replace(start, rotation=rotation, translation=start.translation + amount * move)
            )

        amount = torch.tensor(1e-9, requires_grad=True)
        surface = skinning.posed_surface(moved(amount))
        found = skinning(world, in_frame(world), surface)
        near = found.distance < 0.008
        found, world, weights = found.select(near), world[near], weights[near]
        (skinning.with_gradient(found, world, in_frame(world), surface) * weights).sum().backward()
        step = 1e-3
        values = []
        for sign in (1, -1):
            head = moved(torch.tensor(sign * step))
            points = skinning(world, in_frame(world), skinning.posed_surface(head)).points
            values.append((points * weights).double().sum())
        assert float(amount.grad) == pytest.approx(float(values[0] - values[1]) / (2 * step), rel=1e-2)

    def test_gradient_reaches_pose_and_expression_and_is_finite(self, head_model, skinning):
        posed, world, leaves = _followed(head_model, skinning, strong_parameters(head_model, seed=8))
        surface = skinning.posed_surface(posed)
        found, world = _near(skinning(world, in_frame(world), surface), world)
        followed = skinning.with_gradient(found, world, in_frame(world), surface)
        (followed * _noise(len(world), 1.0, seed=1)).sum().backward()
        for name, leaf in leaves.items():
            assert leaf.grad.isfinite().all(), name
            assert leaf.grad.any(), name

    def test_gradient_is_repeatable_to_the_bit(self, head_model, skinning):
        """With several threads of torch as well: a run that is resumed ends as one that was not stopped."""
        posed, _, leaves = _followed(head_model, skinning, strong_parameters(head_model, seed=8))
        surface = skinning.posed_surface(posed)
        world = posed.vertices[0, skinning.faces.unique()].detach() + 0.002
        world = world[torch.randint(len(world), (6000,), generator=torch.Generator().manual_seed(0))]
        found, world = _near(skinning(world, in_frame(world), surface), world)
        followed = skinning.with_gradient(found, world, in_frame(world), surface)
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            gradients = [
                torch.autograd.grad(followed.square().sum(), list(leaves.values()), retain_graph=True)
                for _ in range(8)
            ]
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(a, b) for again in gradients for a, b in zip(again, gradients[0], strict=True))

    def test_no_points(self, head_model, skinning):
        posed, _, leaves = _followed(head_model, skinning, strong_parameters(head_model))
        surface, none = skinning.posed_surface(posed), torch.zeros(0, 3)
        found = skinning(none, in_frame(none), surface)
        assert found.points.shape == found.barycentric.shape == (0, 3)
        assert found.valid.shape == found.distance.shape == found.faces.shape == (0,)
        assert skinning.depth_inside(found).shape == (0,)
        followed = skinning.with_gradient(found, none, in_frame(none), surface)
        assert followed.shape == (0, 3)
        followed.sum().backward()
        assert all(leaf.grad is None or not leaf.grad.any() for leaf in leaves.values())

    @pytest.mark.parametrize("chunk", [1, 7, 100])
    def test_points_in_chunks_are_the_points_at_once(self, skinning, posed, chunk):
        """Also where each chunk is a strided view."""
        world, surface = _around(posed, skinning)[:300], skinning.posed_surface(posed)
        whole = skinning(world, in_frame(world), surface)
        pieces = [skinning(piece, in_frame(piece), surface) for piece in world.T.contiguous().T.split(chunk)]
        for name, value in vars(whole).items():
            joined = torch.cat([getattr(piece, name) for piece in pieces])
            torch.testing.assert_close(joined, value, atol=1e-6, rtol=0, msg=name)

    def test_degenerate_triangles_stay_finite(self, head_model, skinning):
        """Faces shrunk to a line or a point, and one listed twice, beside good ones: value and gradient."""
        good = skinning.faces
        posed, world, leaves = _followed(head_model, skinning, strong_parameters(head_model, seed=4))
        world = torch.cat([world, posed.vertices[0, good[:2].unique()].detach()])
        before = skinning(world, in_frame(world), skinning.posed_surface(posed))
        bad = torch.stack([good[0, [0, 1, 1]], good[1, [0, 0, 0]], good[2]])
        skinning.set_surface(torch.cat([bad, good]), skinning.thickness)
        surface = skinning.posed_surface(posed)
        after = skinning(world, in_frame(world), surface)
        torch.testing.assert_close(after.distance, before.distance, atol=1e-6, rtol=0)
        assert torch.equal(after.valid, before.valid)
        for values in (after.points, after.barycentric, skinning.depth_inside(after)):
            assert values.isfinite().all()
        found, world = _near(after, world)
        skinning.with_gradient(found, world, in_frame(world), surface).square().sum().backward()
        for name, leaf in leaves.items():
            assert leaf.grad.isfinite().all(), name

    def test_frames_and_threads_do_not_disturb_each_other(self, skinning, posed):
        """Each thread poses both frames in its own order; answers equal those of one thread."""
        world = posed.vertices[:, skinning.faces.unique()][:, ::5] + 0.002
        both = skinning.posed_surface(posed)
        expected = [skinning(world[f], in_frame(world[f], f), both).points for f in range(2)]

        def work(order: list[int]) -> list[list[Tensor]]:
            results = []
            for _ in range(5):
                surface = skinning.posed_surface(PosedHead(**_frames(posed, order)))
                found = [skinning(world[f], in_frame(world[f], k), surface) for k, f in enumerate(order)]
                results.append([found[order.index(f)].points for f in range(2)])
            return results

        with ThreadPoolExecutor(2) as pool:
            for results in pool.map(work, [[0, 1], [1, 0]]):
                for result in results:
                    assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))

    def test_points_of_several_frames_are_those_of_each_by_itself(self, skinning, posed):
        """In one pass and any order."""
        world = _around(posed, skinning)
        frame = torch.randint(2, (len(world),), generator=torch.Generator().manual_seed(0)).int()
        together = skinning(world, frame, skinning.posed_surface(posed))
        for number in range(2):
            of_frame = frame == number
            alone = skinning.posed_surface(PosedHead(**_frames(posed, [number])))
            expected = skinning(world[of_frame], in_frame(world[of_frame]), alone)
            for name, value in vars(expected).items():
                assert torch.equal(getattr(together, name)[of_frame], value), name

    def test_a_surface_without_a_face_is_refused(self):
        with pytest.raises(UserError, match="no face of the head"):
            self.make().set_surface(torch.zeros(0, 3, dtype=torch.long), torch.ones(4))

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_on_the_gpu_all_stays_there_and_agrees(self, head_model, skinning, posed):
        world = _around(posed, skinning)
        expected = skinning(world, in_frame(world), skinning.posed_surface(posed))
        moved = copy.deepcopy(skinning).to("cuda")
        model = copy.deepcopy(head_model).to("cuda")
        head = model(strong_parameters(head_model, frames=2, seed=3).to("cuda"))
        found = moved(world.cuda(), in_frame(world).cuda(), moved.posed_surface(head))
        assert all(value.is_cuda for value in vars(found).values())
        torch.testing.assert_close(found.distance.cpu(), expected.distance, atol=1e-5, rtol=0)
        faces = found.faces.cpu().long(), expected.faces.long()
        corners = [skinning.faces[face] for face in faces]
        shared = (corners[0][:, :, None] == corners[1][:, None]).any(2).sum(1)
        assert shared[(faces[0] >= 0) & (faces[1] >= 0)].min() > 0, (
            "faces of a corner or an edge are equally near"
        )
        same = faces[0] == faces[1]
        assert same.float().mean() > 0.85
        error = (found.points.cpu() - expected.points)[same].norm(dim=1)
        assert error.quantile(0.99) < 5e-5


def _frames(posed: PosedHead, frames: list[int]) -> dict[str, Tensor]:
    """The fields of some frames of a posed head."""
    shared = {"canonical_vertices": posed.canonical_vertices}
    return {name: value[frames] for name, value in vars(posed).items()} | shared


def _noise(count: int, size: float, seed: int) -> Tensor:
    return size * torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def _around(posed: PosedHead, skinning: InverseSkinning) -> Tensor:
    """World points around frame 0: on the surface, in its shell, on its rim and beyond."""
    vertices = posed.vertices[0, skinning.faces.unique()][::6].detach()
    return vertices + _noise(len(vertices), 0.012, seed=6)


def _followed(
    head_model: HeadModel, skinning: InverseSkinning, start: HeadParameters
) -> tuple[PosedHead, Tensor, dict[str, Tensor]]:
    """A posed head with gradients, world points near it, and the leaves of the gradients."""
    names = ("rotation", "translation", "expression")
    leaves = {name: getattr(start, name).clone().requires_grad_() for name in names}
    posed = head_model(replace(start, **leaves))
    return posed, posed.vertices[0, skinning.faces.unique()][::40].detach() + 0.002, leaves


def _near(found: CanonicalPoints, world: Tensor) -> tuple[CanonicalPoints, Tensor]:
    kept = (found.faces >= 0).nonzero()[:, 0]
    return found.select(kept), world[kept]
