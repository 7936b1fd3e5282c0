"""Where fine motion shows in a picture and what a picture without it scores, on pictures made by hand."""

import math

import pytest
import torch

from partnerface.data.regions import Region
from partnerface.evaluation.fine_motion import (
    CEILING_PSNR,
    COUNTS,
    FINE_MOTION,
    LEAST_PIXELS,
    QUIET_FACE,
    SAMPLING_PSNR,
    FineMotionCeiling,
    fine_motion_masks,
    mark_what_counts,
)

SIZE = 24


def changed_by(levels: torch.Tensor, labels: torch.Tensor, matte: torch.Tensor) -> dict[str, torch.Tensor]:
    """Masks where one channel of a grey picture changes by ``levels`` ``[H, W]`` of 255."""
    target = torch.full((3, SIZE, SIZE), 120 / 255)
    motionless = target.clone()
    motionless[1] += levels / 255
    return fine_motion_masks(target, motionless, matte, labels)


@pytest.fixture
def plain() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Changes, labels and matte: columns 0 to 11 change by 7, the others by 6; all is face."""
    levels = torch.full((SIZE, SIZE), 6.0)
    levels[:, :12] = -7
    return levels, torch.full((SIZE, SIZE), int(Region.FACE), dtype=torch.uint8), torch.ones(SIZE, SIZE)


def test_more_than_six_levels_in_one_channel(plain):
    masks = changed_by(*plain)
    assert masks[FINE_MOTION][:, :12].all()
    assert not masks[FINE_MOTION][:, 12:].any()
    assert torch.equal(masks[QUIET_FACE], ~masks[FINE_MOTION])


def test_only_inner_pixels_of_the_face(plain):
    levels, labels, matte = plain
    for row, region in enumerate(Region):
        labels[row] = int(region)
    matte[10], matte[11] = 250 / 255, 251 / 255
    masks = changed_by(levels, labels, matte)
    face = [region in (Region.FACE, Region.EYES, Region.MOUTH) for region in Region]
    assert masks[FINE_MOTION][: len(face), 0].tolist() == face
    assert masks[QUIET_FACE][: len(face), -1].tolist() == face
    for mask in masks.values():
        assert not mask[10].any()
        assert mask[11].any()


@pytest.mark.parametrize(("pixels", "kept"), [(0, 0), (LEAST_PIXELS - 1, 0), (LEAST_PIXELS, LEAST_PIXELS)])
def test_a_few_pixels_make_no_region(plain, pixels, kept):
    levels, labels, matte = plain
    levels = torch.zeros_like(levels)
    levels.view(-1)[:pixels] = 20
    masks = changed_by(levels, labels, matte)
    assert int(masks[FINE_MOTION].sum()) == kept
    assert int(masks[QUIET_FACE].sum()) == SIZE * SIZE - pixels


def test_the_ceiling_is_the_score_of_the_picture_without_motion():
    ceiling = FineMotionCeiling(["temporal", "larger"])
    target = torch.full((3, SIZE, SIZE), 0.5)
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[:4] = True
    elsewhere = torch.where(mask, 0.0, 0.4)
    for off, finer in ((0.1, None), (0.01, target + 0.001)):
        ceiling.update(["temporal", "train"], target, target + off + elsewhere, finer, {FINE_MOTION: mask})
    nowhere = {FINE_MOTION: torch.zeros_like(mask)}
    ceiling.update(["temporal", "larger"], target, target + 0.2, target, nowhere)
    found = ceiling.compute()
    # A mean of two frames of 20 and 40 dB; one of them was rendered finer, 60 dB.
    assert found["temporal"][FINE_MOTION][CEILING_PSNR] == pytest.approx(30, abs=1e-3)
    assert found["temporal"][FINE_MOTION][SAMPLING_PSNR] == pytest.approx(60, abs=1e-2)
    assert found["larger"][FINE_MOTION] == {CEILING_PSNR: None, SAMPLING_PSNR: None}


@pytest.mark.parametrize(
    ("quiet", "ceiling", "counts"),
    [(30.0, 27.0, True), (math.nextafter(30.0, 0), 27.0, False), (None, 27.0, None), (30.0, None, None)],
)
def test_a_score_counts_where_the_quiet_face_lies_above_the_ceiling(quiet, ceiling, counts):
    averages = {"larger": {FINE_MOTION: {"psnr": 25.0, CEILING_PSNR: ceiling}, QUIET_FACE: {"psnr": quiet}}}
    mark_what_counts(averages)
    assert averages["larger"][FINE_MOTION][COUNTS] is counts
