import numpy as np
import pytest
import torch

from partnerface.cameras.pinhole import image_pixels
from partnerface.data.batches.datasets import EvaluationFrames, RayBatch, RayDataset
from partnerface.data.batches.frame_store import FrameStore
from partnerface.data.batches.loader import FrameVisit
from partnerface.data.batches.pixel_samplers import RegionWeightedPixels, UniformPixels
from tests.views import random_view, tensors_of

VIEWS = random_view(4)


def assert_view_of(view, frame):
    for name, value in tensors_of(VIEWS).items():
        expected = value if name == "identity" else value[frame : frame + 1]
        assert torch.equal(tensors_of(view)[name], expected), name


@pytest.fixture
def store():
    generator = np.random.default_rng(0)
    channels = generator.integers(0, 256, (4, 6, 9, 5)).astype(np.uint8)
    channels[..., 4] %= 7
    return FrameStore(channels)


def test_rays_show_the_pixel_they_name(store):
    batch = RayDataset(store, VIEWS, RegionWeightedPixels(), 500, 0)[FrameVisit(2, 11)]
    assert batch.frame_index.tolist() == [2]
    assert_view_of(batch.view, 2)
    x, y = (batch.pixels[0] - 0.5).long().unbind(-1)
    assert torch.equal(batch.pixels[0], torch.stack([x, y], -1) + 0.5)
    for ray in range(0, 500, 37):
        red, green, blue, alpha = store.rgba[2, y[ray], x[ray]] / np.float32(255)
        assert batch.rgb[0, ray].tolist() == [red, green, blue]
        assert batch.alpha[0, ray] == alpha
        assert batch.region[0, ray] == store.labels[2, y[ray], x[ray]]
    assert batch.background.min() >= 0
    assert batch.background.std() == pytest.approx(12**-0.5, abs=0.02)


def test_a_visit_is_reproducible_and_visits_differ(store):
    def pixels(number, seed=0):
        return RayDataset(store, VIEWS, UniformPixels(), 50, seed)[FrameVisit(1, number)]

    assert torch.equal(pixels(5).pixels, pixels(5).pixels)
    assert torch.equal(pixels(5).background, pixels(5).background)
    assert not torch.equal(pixels(5).pixels, pixels(6).pixels)
    assert not torch.equal(pixels(5).pixels, pixels(5, seed=1).pixels)


def test_whole_frames(store):
    splits = {"train": [0], "temporal": [2, 3], "unseen_expression": [3]}
    frames = EvaluationFrames(store, VIEWS, [3, 0, 1], splits)
    assert [frames[i].frame_index for i in range(len(frames))] == [3, 0, 1]
    assert [frames[i].splits for i in range(3)] == [["temporal", "unseen_expression"], ["train"], []]
    frame = frames[0]
    assert_view_of(frame.view, 3)
    flat = frame.image.permute(1, 2, 0).reshape(-1, 3)
    for place, (x, y) in enumerate(image_pixels(9, 6).long().tolist()):
        assert torch.allclose(flat[place], torch.from_numpy(store.rgba[3, y, x, :3] / np.float32(255)))
    matte = store.rgba[3, ..., 3:] / 255.0
    white = matte * store.rgba[3, ..., :3] / 255 + 1 - matte
    assert torch.allclose(frame.on_white(), torch.from_numpy(white).permute(2, 0, 1).float(), atol=1e-6)
    assert np.array_equal(frame.labels, store.labels[3])


def batch(frames: list[int], seed: int) -> RayBatch:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.rand(len(frames), 3, *shape, generator=generator)

    return RayBatch(
        random_view(len(frames), seed),
        torch.tensor(frames),
        random(2),
        random(3),
        random(),
        random().byte(),
        random(3),
        torch.ones(len(frames), 3),
    )


def test_target_by_hand():
    rays = batch([0], 0)
    rays.rgb[0, 0], rays.background[0, 0] = torch.tensor([1.0, 0.5, 0.0]), torch.tensor([0.0, 0.5, 1.0])
    for alpha, expected in ((1.0, [1, 0.5, 0]), (0.0, [0, 0.5, 1]), (0.25, [0.25, 0.5, 0.75])):
        rays.alpha[0, 0] = alpha
        assert rays.target()[0, 0].tolist() == expected


