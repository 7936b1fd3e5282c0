"""The whole avatar on a tiny rendered subject: what rays see, what survives a checkpoint, what learns."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from partnerface.avatar.avatar import Avatar
from partnerface.avatar.canonical_map import LEAST_DISTANCE
from partnerface.avatar.picture import Picture
from partnerface.cameras.pinhole import RayBundle, image_pixels, pixel_rays
from partnerface.data.sequence import TrackedSequence
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.data.view import View
from partnerface.deformation.global_deformation import NoDeformation
from partnerface.deformation.lip_expression import LipExpression
from partnerface.deformation.part_networks import PartNetworks
from partnerface.errors import UserError
from partnerface.fields.hash_field import HashField
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_parameters import ParameterRefinement
from partnerface.rendering.rendered_rays import MethodOutput, RenderedRays
from partnerface.rendering.torso_layer import TorsoLayer
from partnerface.sampling.head_sampler import HeadRaySampler
from partnerface.sampling.ray_sampler import RaySamples
from partnerface.skinning.nearest_surface import NearestSurface
from partnerface.skinning.nearest_triangle import NearestTriangle
from tests.contracts.subjects import in_frame
from tests.views import views_of


@pytest.fixture(scope="module")
def sequence(synthetic_dataset) -> TrackedSequence:
    return SyntheticReader(synthetic_dataset, frames=24, size=32).read()


FIELD = partial(HashField, levels=4, log2_table_size=12, finest=128, hidden_width=16)


def make_avatar(deformation: str = "parts", seed: int = 0, **choices: object) -> Avatar:
    torch.manual_seed(seed)
    parts = partial(PartNetworks, parts=6, hidden_width=16, **choices)
    return Avatar(
        head_model=AnnyHead(),
        skinning=NearestSurface(),
        deformation=parts if deformation == "parts" else NoDeformation,
        field=FIELD,
        sampler=HeadRaySampler(samples=12, cells=32),
        torso=TorsoLayer(resolutions=(8, 16), channels=4),
    )


@pytest.fixture(scope="module")
def adapted_state(sequence) -> dict[str, torch.Tensor]:
    made = make_avatar()
    made.adapt_to(sequence)
    return made.state_dict()


@pytest.fixture
def avatar(adapted_state) -> Avatar:
    made = make_avatar()
    made.load_state_dict(adapted_state)
    return made.eval()


def wake(avatar: Avatar) -> None:
    """Weights as after training: offsets, appearance and torso differ from place to place."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in [*avatar.deformation.networks.parameters(), *avatar.torso.planes]:
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        avatar.field.grid.tables.add_(torch.randn(avatar.field.grid.tables.shape, generator=generator))


def render(avatar: Avatar, sequence: TrackedSequence, frame: int, **options) -> Picture:
    return avatar.render(views_of(sequence, [frame]), **options)


def shade(avatar: Avatar, rays: RayBundle, view: View, with_parts: bool = True) -> MethodOutput:
    """Rays, sample by sample."""
    frames = avatar.pose_frames(view)
    return avatar.shade(avatar.sample(rays, frames), frames, with_parts)


@torch.no_grad()
def all_rays(avatar: Avatar, sequence: TrackedSequence, frame: int) -> RenderedRays:
    """The rays of a picture, row by row, with the opacity of the head alone."""
    view = views_of(sequence, [frame])
    pixels = image_pixels(view.camera.width, view.camera.height)
    return shade(avatar, pixel_rays(view.camera, pixels[None]), view).rays


def training_rays(sequence: TrackedSequence, frames: list[int], count: int) -> RayBundle:
    pixels = 32 * torch.rand(len(frames), count, 2, generator=torch.Generator().manual_seed(1))
    return pixel_rays(sequence.camera.select(frames), pixels)


def close_up(target: torch.Tensor, normal: torch.Tensor) -> RayBundle:
    """One ray from 30 cm before each target ``[N, 3]``, straight onto it."""
    origins = target + 0.3 * normal
    return RayBundle(origins[None], -normal.expand_as(target)[None], torch.zeros(1, len(target), 2))


