import numpy as np
import pytest
import torch

from partnerface.data.completion.labels import (
    feature_rings,
    find_neck_line,
    label_image,
    labelled_mesh,
    rasterize_regions,
)
from partnerface.data.regions import Region
from partnerface.head_models.landmark_geometry import landmark_geometry


@pytest.fixture(scope="module")
def drawn(anny, synthetic_track):
    """Labels of a frontal frame whose matte is the whole picture but a border."""
    subject = synthetic_track()
    mesh, geometry = labelled_mesh(anny, landmark_geometry(anny)), landmark_geometry(anny)
    pixels, depth = subject.camera.project(subject.vertices)
    size = subject.camera.width
    regions = rasterize_regions(mesh, pixels[0], depth[0], size, size)
    matte = np.zeros((size, size), np.uint8)
    matte[8:, 8:-8] = 255
    landmarks = torch.as_tensor(subject.track.landmarks[0, geometry.numbers, :2])
    neck = find_neck_line(mesh, pixels[0], depth[0], float(subject.camera.intrinsics[0, 0]), size)
    labels = label_image(regions, landmarks, feature_rings(geometry), matte, neck * size)
    return subject, labels, matte, neck


def test_features_lie_under_their_landmarks(drawn):
    subject, labels, _, _ = drawn
    points = subject.track.landmarks[0, :, :2].astype(int)
    for number, region in ((468, Region.EYES), (473, Region.EYES), (13, Region.MOUTH), (4, Region.FACE)):
        x, y = points[number]
        assert labels[y, x] == region, number


def test_regions_are_in_order_from_top_to_bottom(drawn):
    _, labels, _, neck = drawn
    middle = labels[:, labels.shape[1] // 2]
    rows = [np.flatnonzero(middle == region).mean() for region in (Region.HAIR, Region.FACE, Region.NECK)]
    assert rows == sorted(rows)
    assert middle[-1] == Region.TORSO
    assert (labels[: int(neck * len(labels)) - 1] != Region.TORSO).all()


def test_background_is_what_the_matte_leaves_out(drawn):
    _, labels, matte, _ = drawn
    np.testing.assert_array_equal(labels == Region.BACKGROUND, matte == 0)
