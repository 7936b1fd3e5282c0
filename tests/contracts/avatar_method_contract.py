"""What every `AvatarMethod` must hold.

Inherit `AvatarMethodContract` in a class named ``Test...``, override ``make`` to build a small one of yours
and run pytest on the file. Override ``train_anywhere`` if noise on all weights breaks your method.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from partnerface.avatar.method import AvatarMethod
from partnerface.avatar.picture import Picture
from partnerface.cameras.pinhole import RayBundle, image_pixels, pixel_rays
from partnerface.data.sequence import TrackedSequence
from partnerface.data.view import View
from partnerface.head_models.head_model import HeadModel
from partnerface.rendering.rendered_rays import MethodOutput
from partnerface.training.optimisation import LearningRates, parameter_groups
from tests.contracts.subjects import disturb, moved_view, random_motion, shared_head_model, tracked_sequence
from tests.views import views_of

SIZE = 24


class AvatarMethodContract:
    """Override ``make``."""

    def make(self, head_model: HeadModel) -> AvatarMethod:
        """A new one, that knows nobody yet."""
        raise NotImplementedError("override make")

    def train_anywhere(self, method: AvatarMethod) -> None:
        """Give it the weights of a training that went anywhere."""
        disturb(method, 0.2)

    @pytest.fixture
    def head_model(self) -> HeadModel:
        return shared_head_model()

    @pytest.fixture
    def sequence(self, head_model) -> TrackedSequence:
        return tracked_sequence(head_model, size=SIZE)

    @pytest.fixture
    def views(self, sequence) -> View:
        """All frames of the video."""
        return views_of(sequence)

    @pytest.fixture
    def fresh(self, head_model, sequence) -> AvatarMethod:
        """Adapted to a person, not trained, in evaluation."""
        torch.manual_seed(0)
        made = self.make(head_model)
        made.adapt_to(sequence)
        return made.eval()

    @pytest.fixture
    def trained(self, fresh) -> AvatarMethod:
        self.train_anywhere(fresh)
        fresh.training_schedule(1.0)
        return fresh

    def test_a_view_is_rendered(self, fresh, views):
        """Before any training: the head in its place, nothing in the corners above, finite everywhere."""
        picture = fresh.render(views.select([0]))
        assert picture.rgb.shape == (3, SIZE, SIZE)
        assert picture.alpha.shape == picture.depth.shape == (SIZE, SIZE)
        assert picture.part_weights is None
        _check_ranges(picture)
        x, y = views.camera.project(views.head.translation[:, None])[0][0, 0].long().tolist()
        assert picture.alpha[y, x] > 0.1
        assert not picture.alpha[0, [0, -1]].any()
        distance, seen = views.head.translation[0].norm(), picture.depth > 0
        assert ((picture.depth[seen] - distance).abs() < 0.35).all()
        rendered = fresh(_rays(views, [0], 50), views.select([0])).rays
        assert rendered.rgb.shape == (1, 50, 3)

    @pytest.mark.parametrize("progress", [0.0, 0.1, 0.5, 1.0])
    def test_every_stage_of_training_renders(self, trained, views, progress):
        trained.training_schedule(progress)
        view = views.select([9])
        picture = trained.render(view, with_parts=True)
        _check_ranges(picture)
        _check_same(trained.render(view, with_parts=True), picture, 1e-6)

    def test_a_batch_is_each_frame_by_itself(self, trained, views):
        """Its statistics too, which are means over the samples of one frame."""
        frames = [5, 0, 9]
        rays, batch = _rays(views, frames, 40), views.select(frames)
        together = trained(rays, batch)
        for f in range(3):
            alone = trained(rays.frame(f), batch.select([f]))
            pairs = [(vars(together.rays), vars(alone.rays))]
            if together.deformation is not None:
                pairs.append((together.deformation.values(), alone.deformation.values()))
            for found, expected in pairs:
                for name, value in expected.items():
                    if value is not None:
                        part = found[name][f]
                        torch.testing.assert_close(part, value[0], atol=1e-5, rtol=1e-4, msg=name)

    @pytest.mark.parametrize(("chunk", "size"), [(1, 6), (50, SIZE), (10**6, SIZE)])
    def test_a_picture_does_not_depend_on_its_chunks(self, trained, views, chunk, size):
        view = views.select([2]).resized(size, size)
        expected = trained.render(view, with_parts=True)
        _check_same(trained.render(view, with_parts=True, chunk=chunk), expected, 1e-4)

    def test_a_picture_is_its_rays(self, trained, views):
        view = views.select([3]).resized(7, 5)
        picture = trained.render(view, exact=True)
        some = [0, 17, 34]
        with torch.no_grad():
            rays = trained(pixel_rays(view.camera, image_pixels(7, 5)[None, some]), view).rays
        torch.testing.assert_close(picture.rgb.flatten(1)[:, some].T, rays.rgb[0], atol=1e-5, rtol=1e-4)

    def test_with_parts_changes_no_colour(self, trained, views):
        view = views.select([4])
        plain, with_parts = trained.render(view), trained.render(view, with_parts=True)
        for name in ("rgb", "alpha", "depth"):
            assert torch.equal(getattr(plain, name), getattr(with_parts, name)), name
        weights = with_parts.part_weights
        assert weights.shape == (SIZE, SIZE, trained.parts)
        assert (weights >= -1e-5).all()

    def test_parts_share_the_opacity_of_the_head(self, trained, views):
        view = views.select([4])
        weights = trained.render(view, with_parts=True, exact=True).part_weights
        with torch.no_grad():
            head = trained(pixel_rays(view.camera, image_pixels(SIZE, SIZE)[None]), view).rays.head_opacity
        assert head.any()
        torch.testing.assert_close(weights.sum(-1), head.view(SIZE, SIZE), atol=1e-3, rtol=0)

    def test_a_fresh_instance_with_the_same_state_renders_the_same_without_a_video(
        self, head_model, trained, views
    ):
        torch.manual_seed(9)
        if trained.sampler.occupancy is not None:
            trained.refresh_occupancy(views.select([0]), visits=20000)
        loaded = self.make(head_model).eval()
        loaded.load_state_dict(trained.state_dict())
        view = loaded.default_view()
        assert (len(view), view.camera.width, view.camera.height) == (1, SIZE, SIZE)
        for found, expected in ((view, trained.default_view()), (views.select([9]), views.select([9]))):
            wanted = trained.render(expected, with_parts=True)
            _check_same(loaded.render(found, with_parts=True), wanted, 0)

    def test_the_default_view_is_a_training_frame(self, trained, sequence, views):
        view = trained.default_view()
        train = views.select(sequence.splits["train"])
        same = (train.head.expression == view.head.expression).all(1)
        assert same.any()
        frame = int(same.nonzero()[0])
        for name in ("rotation", "translation", "torso_rotation", "joint_rotations"):
            assert torch.equal(getattr(view.head, name)[0], getattr(train.head, name)[frame]), name
        assert torch.equal(view.camera.intrinsics[0], train.camera.intrinsics[frame])
        assert torch.equal(view.head.identity, sequence.head.identity)

    def test_a_copy_renders_the_same(self, trained, views):
        view = views.select([1])
        expected = trained.render(view)
        _check_same(copy.deepcopy(trained).render(view), expected, 1e-6)

    def test_parameter_kinds_partition_all_parameters(self, fresh):
        kinds = fresh.parameter_kinds()
        assert set(kinds) <= set(LearningRates.__dataclass_fields__)
        listed = [id(parameter) for members in kinds.values() for parameter in members]
        assert len(set(listed)) == len(listed)
        assert set(listed) == {id(parameter) for parameter in fresh.parameters()}

    def test_moving_the_world_changes_nothing(self, trained, views):
        """Camera, head and torso under one rigid motion: view directions must turn with the head."""
        view = views.select([6])
        moved = moved_view(view, *random_motion())
        # The torso layer depends on the head's place in the world: it is left out.
        trained.torso.neck_line.fill_(5.0)
        pixels = _head_pixels(trained, views, [6])
        with torch.no_grad():
            expected, found = (trained(pixel_rays(v.camera, pixels), v).rays for v in (view, moved))
        error = (found.rgb - expected.rgb).abs().amax(-1)
        # A sample on the rim of a cell or of the shell may fall to the other side.
        assert error.quantile(0.95) < 2e-3
        torch.testing.assert_close(found.head_opacity.mean(), expected.head_opacity.mean(), atol=2e-3, rtol=0)

    def test_gradients_are_finite_and_reach_weights_pose_and_expression(self, trained, views):
        trained.train()
        frames = [1, 6]
        view = views.select(frames).clone()
        leaves = {name: getattr(view.head, name) for name in ("rotation", "translation", "expression")}
        for leaf in leaves.values():
            leaf.requires_grad_()
        rays = pixel_rays(view.camera, _head_pixels(trained, views, frames))
        rendering = trained(rays, view, torch.tensor(frames))
        _total(rendering).backward()
        for name, leaf in [*leaves.items(), *trained.named_parameters()]:
            assert leaf.grad is None or leaf.grad.isfinite().all(), name
        assert leaves["expression"].grad.any()
        for kind, members in trained.parameter_kinds().items():
            learned = [parameter for parameter in members if parameter.requires_grad]
            assert not learned or any(p.grad is not None and p.grad.any() for p in learned), kind

    def test_statistics_are_for_training_and_by_frame(self, trained, views):
        frames = [0, 3]
        rays, view = _rays(views, frames, 60), views.select(frames)
        with torch.no_grad():
            assert trained(rays, view).deformation is None
        statistics = trained.train()(rays, view, torch.tensor(frames)).deformation
        if statistics is not None:
            assert statistics.part_usage.shape == (2, trained.parts)
            for name in ("offset_size", "offset_roughness", "part_entropy"):
                assert getattr(statistics, name).shape == (2,), name

    def test_rays_that_miss_see_no_head_and_cost_nothing(self, trained, views):
        trained.torso.neck_line.fill_(5.0)
        rays, view = _rays(views, [0], 50), views.select([0])
        away = RayBundle(rays.origins, -rays.directions, rays.image_uv)
        rendering = trained.train()(away, view, torch.tensor([0]))
        for name in ("rgb", "opacity", "depth", "head_opacity"):
            assert not getattr(rendering.rays, name).any(), name
        _total(rendering).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in trained.parameters())

    def test_extreme_expressions_stay_finite(self, trained, views):
        view = views.select([0])
        for expression in (0 * view.head.expression, torch.ones_like(view.head.expression)):
            for strength in (1.0, 3.0):
                shown = replace(view, head=replace(view.head, expression=strength * expression))
                _check_ranges(trained.render(shown, with_parts=True))

    def test_a_head_without_a_torso_of_its_own_and_one_pixel(self, trained, views):
        view = views.select([0]).resized(1, 1)
        head = replace(view.head, torso_rotation=None, torso_translation=None)
        _check_ranges(trained.render(replace(view, head=head), with_parts=True))

    def test_a_clip_of_one_training_frame(self, head_model, sequence, views):
        torch.manual_seed(0)
        made = self.make(head_model)
        made.adapt_to(replace(sequence, splits={"train": [4]}))
        made.train()
        _total(made(_rays(views, [4], 100), views.select([4]), torch.tensor([4]))).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())
        _check_ranges(made.eval().render(views.select([8])))

    def test_canonical_points_lie_on_the_head(self, head_model, fresh, views):
        view = views.select([0])
        picture = fresh.render(view)
        points = fresh.canonical_surface(view, picture.depth)
        if points is None:
            return
        assert points.shape == (SIZE, SIZE, 3)
        assert points[picture.depth == 0].isnan().all()
        known = points[~points.isnan().any(-1)]
        assert len(known) > 0.5 * (picture.depth > 0).sum()
        canonical = fresh.place_surface()
        assert (known > canonical.amin(0) - 0.05).all()
        assert (known < canonical.amax(0) + 0.05).all()

    def test_occupancy_is_refreshed_within_its_candidates(self, trained, views):
        grid = trained.sampler.occupancy
        if grid is None:
            return
        torch.manual_seed(0)
        trained.refresh_occupancy(views.select([0]), visits=3 * int(grid.candidates.sum()))
        assert grid.visited.any()
        assert grid.density.isfinite().all()
        assert not (grid.occupied.bool() & ~grid.candidates).any()
        _check_ranges(trained.render(views.select([0])))

    def test_it_learns_a_toy_scene(self, fresh, views):
        """A red head in two frames: the colour error on its pixels falls by half in a few steps."""
        frames, red = [0, 5], torch.tensor([1.0, 0.0, 0.0])
        view = views.select(frames)
        rays = pixel_rays(view.camera, _head_pixels(fresh, views, frames))
        groups = parameter_groups(fresh.train().parameter_kinds(), None, LearningRates(networks=5e-3))
        optimizer = torch.optim.Adam(groups)
        torch.manual_seed(0)
        losses = []
        for step in range(25):
            fresh.training_schedule(step / 25)
            rendering = fresh(rays, view, torch.tensor(frames))
            passes = [rendering.rays] if rendering.coarse is None else [rendering.rays, rendering.coarse]
            loss = sum((rendered.over(torch.ones(3)) - red).square().mean() for rendered in passes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.5 * losses[0]

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_a_picture_on_the_gpu_stays_there_and_is_that_of_the_cpu(self, trained, views):
        view = views.select([3])
        expected = trained.render(view)
        shown = copy.deepcopy(trained).to("cuda").render(view.to("cuda"))
        assert shown.rgb.is_cuda
        # The closest point is ambiguous where surfaces touch, so a few pixels may differ.
        difference = (shown.rgb.cpu() - expected.rgb).abs()
        assert difference.mean() < 2e-3
        assert (difference > 0.02).float().mean() < 0.02


def _rays(views: View, frames: list[int], count: int) -> RayBundle:
    """Rays through random pixels."""
    pixels = SIZE * torch.rand(len(frames), count, 2, generator=torch.Generator().manual_seed(1))
    return pixel_rays(views.camera.select(frames), pixels)


def _head_pixels(method: AvatarMethod, views: View, frames: list[int]) -> Tensor:
    """``[F, R, 2]`` pixels of the views at which there is head in each of some frames."""
    model = method.head_model
    turning = (model.head_weights() > 0.9).nonzero()[::40, 0]
    vertices = model(views.head.select(frames)).vertices[:, turning]
    return views.camera.select(frames).project(vertices)[0].detach()


def _total(rendering: MethodOutput) -> Tensor:
    """A scalar in which everything that a loss may look at takes part."""
    passes = [rendering.rays] if rendering.coarse is None else [rendering.rays, rendering.coarse]
    total = sum(r.rgb.square().sum() + r.opacity.square().sum() for r in passes)
    if rendering.deformation is not None:
        total = total + sum(value.sum() for value in rendering.deformation.values().values())
    return total


def _check_ranges(picture: Picture) -> None:
    for name, value in vars(picture).items():
        assert value is None or value.isfinite().all(), name
    assert (picture.alpha >= 0).all()
    assert (picture.alpha <= 1 + 1e-5).all()
    assert (picture.rgb >= 0).all()
    assert (picture.rgb <= picture.alpha + 1e-5).all()
    assert (picture.depth >= 0).all()


def _check_same(first: Picture, second: Picture, tolerance: float) -> None:
    limits = {"atol": tolerance, "rtol": 10 * tolerance}
    for name, value in vars(second).items():
        if value is not None:
            torch.testing.assert_close(getattr(first, name), value, msg=name, **limits)