def assert_same_picture(first: Picture, second: Picture) -> None:
    for name in ("rgb", "alpha", "depth", "part_weights"):
        torch.testing.assert_close(
            getattr(first, name), getattr(second, name), atol=1e-5, rtol=1e-4, msg=name
        )


def test_a_picture_is_of_one_view_and_a_single_number_is_both_its_sides(
    avatar: Avatar, sequence: TrackedSequence
) -> None:
    picture = render(avatar, sequence, 3, size=16)
    assert_same_picture(picture, render(avatar, sequence, 3, size=(16, 16)))
    assert picture.alpha.shape == (16, 16)
    with pytest.raises(UserError, match=r"view: 3 frames; render one of them, view\.select\(\[k\]\)"):
        avatar.render(views_of(sequence, [0, 1, 2]))


def test_picture_shows_the_head_where_the_matte_does(avatar, sequence):
    """Before any training: opaque inside the head, nothing in the corners above, finite everywhere."""
    shown = render(avatar, sequence, 0, with_parts=True)
    for value in (shown.rgb, shown.alpha, shown.depth, shown.part_weights):
        assert value.isfinite().all()
    assert (shown.alpha <= 1 + 1e-5).all()
    assert (shown.rgb <= shown.alpha + 1e-5).all()
    head = all_rays(avatar, sequence, 0).head_opacity[0].view(32, 32)
    assert torch.equal(shown.depth > 0, head > 0.5)
    centre = sequence.camera.select([0]).project(sequence.head.translation[:1, None])[0][0, 0].long()
    assert head[centre[1] - 1, centre[0]] == pytest.approx(1, abs=1e-4)
    assert not head[0, [0, -1]].any()
    depth = shown.depth[centre[1] - 1, centre[0]]
    distance = sequence.head.translation[0].norm()
    assert distance - 0.15 < depth < distance + 0.1


def test_rays_that_miss_see_nothing_and_cost_nothing(avatar, sequence):
    rays = training_rays(sequence, [0], 50)
    rays.directions = -rays.directions
    avatar.torso.neck_line.fill_(5.0)
    avatar.train()
    rendered = shade(avatar, rays, views_of(sequence, [0]))
    rays, deformation = rendered.rays, rendered.deformation
    for name in ("rgb", "opacity", "depth", "head_opacity", "part_weights"):
        assert not getattr(rays, name).any(), name
    assert not deformation.offset_size.any()
    torch.testing.assert_close(deformation.part_usage, torch.full((1, 6), 1 / 6))
    loss = rays.rgb.sum() + rays.opacity.sum() + sum(value.sum() for value in deformation.values().values())
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in avatar.parameters())


def test_deformation_is_zero_before_training(avatar, sequence):
    """With zero offsets and appearance, hard and soft parts are one picture."""
    rays, view = training_rays(sequence, [3], 300), views_of(sequence, [3])
    soft = render(avatar, sequence, 3)
    assert not avatar(rays, view).deformation.offset_size.any()
    avatar.training_schedule(0.0)
    torch.testing.assert_close(render(avatar, sequence, 3).rgb, soft.rgb)
    avatar.training_schedule(1.0)
    wake(avatar)
    assert (avatar(rays, view).deformation.offset_size > 0).all()


def test_stage_one_is_hard_and_stage_two_soft(avatar, sequence):
    wake(avatar)
    avatar.training_schedule(avatar.warm_up - 1e-3)
    hard = all_rays(avatar, sequence, 0)
    assert avatar.deformation.assigner.hard
    avatar.training_schedule(avatar.warm_up)
    soft = all_rays(avatar, sequence, 0)
    assert not avatar.deformation.assigner.hard
    assert (hard.rgb - soft.rgb).abs().max() > 1e-4
    for rendered in (hard, soft):
        torch.testing.assert_close(rendered.part_weights.sum(-1), rendered.head_opacity, atol=1e-3, rtol=0)
    usage = avatar(training_rays(sequence, [0], 300), views_of(sequence, [0])).deformation.part_usage
    torch.testing.assert_close(usage.sum(), torch.tensor(1.0), atol=1e-3, rtol=0)


