"""What parts do against each part switched off by itself, vertex by vertex; where they lie against joints."""

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from partnerface.avatar.avatar import Avatar
from partnerface.cameras.pinhole import Camera
from partnerface.deformation.part_blendshapes import PartBlendshapes
from partnerface.deformation.part_networks import PartNetworks
from partnerface.deformation.part_placement import part_centres
from partnerface.evaluation.part_effects import (
    VERTICES_OF_PART,
    CanonicalSkin,
    PartSummary,
    part_effects,
    part_summaries,
)
from partnerface.fields.hash_field import HashField
from partnerface.fields.lit_field import LitField
from partnerface.head_models.head_parts import landmark_points
from partnerface.meshes.normals import vertex_normals
from partnerface.rendering.torso_layer import TorsoLayer
from partnerface.sampling.head_sampler import HeadRaySampler
from partnerface.skinning.nearest_surface import NearestSurface
from tests.contracts.subjects import disturb, shared_head_model, tracked_sequence

UPPER_LIP = 13
"""MediaPipe's number of the landmark in the middle of the upper lip's lower rim."""


def _avatar(deformation: Callable, field: type = HashField, shading: bool = False) -> Avatar:
    """One with random weights."""
    torch.manual_seed(0)
    made = Avatar(
        head_model=shared_head_model(),
        skinning=NearestSurface(),
        deformation=deformation,
        field=partial(field, levels=2, log2_table_size=8, finest=32, hidden_width=8),
        sampler=HeadRaySampler(samples=4, cells=8),
        torso=TorsoLayer(resolutions=(8,), channels=2),
        shading=shading,
    )
    made.adapt_to(tracked_sequence(made.head_model))
    networks = [module for name, module in made.deformation.named_children() if name != "assigner"]
    for module in (*networks, made.field):
        disturb(module, 0.3)
    return made.eval()


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    """Its last part is far from the head; the third depends on nothing, and none on the eighth expression."""
    made = _avatar(partial(PartBlendshapes, parts=24, hidden_width=8))
    made.deformation.assigner.centres.data[-1] = 9.0
    made.deformation.driving_mask[2] = 0
    made.deformation.driving_mask[:, 7] = 0
    return made


@pytest.mark.parametrize("kind", ["blendshapes", "networks under a light"])
@torch.no_grad()
def test_effects_are_those_of_each_part_switched_off_by_itself(avatar: Avatar, kind: str) -> None:
    if kind != "blendshapes":
        # Soft weights: of many vertices with a weight of one, any might be taken.
        networks = partial(PartNetworks, parts=3, hidden_width=8, temperature=10.0)
        avatar = _avatar(networks, LitField, shading=True)
    skin = CanonicalSkin.of(avatar)
    found = part_effects(avatar, skin)
    signal, number = avatar.driving, avatar.head_model.expression_index("jawOpen")
    assert signal.high[number] > 0.1
    rest, driven = torch.zeros(2, 1, signal.width)
    driven[0, number] = signal.high[number]
    # As a camera before the face sees them.
    axes = Camera.static(1, 100.0, 8, 8).camera_to_world[0, :, :3]
    normals = vertex_normals(skin.vertices, skin.faces) @ axes
    assert normals[skin.vertices[:, 2].argmax(), 2] < -0.9

    def colour(vertex: int, driving: torch.Tensor, part: int, gain: float) -> torch.Tensor:
        gains = torch.ones(avatar.parts)
        gains[part] = gain
        avatar.scale_parts(gains)
        position = avatar.cube(skin.vertices[vertex][None])
        deformed = avatar.deformation(position, driving, torch.zeros(1, dtype=torch.int32))
        code = deformed.appearance
        if avatar.shading:
            code = torch.cat([normals[vertex], torch.zeros(1), code[0]])[None]
        front = avatar.field.encode_directions(torch.tensor([[0.0, 0.0, -1.0]]))
        return 255 * avatar.field(position + deformed.offsets, front, code)[1][0].double()

    for part in (0, 1, 2, avatar.parts // 2):
        weights = skin.weights[:, part]
        square = total = 0.0
        for vertex in weights.argsort(descending=True)[:VERTICES_OF_PART].tolist():
            change = [colour(vertex, driven, part, g) - colour(vertex, rest, part, g) for g in (1.0, 0.0)]
            square += float(weights[vertex]) * float((change[0] - change[1]).square().mean())
            total += float(weights[vertex])
        avatar.scale_parts(None)
        assert float(found[part, number]) == pytest.approx((square / total) ** 0.5, rel=1e-2, abs=1e-3)


def test_what_drives_nothing_has_no_effect_and_gains_are_left_as_trained(avatar: Avatar) -> None:
    found = part_effects(avatar, CanonicalSkin.of(avatar))
    assert max(found[2].max(), found[:, 7].max(), found[-1].max()) < 1e-3
    assert found[0].max() > 1
    assert avatar.deformation.part_gains is None


def test_summaries_are_by_effect_and_a_part_beside_the_head_has_no_place(avatar: Avatar) -> None:
    parts = part_summaries(avatar)
    assert sorted(part.number for part in parts) == list(range(24))
    effects = [part.effect for part in parts]
    assert effects == sorted(effects, reverse=True)
    by_number = {part.number: part for part in parts}
    assert by_number[23] == PartSummary(23)
    assert by_number[2].drivers == ()
    names = avatar.head_model.asset.expression_names
    strongest = part_effects(avatar, CanonicalSkin.of(avatar))[0].argmax()
    assert by_number[0].drivers[0][0] == names[strongest]


@pytest.fixture
def placed(avatar: Avatar) -> Iterator[Avatar]:
    """Hard parts: the first two at the eyes' joints, the third at the lips, the others far from them."""
    model, assigner = avatar.head_model, avatar.deformation.assigner
    skin = CanonicalSkin.of(avatar).vertices
    joints = model.identity_joints(avatar.identity)
    chosen = [joints[model.joint("eye_left")], joints[model.joint("eye_right")]]
    chosen = torch.stack([*chosen, landmark_points(model, skin)[UPPER_LIP]])
    spread = part_centres(skin, torch.ones(len(skin)), 80, rounds=0)
    far = spread[torch.cdist(spread, chosen).amin(1) > 0.03][: avatar.parts - 3]
    before = {name: value.clone() for name, value in assigner.state_dict().items()}
    assigner.place(avatar.cube(torch.cat([chosen, far])))
    avatar.deformation.set_hard(True)
    yield avatar
    avatar.deformation.set_hard(False)
    assigner.load_state_dict(before)


def test_parts_at_the_eyes_and_at_the_lips_are_called_so(placed: Avatar) -> None:
    by_number = {part.number: part for part in part_summaries(placed)}
    assert [by_number[k].place for k in range(3)] == ["eyes left", "eyes right", "mouth"]
    skin = CanonicalSkin.of(placed)
    for number, part in by_number.items():
        x = skin.vertices[skin.weights[:, number] > 0.5][:, 0]
        if part.side and len(x):
            assert (float(x.mean()) > 0) == (part.side == "left")


def test_titles_count_from_one_and_say_what_is_known() -> None:
    drivers = (("jawOpen", 8.0), ("mouthPucker", 3.0))
    assert PartSummary(0, "mouth", "left", drivers).title == "1: mouth left, jawOpen"
    assert PartSummary(4, "neck").title == "5: neck"
    assert PartSummary(6).title == "7"


def test_of_other_methods_the_number_is_known() -> None:
    assert part_summaries(SimpleNamespace(parts=3)) == [PartSummary(k) for k in range(3)]
