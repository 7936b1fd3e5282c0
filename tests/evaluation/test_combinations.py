"""Recombined test frames, and the region of a face whose look depends on the expression."""

from dataclasses import replace

import pytest
import torch

from partnerface.cameras.pinhole import Camera, image_pixels, pixel_rays
from partnerface.data.batches.datasets import EvaluationFrame
from partnerface.data.regions import Region
from partnerface.data.view import View
from partnerface.evaluation.combinations import (
    NEW_COMBINATION,
    OTHER_TEST,
    ExpressionRegion,
    combination_splits,
    expression_dependent,
    expression_groups,
)
from partnerface.meshes.bvh import cast_rays

NAMES = ("browDown", "browInnerUp", "eyeBlinkLeft", "cheekSquintLeft", "jawOpen", "mouthSmileLeft")


def test_every_expression_of_the_head_model_belongs_to_one_group(anny):
    groups = expression_groups(anny.asset.expression_names)
    members = [number for group in groups.values() for number in group]
    assert sorted(members) == list(range(anny.num_expression))


def test_brows_of_one_frame_with_the_mouth_of_another():
    """Training shows brows or mouth; four tests show both, four more of one, eight what training shows."""
    brows, mouth = torch.eye(6)[1], torch.eye(6)[4]
    train = [brows, mouth, 0 * brows]
    both = [brows + mouth + 0.01 * k * mouth for k in range(4)]
    tests = [*both, *(3 * brows + 0.01 * k * mouth for k in range(4)), *(brows for _ in range(8))]
    expression = torch.stack([*train, *tests])
    numbers = list(range(3, 19))
    found = combination_splits(numbers, [0, 1, 2], expression, NAMES)
    assert found == {NEW_COMBINATION: [3, 4, 5, 6], OTHER_TEST: list(range(7, 19))}


def test_the_quarter_against_loops_over_frames():
    expression = torch.rand(60, 6, generator=torch.Generator().manual_seed(0))
    train, tests = list(range(39)), list(range(39, 60))

    def nearest(frame: int, numbers: list[int]) -> float:
        return min(float((expression[frame] - expression[other])[numbers].norm()) for other in train)

    whole = {frame: nearest(frame, list(range(6))) for frame in tests}
    largest = {frame: max(nearest(frame, some) for some in ([0, 1], [2, 3], [4, 5])) for frame in tests}
    far = sorted(tests, key=lambda frame: -whole[frame])[:10]
    expected = sorted(sorted(far, key=lambda frame: largest[frame])[:5])
    found = combination_splits(tests, train, expression, NAMES)
    assert found[NEW_COMBINATION] == expected
    assert sorted(found[NEW_COMBINATION] + found[OTHER_TEST]) == tests


def test_too_few_frames_or_unnamed_expressions_make_no_split():
    expression = torch.rand(20, 6)
    assert combination_splits(range(13, 20), range(13), expression, NAMES) == {}
    assert (
        combination_splits(range(10, 20), range(10), expression, [f"expression_{k}" for k in range(6)]) == {}
    )


def test_points_that_follow_the_expression_and_no_others():
    """Of grey values that follow the expression, the pose, nothing, or are seen too rarely to tell."""
    generator = torch.Generator().manual_seed(0)
    frames, each = 120, 25
    time = torch.arange(frames) / frames
    expression = torch.stack([torch.sin(30 * time * (k + 1)) for k in range(3)], 1)
    rotation = torch.stack([0.3 * torch.sin(23 * time), 0.2 * torch.cos(17 * time), 0 * time], 1)
    pose = torch.cat([rotation, 0 * rotation], 1)
    noise = 0.004 * torch.randn(frames, 5 * each, generator=generator)
    grey = 0.5 + noise
    kinds = grey.view(frames, 5, each)
    kinds[:, 0] += 0.05 * expression[:, :1]
    kinds[:, 1] += 0.3 * rotation[:, :1] + rotation[:, 1:2] ** 2
    kinds[:, 3] += 0.05 * expression[:, 1:2]
    kinds[:, 4] += 0.001 * expression[:, :1]
    seen = torch.ones(frames, 5 * each, dtype=torch.bool)
    seen.view(frames, 5, each)[19:, 3] = False
    found = expression_dependent(grey, seen, pose, expression).view(5, each)
    assert found.sum(1).tolist() == [each, 0, 0, 0, 0]


def test_the_region_in_a_frame_against_cast_rays(anny, random_head_parameters):
    """The left half of the head, seen in a turned pose; labels and matte cut it."""
    size = 48
    head, camera = random_head_parameters(1), Camera.static(1, 2.3 * size, size, size)
    left = anny.template_vertices[:, 0] > 0
    vertices = anny(head).vertices[0]
    pixels = image_pixels(size, size)
    rays = pixel_rays(camera, pixels[None])
    depth = cast_rays(vertices, anny.faces, rays.origins[0], rays.directions[0])
    places = rays.origins[0] + depth[:, None] * rays.directions[0]
    nearest = torch.cdist(places, vertices).argmin(1)
    expected = (left[nearest] & (depth > 0)).view(size, size)
    labels = torch.full((size, size), int(Region.FACE), dtype=torch.uint8)
    labels[:10], matte = int(Region.HAIR), torch.ones(size, size)
    matte[:, :15] = 0.5
    frame = EvaluationFrame(
        View(camera, head, torch.eye(2, 3)[None]), 0, torch.ones(3, size, size), matte, labels, []
    )
    found = ExpressionRegion(anny, left).mask(frame)
    assert not found[:10].any()
    assert not found[:, :15].any()
    inside = torch.ones_like(found)
    inside[:10], inside[:, :15] = False, False
    assert expected[inside].sum() > 50
    # At the border of the half a pixel's nearest vertex may lie on the other side.
    assert (found != expected)[inside].float().mean() < 0.04


def test_too_few_training_frames_have_no_region(anny, random_head_parameters):
    frame = EvaluationFrame(
        View(Camera.static(1, 40.0, 16, 16), random_head_parameters(1), torch.eye(2, 3)[None]),
        *(0, torch.ones(3, 16, 16), torch.ones(16, 16), torch.zeros(16, 16, dtype=torch.uint8), []),
    )
    assert ExpressionRegion.find(anny, [frame] * 39) is None
    # Enough of them, but the face is nowhere to be seen.
    assert ExpressionRegion.find(anny, [replace(frame, frame_index=k) for k in range(40)]) is None


@pytest.mark.parametrize("names", [(), ("browDown", "jawOpen")])
def test_groups_need_brows_eyes_and_mouth(names):
    assert expression_groups(names) == {}