def test_concatenation_keeps_frames_together():
    first, second = batch([4], 1), batch([7, 9], 2)
    joined = RayBatch.concatenate([first, second])
    assert joined.frame_index.tolist() == [4, 7, 9]
    assert torch.equal(joined.target()[1:], second.target())
    assert joined.region.dtype == torch.uint8


def test_to_moves_every_field():
    moved = batch([1], 0).to("meta")
    values = {**vars(moved), **tensors_of(moved.view)}
    del values["view"], values["patch_side"]
    assert all(value.device.type == "meta" for value in values.values())


def test_a_selection_undoes_a_concatenation():
    first, second = batch([4], 1), batch([7, 9], 2)
    joined = RayBatch.concatenate([first, second])
    for part, places in ((first, [0]), (second, [1, 2])):
        selected = joined.select(torch.tensor(places))
        for name, value in vars(part).items():
            if name not in ("view", "patch_side"):
                assert torch.equal(getattr(selected, name), value), name
        # One person: the identity of the joined views is that of the first.
        for name, value in tensors_of(part.view).items():
            if name != "identity":
                assert torch.equal(tensors_of(selected.view)[name], value), name


def test_a_patch_shows_a_piece_of_the_frame(store):
    """4x4 of the 6x9 pixels, cut out of the frame by hand, and the other rays as ever."""
    dataset = RayDataset(store, VIEWS, RegionWeightedPixels(), 40, 0, patch_side=4, patches_from=10)
    corners = set()
    for number in range(10, 40):
        batch = dataset[FrameVisit(1, number)]
        assert batch.patch_side == 4
        assert batch.rgb.shape == (1, 40, 3)
        left, top = (batch.pixels[0, 0] - 0.5).long().tolist()
        corners.add((left, top))
        crop = store.rgba[1, top : top + 4, left : left + 4] / np.float32(255)
        assert np.array_equal(batch.patches(batch.rgb)[0].permute(1, 2, 0), crop[..., :3])
        assert np.array_equal(batch.patches(batch.alpha[..., None])[0, 0], crop[..., 3])
        assert batch.background[0].unique(dim=0).shape == (40, 3)
        assert batch.loss_weight.mean() == pytest.approx(1)
    assert len(corners) > 5


def test_before_the_patches_nothing_has_changed(store):
    with_patches, without = (
        RayDataset(store, VIEWS, UniformPixels(), 40, 0, True, side, 10) for side in (4, 0)
    )
    for one, other in zip(
        with_patches[FrameVisit(1, 9)].tensors(), without[FrameVisit(1, 9)].tensors(), strict=True
    ):
        assert torch.equal(one, other)
    assert with_patches[FrameVisit(1, 9)].patch_side == without[FrameVisit(1, 10)].patch_side == 0


def test_a_patch_is_no_larger_than_the_picture(store):
    batch = RayDataset(store, VIEWS, UniformPixels(), 200, 0, True, 12)[FrameVisit(3, 0)]
    assert batch.patch_side == 6
    rows = (batch.pixels[0, :36] - 0.5).long().view(6, 6, 2)
    assert rows[:, 0, 1].tolist() == [0, 1, 2, 3, 4, 5]


def test_slices_never_cut_a_patch(store):
    dataset = RayDataset(store, VIEWS, UniformPixels(), 20, 0, patch_side=3)
    whole = RayBatch.concatenate([dataset[FrameVisit(frame, frame)] for frame in range(3)])
    for count, frames in ((1, [3]), (2, [2, 1]), (3, [1, 1, 1]), (8, [1, 1, 1])):
        slices = whole.split(count)
        assert [len(piece) for piece in slices] == frames
        assert torch.equal(
            torch.cat([piece.patches(piece.rgb) for piece in slices]), whole.patches(whole.rgb)
        )
