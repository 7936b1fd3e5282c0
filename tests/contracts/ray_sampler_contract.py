"""What every `RaySampler` must hold.

Inherit `RaySamplerContract` in a class named ``Test...``, override ``make`` to build yours and run pytest on
the file. Set ``slack_m`` to how far beyond the shells of the training heads it may place samples.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from partnerface.head_models.head_model import HeadModel, PosedHead
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.meshes.bvh import cast_rays
from partnerface.sampling.occupancy import OccupancyGrid
from partnerface.sampling.ray_sampler import RaySampler
from partnerface.skinning.head_surface import head_surface
from tests.contracts.subjects import (
    SHELL_M,
    in_frame,
    moved_head,
    random_motion,
    shared_head_model,
    strong_parameters,
)

FRAMES = 3


class RaySamplerContract:
    """Override ``make``."""

    slack_m: float = 0.03
    """Metres beyond the shells of the training heads that samples may lie."""

    def make(self) -> RaySampler:
        """A new one, that knows nobody yet."""
        raise NotImplementedError("override make")

    @pytest.fixture
    def head_model(self) -> HeadModel:
        return shared_head_model()

    @pytest.fixture
    def train(self, head_model) -> HeadParameters:
        return strong_parameters(head_model, FRAMES, seed=2)

    @pytest.fixture
    def posed(self, head_model, train) -> PosedHead:
        return head_model(train)

    @pytest.fixture
    def sampler(self, head_model, posed, train) -> RaySampler:
        """Adapted to a person, in evaluation."""
        made = self.make()
        made.adapt_to(head_model, head_surface(head_model), _thickness(head_model), train)
        return self.loaded(head_model, posed, made.state_dict())

    def loaded(self, head_model: HeadModel, posed: PosedHead, state: dict[str, Tensor]) -> RaySampler:
        """A new one with weights and buffers from a checkpoint."""
        made = self.make()
        made.load_state_dict(state)
        canonical, surface = posed.canonical_vertices, head_surface(head_model)
        made.set_surface(head_model, canonical, surface, _thickness(head_model))
        return made.eval()

    @pytest.mark.parametrize("training", [True, False])
    def test_depths_rise_and_lengths_are_not_negative(self, sampler, posed, train, training):
        torch.manual_seed(0)
        sampler.train(training)
        for frame in range(FRAMES):
            rays = _rays(posed, frame)
            samples = sampler(*rays, _bounds(sampler, posed, train))
            assert samples.depths.shape == samples.lengths.shape == (len(rays[0]), samples.count)
            assert 0.2 < samples.hit.float().mean() < 1
            samples = samples.select(samples.hit)
            assert samples.depths.isfinite().all()
            assert (samples.depths >= 0).all()
            assert (samples.depths.diff(dim=1) >= -1e-6).all()
            assert (samples.lengths >= 0).all()

    def test_rays_that_look_away_have_no_samples(self, sampler, posed, train):
        origins, directions, number = _rays(posed, 0)
        samples = sampler(origins, -directions, number, _bounds(sampler, posed, train))
        assert not samples.hit.any()
        assert not samples.opaque.any()
        # Past the head, also exactly along the axes.
        beside = posed.vertices[0].mean(0) + 3 * torch.eye(3)
        samples = sampler(beside, torch.eye(3).roll(1, 0), in_frame(beside), _bounds(sampler, posed, train))
        assert not samples.hit.any()

    def test_evaluation_is_repeatable_and_training_is_random(self, sampler, posed, train):
        rays, bounds = _rays(posed, 1), _bounds(sampler, posed, train)
        evaluated = sampler(*rays, bounds)
        hit = evaluated.hit
        assert torch.equal(sampler(*rays, bounds).depths[hit], evaluated.depths[hit])
        sampler.train()
        with torch.no_grad():
            assert torch.equal(sampler(*rays, bounds).depths[hit], evaluated.depths[hit])
        torch.manual_seed(0)
        first, second = sampler(*rays, bounds), sampler(*rays, bounds)
        torch.manual_seed(0)
        assert torch.equal(sampler(*rays, bounds).depths, first.depths)
        for a, b in ((first, evaluated), (first, second)):
            assert ((a.depths - b.depths)[hit].abs() > 1e-6).any(1).float().mean() > 0.8
        assert torch.equal(first.hit, hit)

    @pytest.mark.parametrize("training", [True, False])
    def test_samples_lie_around_the_shells_of_the_training_heads(
        self, head_model, sampler, posed, train, training
    ):
        torch.manual_seed(0)
        sampler.train(training)
        used = head_model.faces[head_surface(head_model)].unique()
        rigid = (posed.vertices[:, used] - train.translation[:, None]) @ train.rotation
        reach = SHELL_M + self.slack_m
        for frame in range(FRAMES):
            origins, directions, number = _rays(posed, frame)
            samples = sampler(origins, directions, number, _bounds(sampler, posed, train))
            points = origins[:, None] + directions[:, None] * samples.depths[..., None]
            points = (points - train.translation[frame]) @ train.rotation[frame]
            seen = samples.hit[:, None] & (samples.lengths > 0)
            assert seen.any()
            assert (points[seen] > rigid.amin((0, 1)) - reach).all()
            assert (points[seen] < rigid.amax((0, 1)) + reach).all()

    @pytest.mark.parametrize("training", [True, False])
    def test_no_ray_passes_the_skin_without_a_sample_near_it(
        self, head_model, sampler, posed, train, training
    ):
        torch.manual_seed(0)
        sampler.train(training)
        faces = head_model.faces[head_surface(head_model)]
        for frame in range(FRAMES):
            origins, directions, number = _rays(posed, frame)
            skin = cast_rays(posed.vertices[frame], faces, origins, directions)
            meets = skin > 0
            assert 0.2 < meets.float().mean() < 1
            samples = sampler(origins, directions, number, _bounds(sampler, posed, train)).select(meets)
            assert samples.hit.all()
            gap = (samples.depths - skin[meets, None]).abs().amin(1)
            assert (gap <= samples.lengths.amax(1) + 1e-3).all()

    @pytest.mark.parametrize("chunk", [1, 7])
    def test_rays_in_chunks_are_the_rays_at_once(self, sampler, posed, train, chunk):
        rays, bounds = [value[:60] for value in _rays(posed, 0)], _bounds(sampler, posed, train)
        whole = sampler(*rays, bounds)
        pieces = [sampler(*piece, bounds) for piece in zip(*(v.split(chunk) for v in rays), strict=True)]
        for name, value in vars(whole).items():
            joined = torch.cat([getattr(piece, name) for piece in pieces])
            torch.testing.assert_close(joined, value, atol=1e-6, rtol=0, msg=name)

    def test_no_rays(self, sampler, posed, train):
        none = torch.zeros(0, 3)
        samples = sampler(none, none, in_frame(none), _bounds(sampler, posed, train))
        assert samples.depths.shape == samples.lengths.shape == (0, samples.count)
        assert samples.hit.shape == samples.opaque.shape == (0,)

    def test_rays_of_several_frames_are_those_of_each_by_itself(self, sampler, posed, train):
        """Rays of all frames in one pass and any order."""
        rays = [_rays(posed, frame) for frame in range(FRAMES)]
        joined = [torch.cat(values) for values in zip(*rays, strict=True)]
        order = torch.randperm(len(joined[0]), generator=torch.Generator().manual_seed(0))
        bounds = _bounds(sampler, posed, train)
        together = sampler(*(value[order] for value in joined), bounds)
        for frame in range(FRAMES):
            one = train.select([frame])
            origins, directions, number = rays[frame]
            alone = sampler(origins, directions, 0 * number, _bounds(sampler, _posed(posed, frame), one))
            found = together.select((joined[2][order] == frame).nonzero()[:, 0])
            back = order[joined[2][order] == frame].argsort()
            for name, value in vars(alone).items():
                assert torch.equal(getattr(found, name)[back], value), name

    def test_moving_the_world_leaves_depths(self, head_model, sampler, posed, train):
        turn, shift = random_motion()
        head = moved_head(train, turn, shift)
        origins, directions, number = _rays(posed, 0)
        expected = sampler(origins, directions, number, _bounds(sampler, posed, train))
        moved = _bounds(sampler, head_model(head), head)
        found = sampler(origins @ turn.T + shift, directions @ turn.T, number, moved)
        assert (found.hit == expected.hit).float().mean() > 0.99
        both = found.hit & expected.hit
        # A step on the rim of a cell may fall to either side.
        error = (found.depths - expected.depths)[both].abs().amax(1)
        assert (error < 1e-4).float().mean() > 0.9

    def test_state_travels_with_the_checkpoint(self, head_model, sampler, posed, train):
        loaded = self.loaded(head_model, posed, sampler.state_dict())
        for frame in range(FRAMES):
            found, expected = (
                made(*_rays(posed, frame), _bounds(made, posed, train)) for made in (loaded, sampler)
            )
            for name, value in vars(expected).items():
                assert torch.equal(getattr(found, name), value), name

    def test_an_occupancy_grid_starts_with_candidates(self, sampler):
        grid = sampler.occupancy
        assert grid is None or isinstance(grid, OccupancyGrid)
        if grid is not None:
            assert grid.candidates.any()
            assert torch.equal(grid.occupied.bool(), grid.candidates)

    def test_a_clip_of_one_frame(self, head_model, posed, train):
        made, one = self.make(), train.select([1])
        made.adapt_to(head_model, head_surface(head_model), _thickness(head_model), one)
        loaded = self.loaded(head_model, posed, made.state_dict())
        assert loaded(*_rays(posed, 1), _bounds(loaded, posed, train)).hit.any()

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_on_the_gpu_all_stays_there_and_agrees(self, head_model, sampler, posed, train):
        expected = sampler(*_rays(posed, 0), _bounds(sampler, posed, train))
        model, head = copy.deepcopy(head_model).to("cuda"), train.to("cuda")
        moved = self.make().to("cuda")
        moved.load_state_dict(sampler.state_dict())
        canonical, surface = posed.canonical_vertices.cuda(), head_surface(model)
        moved.set_surface(model, canonical, surface, _thickness(head_model).cuda())
        rays = (value.cuda() for value in _rays(posed, 0))
        found = moved.eval()(*rays, _bounds(moved, model(head), head))
        assert all(value.is_cuda for value in vars(found).values())
        assert (found.hit.cpu() == expected.hit).float().mean() > 0.99
        both = found.hit.cpu() & expected.hit
        error = (found.depths.cpu() - expected.depths)[both].abs().amax(1)
        assert (error < 1e-4).float().mean() > 0.9


def _thickness(head_model: HeadModel) -> Tensor:
    return torch.full((len(head_model.template_vertices),), SHELL_M)


def _posed(head: PosedHead, frame: int) -> PosedHead:
    """One frame of a posed head."""
    shared = {"canonical_vertices": head.canonical_vertices}
    return PosedHead(**{name: value[[frame]] for name, value in vars(head).items()} | shared)


def _bounds(sampler: RaySampler, posed: PosedHead, head: HeadParameters) -> Any:
    return sampler.bounds(posed, head.rotation, head.translation)


def _rays(posed: PosedHead, frame: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rays ``[R, 3]`` from the camera at and around a frame's head, some past it, and their frame ``[R]``."""
    generator = torch.Generator().manual_seed(frame)
    targets = posed.vertices[frame, ::50]
    targets = targets + 0.02 * torch.randn(targets.shape, generator=generator)
    targets[::5] += torch.randn(targets[::5].shape, generator=generator)
    return torch.zeros_like(targets), functional.normalize(targets, dim=1), in_frame(targets, frame)
