"""Colours of the views against parts that are known; what drives each part against loops over the skin."""

import numpy as np
import pytest
import torch

from partnerface.avatar.avatar import Avatar
from partnerface.avatar_files.loading import load_avatar
from partnerface.benchmarks.methods.part_maps import (
    CanonicalSkin,
    canonical_part_maps,
    driven_motion,
    part_places,
    write_part_maps,
)
from partnerface.deformation.deformation import CanonicalHead
from partnerface.deformation.global_deformation import GlobalDeformation, NoDeformation
from partnerface.deformation.part_blendshapes import PartBlendshapes
from partnerface.evaluation.pictures import part_colours

SIZE = 96


@pytest.fixture(scope="module")
def avatar(trained_run) -> Avatar:
    return load_avatar(trained_run / "checkpoints" / "last.ckpt")


def _chromaticity(pixels: np.ndarray) -> np.ndarray:
    """Colours without their brightness, which is shading."""
    return pixels / np.linalg.norm(pixels, axis=-1, keepdims=True)


def test_hard_parts_left_and_right_of_the_face(avatar: Avatar) -> None:
    """Two hard parts, split at the middle of the face: the front shows both colours, a side one alone."""
    assigner = avatar.deformation.assigner
    parts = avatar.deformation.parts
    neutral = avatar.head_model.neutral_parameters()
    skin = avatar.head_model(neutral).canonical_vertices[avatar.skinning.faces.unique()]
    middle = avatar.cube((skin.amin(0) + skin.amax(0)) / 2)
    sides = middle + torch.tensor([[-0.2, 0.0, 0.0], [0.2, 0.0, 0.0]])
    assigner.place(torch.cat([sides, torch.full((parts - 2, 3), 50.0)]))
    assigner.biases.data.zero_()
    assigner.log_sizes.data.zero_()
    avatar.deformation.set_hard(True)
    surface = CanonicalSkin.of(avatar)
    image = canonical_part_maps(surface, SIZE).astype(float)
    avatar.deformation.set_hard(False)
    assert image.shape == (SIZE, 2 * SIZE, 3)
    colours = _chromaticity(part_colours(parts).numpy().astype(float))

    def shown_colour(picture: np.ndarray, place: tuple[int, int]) -> int:
        pixel = _chromaticity(picture[place[1], place[0]])
        return int(np.linalg.norm(colours - pixel, axis=-1).argmin())

    front, side = image[:, :SIZE], image[:, SIZE:]
    half = SIZE // 2
    for place, part in ((half - 12, 0), (half + 12, 1)):
        assert np.allclose(_chromaticity(front[half, place]), colours[part], atol=0.05), (place, part)
    covered = (side < 250).any(-1)
    shown = _chromaticity(side[covered])
    nearest = np.linalg.norm(shown[:, None] - colours[None, :2], axis=-1).argmin(1)
    # A pixel at the rim may be of neither.
    assert np.bincount(nearest).max() > 0.95 * len(nearest)
    # Each part has its number amid its side of the face.
    places = part_places(surface, SIZE)
    assert set(places) == {0, 1}
    assert [shown_colour(image, places[part]) for part in (0, 1)] == [0, 1]
    # White around the head.
    assert (front[0, 0] == 255).all()


def test_a_line_for_each_avatar(avatar: Avatar, tmp_path) -> None:
    write_part_maps(tmp_path / "parts.png", [("one", avatar), ("two", avatar)])
    assert (tmp_path / "parts.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def of_deformation(avatar: Avatar):
    """Puts a deformation of random weights in the place of the avatar's own."""
    own = avatar.deformation

    def make(kind, **choices) -> Avatar:
        torch.manual_seed(0)
        made = kind(avatar.driving.width, **choices)
        for parameter in made.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        used = avatar.skinning.faces.unique()
        shown = torch.rand(5, avatar.head_model.num_expression)
        vertices = avatar.place_surface()
        made.adapt_to(CanonicalHead(avatar.head_model, vertices, used, shown, avatar.cube))
        avatar.deformation = made.eval()
        return avatar

    yield make
    avatar.deformation = own


@pytest.mark.parametrize("parts", [1, 5])
def test_motion_of_each_part_is_the_mean_over_its_skin(of_deformation, parts: int) -> None:
    avatar = of_deformation(PartBlendshapes, parts=parts, hidden_width=8)
    skin = CanonicalSkin.of(avatar)
    found = driven_motion(avatar, skin)
    assert found.shape == (parts, avatar.head_model.num_expression)
    number = avatar.head_model.expression_index("jawOpen")
    signal = avatar.driving
    assert signal.high[number] > 0.1
    used = skin.faces.unique()
    rest, moved = torch.zeros(2, 1, signal.width)
    moved[0, number] = signal.high[number]
    frame = torch.zeros(len(used), dtype=torch.int32)
    positions = avatar.cube(skin.vertices[used])
    with torch.no_grad():
        offsets = [avatar.deformation(positions, driving, frame).offsets for driving in (rest, moved)]
    length = 1000 * float(avatar.cube.extent) * (offsets[1] - offsets[0]).norm(dim=1).double()
    for part in range(parts):
        weight = skin.weights[used, part].double()
        expected = ((weight * length**2).sum() / weight.sum()).sqrt()
        assert float(found[part, number]) == pytest.approx(float(expected), rel=1e-3)


def test_an_expression_that_drives_no_part_and_a_part_that_nothing_drives(of_deformation) -> None:
    avatar = of_deformation(PartBlendshapes, parts=5, top_k=1, hidden_width=8)
    avatar.deformation.driving_mask[:, 7] = 0
    avatar.deformation.driving_mask[2] = 0
    found = driven_motion(avatar, CanonicalSkin.of(avatar))
    assert found[:, 7].max() == found[2].max() == 0
    assert found[0].max() > 0


@pytest.mark.parametrize("kind", [GlobalDeformation, NoDeformation, PartBlendshapes])
def test_any_deformation_has_the_figure(of_deformation, tmp_path, kind) -> None:
    """One network for the whole head, none, and more parts than the figure has rows."""
    choices = {"parts": 40, "hidden_width": 8} if kind is PartBlendshapes else {}
    avatar = of_deformation(kind, **choices)
    write_part_maps(tmp_path / "parts.png", [("one", avatar)])
    assert (tmp_path / "parts.png").read_bytes().startswith(b"\x89PNG")
    assert driven_motion(avatar, CanonicalSkin.of(avatar)).isfinite().all()
