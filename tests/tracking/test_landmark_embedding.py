import numpy as np
import pytest
import torch

from partnerface.rendering.mesh_rasterizer import rasterize_mesh
from partnerface.tracking.landmark_embedding import (
    NUM_LANDMARKS,
    UNSEEN_SPREAD_MM,
    RenderedView,
    embed_landmarks,
)
from partnerface.tracking.landmark_geometry import landmark_geometry


@pytest.fixture(scope="module")
def embedding(anny, synthetic_track):
    """Views of a head whose landmarks are known exactly; one landmark is never in the picture."""
    subject = synthetic_track(6)
    size = 512
    camera = subject.camera.resized(size, size)
    pixels, depth = camera.project(subject.vertices)
    landmarks = subject.track.landmarks[:, :NUM_LANDMARKS, :2] * 2
    landmarks[:, 7] = -50
    landmarks[:, 8] = 5
    views = [
        RenderedView(
            np.full((size, size, 3), i, np.uint8), rasterize_mesh(p, d, anny.faces, size, size, False)
        )
        for i, (p, d) in enumerate(zip(pixels, depth, strict=True))
    ]
    # The picture's grey value says which view it is; the last view shows no face.
    return embed_landmarks(
        anny, views, lambda image: None if image[0, 0, 0] == 5 else landmarks[image[0, 0, 0]]
    )


def test_known_points_are_found_again(anny, embedding):
    geometry = landmark_geometry(anny)
    seen = ~np.isin(geometry.numbers, (7, 8))
    numbers = geometry.numbers[seen]
    corners = anny.template_vertices[anny.faces[torch.as_tensor(embedding.faces[numbers].astype(np.int64))]]
    found = (corners * torch.as_tensor(embedding.barycentric[numbers])[..., None]).sum(1)
    distance = (found - geometry.points.template[seen]).norm(dim=1)
    # A pixel is about a millimetre.
    assert distance.median() < 0.0012
    assert distance.quantile(0.9) < 0.004


def test_landmarks_off_the_head_are_marked_as_unseen(embedding):
    assert embedding.spread[7] == embedding.spread[8] == UNSEEN_SPREAD_MM
    np.testing.assert_allclose(embedding.barycentric.sum(1), 1, atol=1e-5)