def test_progress_reaches_the_deformations_schedules(sequence):
    """Temperature and octaves halfway through their schedules, in the picture and in a copy of the state."""

    def make() -> Avatar:
        choices = {
            "temperature_schedule": "annealed",
            "windowed_frequencies": True,
            "residual_frequencies": 2,
        }
        made = make_avatar(**choices)
        made.adapt_to(sequence)
        wake(made)
        return made.eval()

    early, late = make(), make()
    early.training_schedule(0.25)
    late.training_schedule(1.0)
    assert float(early.deformation.assigner.current_temperature()) == pytest.approx(0.5)
    assert float(late.deformation.assigner.current_temperature()) == pytest.approx(0.25)
    assert early.deformation.window[3:7].tolist() == [1, 1, 0, 0]
    shown = render(early, sequence, 0, with_parts=True)
    assert (shown.rgb - render(late, sequence, 0).rgb).abs().max() > 1e-4
    late.load_state_dict(early.state_dict())
    assert_same_picture(render(late, sequence, 0, with_parts=True), shown)


def test_the_terms_of_the_parts_reach_the_networks_and_only_in_training(avatar, sequence):
    wake(avatar)
    avatar.train()
    rays, view = training_rays(sequence, [2], 300), views_of(sequence, [2])
    statistics = avatar(rays, view).deformation
    assert 0 < float(statistics.part_entropy.detach()) < math.log(2)
    statistics.part_entropy.sum().backward(retain_graph=True)
    assert avatar.deformation.assigner.centres.grad.any()
    assert avatar.deformation.networks.weight3.grad is None
    statistics.offset_roughness.sum().backward()
    assert avatar.deformation.networks.weight3.grad.isfinite().all()
    assert avatar.deformation.networks.weight3.grad.any()
    with torch.no_grad():
        assert avatar(rays, view).deformation is None


def test_triangle_transfer_with_the_expression_at_the_lips(sequence):
    """INSTA's choices in the same pipeline: a picture, gradients, and a code that acts at the mouth only."""
    torch.manual_seed(0)
    avatar = Avatar(
        head_model=AnnyHead(),
        skinning=NearestTriangle(),
        deformation=partial(LipExpression, code_width=3),
        field=partial(FIELD, condition_density=True),
        sampler=HeadRaySampler(samples=12, cells=32),
        torso=TorsoLayer(resolutions=(8, 16), channels=4),
    )
    avatar.adapt_to(sequence)
    avatar.train()
    view = views_of(sequence, [1])
    avatar(training_rays(sequence, [1], 600), view).rays.rgb.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in avatar.parameters() if p.grad is not None)
    assert avatar.deformation.code.grad.any()
    avatar.eval()
    shown = render(avatar, sequence, 1)
    with torch.no_grad():
        avatar.deformation.code.mul_(30)
    changed = (render(avatar, sequence, 1).rgb - shown.rgb).abs().amax(0) > 1e-3
    assert changed.any()
    rows = changed.any(1).nonzero()[:, 0]
    covered = (shown.depth > 0).any(1).nonzero()[:, 0]
    # The mouth is in the lower half of a head.
    assert rows.min() > covered.float().median()
    avatar.refresh_occupancy(view, visits=5000)


def test_torso_is_behind_the_head(avatar, sequence):
    """Where the head covers everything, the torso changes nothing; beside it, it shows alone."""
    avatar.torso.neck_line.zero_()
    with_torso = all_rays(avatar, sequence, 0)
    avatar.torso.neck_line.fill_(5.0)
    alone = all_rays(avatar, sequence, 0)
    covered, beside = alone.head_opacity[0] > 0.9999, alone.head_opacity[0] == 0
    assert covered.any()
    assert beside.any()
    torch.testing.assert_close(with_torso.rgb[0, covered], alone.rgb[0, covered], atol=1e-4, rtol=0)
    assert not alone.rgb[0, beside].any()
    assert (with_torso.opacity[0, beside] > 0).all()
    assert torch.equal(with_torso.head_opacity, alone.head_opacity)


def test_state_is_finite_and_without_the_head_model(avatar):
    """Checkpoints hold weights and what belongs to the person, not the asset."""
    state = avatar.state_dict()
    assert not any(name.startswith("head_model") for name in state)
    assert not any(value.isnan().any() for value in state.values())


