"""Refined mattes against a known alpha: a person with hair before a busy wall, seen by a coarse network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from kornia.filters import guided_blur
from scipy import ndimage

from partnerface.data.completion import matte_refinement
from partnerface.data.completion.matte_refinement import find_clean_plate, refine_mattes, refined_matte
from partnerface.data.regions import Region
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.head_models.head_parts import head_parts

SIZE, FRAMES, CELL = 128, 10, 6


def person(shift):
    """True alpha ``[H, W]`` in [0, 1] and colour ``[H, W, 3]``: head, shoulders and strands of hair."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    head = ((x - 64 - shift) / 24) ** 2 + ((y - 52) / 32) ** 2
    shoulders = (np.abs(x - 64) / 50) ** 3 + ((SIZE + 6 - y) / 46) ** 2
    neck = (np.abs(x - 64) < 11) & (y > 60)
    angle = np.arctan2(y - 52, x - 64 - shift)
    strands = (head < 1.35) & (np.sin(40 * angle) > 0.4) & (y < 60)
    alpha = ndimage.gaussian_filter(((head < 1) | (shoulders < 1) | neck | strands).astype(float), 0.6)
    colour = np.where((head < 0.5)[..., None], [0.85, 0.65, 0.55], [0.12, 0.08, 0.07])
    return alpha, np.where((y > 90)[..., None], [0.15, 0.2, 0.5], colour)


