import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch3d.transforms import euler_angles_to_matrix

from partnerface.cameras.pinhole import Camera
from partnerface.data.regions import (
    EVALUATION_REGIONS,
    HEAD,
    Region,
    forehead_mask,
    region_masks,
)
from partnerface.head_models.head_parts import landmark_points
from partnerface.head_models.landmark_geometry import FOREHEAD_RING


def test_masks_pixel_by_pixel():
    generator = torch.Generator().manual_seed(0)
    matte = torch.rand(9, 11, generator=generator)
    labels = torch.randint(0, len(Region), (9, 11), generator=generator, dtype=torch.uint8)
    forehead = torch.rand(9, 11, generator=generator) < 0.5
    masks = region_masks(matte, labels, forehead)
    assert tuple(masks) == EVALUATION_REGIONS
    for y in range(9):
        for x in range(11):
            label, person = Region(int(labels[y, x])), bool(matte[y, x] > 0.5)
            expected = {
                "head_mask": person and label in HEAD,
                "matte": person,
                "eyes": person and label == Region.EYES,
                "mouth": person and label == Region.MOUTH,
                # Hair that hangs over the forehead is none of it, nor is a brow's eye.
                "forehead": person and bool(forehead[y, x]) and label == Region.FACE,
            }
            assert {name: bool(mask[y, x]) for name, mask in masks.items()} == expected


SIZE = 200
INSIDE, OUTSIDE = (151, 108, 69, 104, 337, 299), (9, 6, 4, 33, 263, 13, 152, 234, 454)
"""MediaPipe's numbers: the middle of the forehead; glabella, nose, eye corners, lips, chin, ears."""


def posed(anny, yaw=0.0, brows=0.0):
    head = anny.neutral_parameters(1)
    head.rotation = euler_angles_to_matrix(torch.tensor([[yaw, 0.0, 0.0]]), "YXZ")
    head.translation = torch.tensor([[0.0, 0.0, -1.0]])
    for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"):
        head.expression[:, anny.expression_index(name)] = brows
    return head


def camera(size=SIZE):
    return Camera.static(1, 2.3 * size, size, size)


def places(anny, head, numbers):
    """Pixels ``[N, 2]`` of landmarks."""
    points = landmark_points(anny, anny(head).vertices[0])[list(numbers)]
    return camera().project(points[None])[0][0]


@pytest.mark.parametrize("yaw", [0.0, 0.4, -0.4])
def test_it_lies_between_brows_and_hairline(anny, yaw):
    head = posed(anny, yaw)
    mask = forehead_mask(anny, head, camera())
    for numbers, expected in ((INSIDE, True), (OUTSIDE, False)):
        x, y = places(anny, head, numbers).long().unbind(1)
        assert (mask[y, x] == expected).all()


def test_its_area_is_that_of_the_ring(anny):
    head = posed(anny)
    x, y = places(anny, head, FOREHEAD_RING).double().numpy().T
    area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    perimeter = np.hypot(np.diff(x, append=x[0]), np.diff(y, append=y[0])).sum()
    # Pillow draws the outline's pixels too, half of which lie outside.
    found = int(forehead_mask(anny, head, camera()).sum())
    assert area - 1 < found < area + 0.75 * perimeter


def test_it_follows_head_and_brows(anny):
    head = posed(anny)
    mask = forehead_mask(anny, head, camera())
    # Seven pixels at the distance of the forehead, not of the head's origin: nearly seven.
    depth = camera().project(landmark_points(anny, anny(head).vertices[0])[None])[1][0, 151]
    moved = replace(head, translation=head.translation + torch.tensor([7 * depth / (2.3 * SIZE), 0.0, 0.0]))
    shifted = forehead_mask(anny, moved, camera())
    assert (shifted ^ mask.roll(7, 1)).sum() < 0.03 * mask.sum()
    raised = forehead_mask(anny, posed(anny, brows=1.0), camera())
    assert raised.sum() < 0.9 * mask.sum()


def test_resolution_does_not_matter(anny):
    head = posed(anny)
    large = forehead_mask(anny, head, camera(4 * SIZE)).float()
    shares = torch.nn.functional.avg_pool2d(large[None], 4)[0]
    mask = forehead_mask(anny, head, camera())
    assert (mask[shares > 0.99]).all()
    assert not (mask & (shares == 0)).sum() > 0.06 * mask.sum()


def test_a_head_model_without_landmarks_has_none(anny):
    bare = copy.copy(anny)
    bare.asset = replace(anny.asset, landmark_faces=anny.asset.landmark_faces[:0])
    assert not forehead_mask(bare, posed(anny), camera()).any()


def test_a_head_behind_the_camera_has_none(anny):
    head = posed(anny)
    head.translation = -head.translation
    assert not forehead_mask(anny, head, camera()).any()