def test_gradient_reaches_field_parts_torso_and_the_head_parameters(avatar, sequence):
    wake(avatar)
    avatar.train()
    frames = torch.tensor([1, 8])
    refinement = ParameterRefinement(len(sequence), avatar.head_model.num_expression)
    views = views_of(sequence, frames.tolist())
    views = replace(views, head=refinement(views.head, frames))
    torch.manual_seed(0)
    rendered = avatar(training_rays(sequence, frames.tolist(), 300), views)
    colour, deformation = rendered.rays.over(torch.tensor([0.2, 0.9, 0.4])), rendered.deformation
    loss = (colour - 0.5).square().sum() + deformation.offset_size.sum() + deformation.part_usage[:, 0].sum()
    loss.backward()
    for name, parameter in [*avatar.named_parameters(), *refinement.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    for parameter in refinement.parameters():
        touched = parameter.grad.abs().sum(1) > 0
        assert touched.nonzero()[:, 0].tolist() == frames.tolist()


@pytest.mark.parametrize("direction", [[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]])
def test_gradient_leads_a_displaced_head_back(avatar, sequence, direction):
    """A head that tracking put 1 mm aside: descent on the colour error moves it towards its place."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        avatar.field.grid.tables[0].normal_(0, 1, generator=generator)
        avatar.field.density_head[2].bias[0] = 4.0
    view = views_of(sequence, [0])
    head = view.head
    targets = head.translation[0] + torch.tensor([0.0, 0.06, 0.0])
    targets = targets + 0.08 * torch.rand(600, 3, generator=generator) - 0.04
    rays = close_up(targets, torch.tensor([0.0, 0.0, 1.0]))
    wanted = avatar(rays, view).rays.rgb.detach()
    displacement = (0.001 * torch.tensor(direction)).requires_grad_()
    moved = replace(
        head,
        translation=head.translation + displacement,
        torso_translation=head.torso_translation + displacement,
    )
    (avatar(rays, replace(view, head=moved)).rays.rgb - wanted).square().sum().backward()
    gradient = displacement.grad
    assert gradient.isfinite().all()
    assert gradient @ torch.tensor(direction) > 0.5 * gradient.norm()


def test_closed_eyes_zero_expression_and_extremes_stay_finite(avatar, sequence):
    wake(avatar)
    model, view = avatar.head_model, views_of(sequence, [0])
    closed = torch.zeros_like(view.head.expression)
    for name in ("eyeBlinkLeft", "eyeBlinkRight", "mouthClose"):
        closed[0, model.expression_index(name)] = 1.0
    for expression in (
        closed,
        torch.zeros_like(closed),
        torch.ones_like(closed),
        3 * torch.ones_like(closed),
    ):
        posed = replace(view, head=replace(view.head, expression=expression))
        rendered = shade(avatar, training_rays(sequence, [0], 200), posed).rays
        assert rendered.rgb.isfinite().all()
        assert rendered.part_weights.isfinite().all()
        assert rendered.head_opacity.max().item() == pytest.approx(1, abs=1e-4)


def empty_field(avatar: Avatar) -> None:
    with torch.no_grad():
        avatar.field.density_head[2].weight.zero_()
        avatar.field.density_head[2].bias.fill_(-50.0)


def test_no_hole_at_open_mouth_and_eyes(avatar, sequence):
    """Even with an empty field, rays straight at eyes and into an open mouth end at the backstop."""
    empty_field(avatar)
    model = avatar.head_model
    neutral = replace(model.neutral_parameters(), identity=avatar.identity)
    view = views_of(sequence, [0])
    for jaw in (0.0, 0.5, 1.0):
        head = replace(neutral, expression=torch.zeros(1, model.num_expression))
        head.expression[0, model.expression_index("jawOpen")] = jaw
        vertices = model(head).vertices[0]
        seen = {"eye_left": 0.006, "eye_right": 0.006, "tongue": 0.01}
        for part, radius in seen.items():
            centre = vertices[model.faces[model.part_faces(part)].unique()].mean(0)
            around = torch.rand(60, 3, generator=torch.Generator().manual_seed(0)) - 0.5
            around[:, 2] = 0
            rays = close_up(centre + 2 * radius * around, torch.tensor([0.0, 0.0, 1.0]))
            rendered = avatar(rays, replace(view, head=head)).rays
            assert rendered.head_opacity.min().item() == pytest.approx(1, abs=1e-5), (part, jaw)


def test_refresh_keeps_what_is_dense_and_frees_what_is_empty(avatar, sequence):
    torch.manual_seed(0)
    view = views_of(sequence, [0])
    grid = avatar.sampler.occupancy
    candidates = int(grid.candidates.sum())
    fresh = grid.occupied.clone()
    assert torch.equal(fresh.bool(), grid.candidates)
    avatar.refresh_occupancy(view, visits=3 * candidates)
    kept = int(grid.occupied.sum())
    assert kept > 0.6 * candidates
    empty_field(avatar)
    grid.decay = 0.5
    for _ in range(10):
        avatar.refresh_occupancy(view, visits=3 * candidates)
    assert int(grid.occupied.sum()) < 0.05 * candidates
    assert torch.equal(grid.occupied.bool() & ~grid.candidates, torch.zeros_like(grid.candidates))


@pytest.mark.parametrize(("parts", "top_k"), [(1, 1), (1, 5), (3, 8)])
def test_one_part_and_fewer_parts_than_act_on_a_point(sequence, parts, top_k):
    """Top-k of more parts than there are is all of them."""
    avatar = Avatar(
        head_model=AnnyHead(),
        skinning=NearestSurface(),
        deformation=partial(PartNetworks, parts=parts, top_k=top_k, hidden_width=16),
        field=partial(HashField, levels=2, log2_table_size=8, finest=32, hidden_width=16),
        sampler=HeadRaySampler(samples=4, cells=16),
        torso=TorsoLayer(resolutions=(4,)),
    )
    avatar.adapt_to(sequence)
    avatar.train()
    rendered = shade(avatar, training_rays(sequence, [3], 60), views_of(sequence, [3]))
    rays, statistics = rendered.rays, rendered.deformation
    (rays.rgb.sum() + statistics.offset_size.sum() + statistics.part_usage[:, 0].sum()).backward()
    torch.testing.assert_close(rays.part_weights.sum(-1), rays.head_opacity, atol=1e-3, rtol=0)
    assert statistics.part_usage.shape == (1, parts)
    assert all(p.grad is None or p.grad.isfinite().all() for p in avatar.parameters())


def test_rays_whose_samples_all_lie_outside_the_shell(avatar, sequence, monkeypatch):
    """Occupied cells, but nothing kept: black backstop, torso beside it, gradients finite."""
    monkeypatch.setattr(RaySamples, "evaluated", lambda samples, valid, reachable: torch.zeros_like(valid))
    avatar.train()
    rendered = shade(avatar, training_rays(sequence, [0], 80), views_of(sequence, [0]))
    rays = rendered.rays
    assert (rays.head_opacity > 0).sum() == (rays.head_opacity == 1).sum()
    (rays.rgb.sum() + rays.opacity.sum() + rendered.deformation.offset_size.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in avatar.parameters())


def test_degenerate_triangles_do_no_harm(avatar, sequence):
    """Two or three equal corners, three corners in a line: all is finite, the picture nearly the same."""
    intact = all_rays(avatar, sequence, 2)
    broken = make_avatar()
    head_model = broken.head_model
    faces, template = head_model.faces.clone(), head_model.template_vertices.clone()
    some = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))[:600]
    faces[some[:200], 1] = faces[some[:200], 0]
    faces[some[200:400]] = faces[some[200:400], :1]
    line = faces[some[400:]]
    template[line[:, 2]] = template[line[:, :2]].mean(1)
    head_model.faces, head_model.template_vertices = faces, template
    broken.adapt_to(sequence)
    rendered = all_rays(broken.eval(), sequence, 2)
    assert rendered.rgb.isfinite().all()
    assert (rendered.head_opacity - intact.head_opacity).abs().mean() < 0.02
    broken.train()
    trained = broken(training_rays(sequence, [2], 200), views_of(sequence, [2])).rays
    (trained.rgb.sum() + trained.opacity.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in broken.parameters())


def test_a_head_without_a_backstop_renders(avatar, sequence):
    """The density alone decides."""
    avatar.sampler.backstop_faces = torch.zeros(0, 3, dtype=torch.long)
    rendered = all_rays(avatar, sequence, 2)
    assert rendered.rgb.isfinite().all()
    assert 0.1 < rendered.head_opacity.max() < 1


@pytest.mark.parametrize("appearance", [0, 4, 7])
def test_deformation_and_field_are_made_to_fit(anny, appearance):
    """The deformation for the driving signal that it is given, the field for the deformation's code."""
    avatar = Avatar(
        head_model=anny,
        skinning=NearestSurface(),
        deformation=partial(PartNetworks, parts=2, hidden_width=16, appearance_width=appearance),
        field=partial(HashField, levels=2, log2_table_size=8, finest=32, hidden_width=16),
        sampler=HeadRaySampler(cells=8),
        torso=TorsoLayer(resolutions=(4,)),
    )
    signal = avatar.driving(anny.neutral_parameters())
    assert avatar.deformation.driving_width == signal.shape[1]
    positions = torch.rand(5, 3)
    deformed = avatar.deformation(positions, signal, in_frame(positions))
    assert (0 if deformed.appearance is None else deformed.appearance.shape[1]) == appearance
    directions = avatar.field.encode_directions(torch.eye(3)[[0, 1, 2, 0, 1]])
    density, rgb = avatar.field(positions + deformed.offsets, directions, deformed.appearance)
    assert density.isfinite().all()
    assert rgb.isfinite().all()


def test_statistics_of_each_frame_equal_a_loop_over_its_samples(avatar, sequence):
    """Means over all samples of a frame that can hold density, whatever other frames hold."""
    wake(avatar)
    frames = [5, 2, 11]
    rays, views = training_rays(sequence, frames, 60), views_of(sequence, frames)
    # A frame with fewer samples than another counts for itself, and so does one without any.
    rays.directions[1] *= -1
    rays.directions[2, :20] *= -1
    found = {name: value.detach() for name, value in avatar(rays, views).deformation.values().items()}
    assert not any(found[name][1] for name in ("offset_size", "offset_roughness", "part_entropy"))
    torch.testing.assert_close(found["part_usage"][1], torch.full((6,), 1 / 6))
    for f in (0, 2):
        posed, driving = avatar.pose_frames(views.select([f])), avatar.driving(views.head)[[f]].detach()
        sampled = avatar.sample(rays.frame(f), posed)
        sizes, entropies, usage, rough, last = [], [], torch.zeros(6), [], None
        for number, point in enumerate(sampled.points):
            ray, place = divmod(number, sampled.samples.count)
            canonical = avatar.skinning(point[None], in_frame(point[None]), posed.exact.surface)
            stops = place == sampled.samples.count - 1 and bool(sampled.samples.opaque[ray])
            if not (canonical.valid or (stops and canonical.faces >= 0)):
                continue
            position = avatar.cube(canonical.points)
            with torch.no_grad():
                deformed = avatar.deformation(position, driving, in_frame(position))
            millimetres = 1000 * avatar.cube.extent * deformed.offsets[0]
            sizes.append(float(millimetres.square().sum()))
            weights = deformed.part_weights[0]
            usage[deformed.part_index[0]] += weights
            entropies.append(-sum(w * math.log(w) for w in weights.tolist() if w > 0))
            if last and last[0] == number - 1 and place:
                change = float((deformed.offsets - last[2]).square().sum())
                rough.append(change / (float((position - last[1]).square().sum()) + LEAST_DISTANCE**2))
            last = (number, position, deformed.offsets)
        assert len(sizes) > 10
        assert float(found["offset_size"][f]) == pytest.approx(sum(sizes) / len(sizes), rel=1e-3)
        assert float(found["part_entropy"][f]) == pytest.approx(
            sum(entropies) / len(sizes), rel=1e-3, abs=1e-4
        )
        assert float(found["offset_roughness"][f]) == pytest.approx(sum(rough) / len(rough), rel=1e-3)
        torch.testing.assert_close(found["part_usage"][f], usage / len(sizes), atol=1e-4, rtol=1e-3)