def wall(shift=0):
    blocks = np.random.default_rng(0).uniform(0.35, 0.95, (SIZE // 8 + 9, SIZE // 8 + 9, 3))
    whole = ndimage.gaussian_filter(np.kron(blocks, np.ones((8, 8, 1))), (1, 1, 0))
    return whole[:SIZE, shift : shift + SIZE]


def coarse(alpha):
    """What a network of a sixth of the resolution makes of it, with a spot in the background and a hole."""
    small = ndimage.uniform_filter(alpha, CELL)[CELL // 2 :: CELL, CELL // 2 :: CELL]
    matte = ndimage.zoom(small, SIZE / len(small), order=1, grid_mode=True, mode="nearest")
    matte[10:24, 8:22] = 0.9
    matte[108:116, 60:70] = 0.1
    return np.round(matte * 255).clip(0, 255).astype(np.uint8)


def made_clip(walls):
    noise = np.random.default_rng(1)
    images, mattes, truth = [], [], []
    for i, background in enumerate(walls):
        alpha, colour = person(18 * np.sin(i * 2.4))
        image = alpha[..., None] * colour + (1 - alpha[..., None]) * background
        image += noise.normal(0, 0.008, image.shape)
        images.append(np.round(image.clip(0, 1) * 255).astype(np.uint8))
        mattes.append(coarse(alpha))
        truth.append(alpha * 255)
    return np.stack(images), np.stack(mattes), np.stack(truth)


@pytest.fixture(scope="module")
def clip():
    return made_clip([wall()] * FRAMES)


def refined(images, mattes):
    found = mattes.copy()
    refine_mattes(lambda i: images[i], found)
    return found


def error(mattes, truth):
    return np.abs(mattes - truth).mean()


def test_outline_spot_and_hole_of_a_coarse_matte(clip):
    images, mattes, truth = clip
    calls = []
    found = mattes.copy()
    refine_mattes(lambda i: images[i], found, lambda: calls.append(1))
    assert len(calls) == FRAMES
    assert found[:, 10:24, 8:22].max() == 0
    assert found[:, 108:116, 60:70].min() == 255
    outline = (truth > 5) & (truth < 250)
    assert error(found[outline], truth[outline]) < 0.7 * error(mattes[outline], truth[outline])
    assert error(found, truth) < 0.55 * error(mattes, truth)


def test_ears_and_the_outline_of_hair_come_nearer_to_the_truth(anny):
    """A rendered person before the wall; the network's outline is also ragged, anew in each frame."""
    subject = replace(subject_named("a"), background=((0.0, 0.0, 0.0),) * 2)
    renderer = SubjectRenderer(anny, subject, 240, SIZE, seed=0)
    of_ears = torch.zeros(len(renderer.dressed.face_points), 1)
    of_ears[: len(anny.template_vertices), 0] = head_parts(anny).weights["ears"]
    random = np.random.default_rng(2)
    images, mattes, truth, near = [], [], [], {"ears": [], "hair": []}
    for i in range(0, 240, 30):
        frame = renderer.render(i)
        alpha = frame.matte / 255
        # Before black a picture is premultiplied.
        image = frame.image / 255 + (1 - alpha[..., None]) * wall()
        image += random.normal(0, 0.008, image.shape)
        images.append(np.round(image.clip(0, 1) * 255).astype(np.uint8))
        shift = ndimage.gaussian_filter(random.normal(0, 10, (2, SIZE, SIZE)), (0, 2.5, 2.5))
        ragged = ndimage.map_coordinates(alpha, np.mgrid[:SIZE, :SIZE] + shift, order=1, mode="nearest")
        mattes.append(coarse(ragged))
        truth.append(frame.matte.astype(float))
        seen = renderer.rasterize(i, renderer.camera.select([i])).fragments
        ears = np.zeros((SIZE, SIZE), bool)
        ears[seen.mask] = seen.interpolate(of_ears, renderer.dressed.faces)[:, 0] > 0.5
        near["ears"].append(ndimage.binary_dilation(ears, iterations=3))
        near["hair"].append(ndimage.binary_dilation(frame.labels == Region.HAIR, iterations=3))
    images, mattes, truth = (np.stack(values) for values in (images, mattes, truth))
    found = refined(images, mattes)
    for part in near:
        places = np.stack(near[part])
        assert error(found[places], truth[places]) < 0.75 * error(mattes[places], truth[places]), part


def test_background_is_the_wall_wherever_it_is_seen(clip):
    images, mattes, truth = clip
    plate = find_clean_plate(images, mattes)
    seen = ((mattes < 64) & (truth < 1)).sum(0) > FRAMES // 2
    seen &= ndimage.binary_erosion(seen, iterations=6)
    off = np.abs(plate.colour.permute(1, 2, 0).numpy() - wall())[seen]
    assert seen.mean() > 0.25
    assert off.max() < 0.03
    assert plate.deviation[100, 64].isinf()


def test_a_moving_background_does_no_harm():
    images, mattes, truth = made_clip([wall(4 * (i % 8)) for i in range(FRAMES)])
    near = np.ones((SIZE, SIZE), bool)
    near[8:26, 6:24] = near[104:120, 56:74] = False
    found = refined(images, mattes)
    assert error(found[:, near], truth[:, near]) < error(mattes[:, near], truth[:, near])


def test_an_empty_matte_after_a_person_has_left(clip):
    images, mattes, truth = (values.copy() for values in clip)
    empty = np.round(wall() * 255).astype(np.uint8)
    images[6:], mattes[6:] = empty, 0
    found = refined(images, mattes)
    assert not found[6:].any()
    assert error(found[:6], truth[:6]) < 0.55 * error(mattes[:6], truth[:6])


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("value", [0, 255])
def test_mattes_without_an_outline_stay_as_they_are(clip, value, frames):
    mattes = np.full((frames, SIZE, SIZE), value, np.uint8)
    np.testing.assert_array_equal(refined(clip[0][:frames], mattes), mattes)


def test_a_single_frame_is_fitted_to_its_edges(clip):
    images, mattes, truth = (values[:1] for values in clip)
    found = refined(images, mattes)
    assert found[0, 10:24, 8:22].max() == 0
    assert error(found, truth) < 0.7 * error(mattes, truth)


@pytest.mark.parametrize("shape", [(7, 5), (2, 2), (130, 64)])
def test_pictures_of_any_shape(shape):
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (*shape, 3)).astype(np.uint8)
    matte = np.zeros(shape, np.uint8)
    matte[shape[0] // 2 :] = 255
    plate = find_clean_plate(image[None], matte[None])
    assert refined_matte(image, matte, plate).shape == shape


@pytest.mark.parametrize("radius", [1, 4, 30])
def test_box_is_the_mean_inside_the_picture(radius):
    values = np.random.default_rng(0).random((2, 23, 17)).astype(np.float32)
    found = matte_refinement._box(torch.from_numpy(values), radius).numpy()
    for y, x in ((0, 0), (11, 8), (22, 3), (5, 16)):
        part = values[:, max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        np.testing.assert_allclose(found[:, y, x], part.mean((1, 2)), atol=1e-5)


@pytest.mark.parametrize(("shape", "radius"), [((97, 64), 1), ((130, 131), 3)])
def test_guided_filter_is_that_of_kornia(shape, radius):
    """Where the window lies inside the picture; beyond it kornia mirrors."""
    random = torch.Generator().manual_seed(0)
    colour = matte_refinement._box(torch.rand(3, *shape, generator=random), 2)
    values = (colour[0] > 0.5).float()
    found = matte_refinement._guided(colour, values, radius)
    expected = guided_blur(colour[None], values[None, None], 2 * radius + 1, 1e-4)[0, 0]
    inside = slice(3 * radius, -3 * radius)
    torch.testing.assert_close(found[inside, inside], expected[inside, inside], atol=2e-3, rtol=0)


def test_guided_filter_knows_no_left_and_right():
    """At half the size too: an outline must not move to one side."""
    random = torch.Generator().manual_seed(0)
    colour = matte_refinement._box(torch.rand(3, 512, 512, generator=random), 2)
    values = (colour[0] > 0.5).float()
    found = matte_refinement._guided(colour, values, 6)
    mirrored = matte_refinement._guided(colour.flip(2), values.flip(1), 6)
    torch.testing.assert_close(mirrored.flip(1), found, atol=2e-3, rtol=0)


def test_large_components_agree_with_scipy():
    """Blobs that lie more than two cells apart."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[5:30, 5:20] = mask[60:120, 40:44] = mask[60:64, 40:100] = mask[20:30, 60:90] = mask[
        110:115, 90:95
    ] = True
    labels, count = ndimage.label(mask)
    assert count == 4
    sizes = np.bincount(labels[labels > 0])
    expected = np.isin(labels, np.flatnonzero(sizes > 200))
    assert not expected[110:115, 90:95].any()
    np.testing.assert_array_equal(matte_refinement._large_components(torch.from_numpy(mask)), expected)


@pytest.mark.parametrize("side", [96, 127, 190, 366, 512, 1080])
def test_one_component_stays_whole_whatever_the_size_and_however_it_winds(side):
    """A person up to the upper edge, and a band that winds through the whole picture."""
    whole = torch.ones(side, side, dtype=torch.bool)
    winding = whole.clone()
    thick = -(-side // 12)
    for row, gap in enumerate(range(thick, side - thick, 2 * thick)):
        left, right = (0, side - thick) if row % 2 else (thick, side)
        winding[gap : gap + thick, left:right] = False
    for mask in (whole, winding):
        assert torch.equal(matte_refinement._large_components(mask), mask)
