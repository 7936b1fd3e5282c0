"""The true surface, against rays that are cast without the rasterizer."""

import pytest
import torch

from partnerface.cameras.pinhole import pixel_rays
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import SUBJECTS

SIZE, FRAME = 40, 9


@pytest.fixture(scope="module")
def renderer(anny):
    return SubjectRenderer(anny, SUBJECTS["b"], 12, SIZE, seed=0)


def first_hit(direction, corners):
    """Moeller and Trumbore 1997, from the origin, both sides: depth, face and barycentric coordinates."""
    a, b, c = corners.unbind(1)
    across = torch.linalg.cross(direction.expand_as(a), c - a)
    determinant = ((b - a) * across).sum(1)
    u = (-a * across).sum(1) / determinant
    along = torch.linalg.cross(-a, b - a)
    v = (along * direction).sum(1) / determinant
    t = (along * (c - a)).sum(1) / determinant
    t = torch.where((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0), t, torch.inf)
    face = int(t.argmin())
    return float(t[face]), face, torch.stack([1 - u - v, u, v], 1)[face]


def test_depth_and_canonical_places_against_ray_casting(renderer, anny):
    camera = renderer.camera.select([FRAME])
    found = renderer.true_surface(FRAME, camera)
    head = renderer.head.select([FRAME])
    vertices = renderer.dressed.vertices(head, renderer.sway[FRAME]).double()
    faces, torso = renderer.dressed.faces, renderer.dressed.torso_weights
    # Where each vertex of the dressed person would be in rest pose, with the canonical expression and
    # without the fine motion that comes with it.
    neutral = anny.neutral_parameters(1)
    neutral.identity, neutral.expression = head.identity, anny.canonical_expression[None]
    still = torch.zeros(3)
    rest = renderer.dressed.vertices(neutral, still).double()
    rest[: len(anny.template_vertices)] -= renderer.dressed.fine_offsets(neutral.expression[0], still)
    chosen = torch.rand(150, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([SIZE, 0.8 * SIZE])
    seen = 0
    for x, y in chosen.long().tolist():
        ray = pixel_rays(camera, torch.tensor([[[x + 0.5, y + 0.5]]])).directions[0, 0].double()
        depth, face, weights = first_hit(ray, vertices[faces])
        on_head = depth < 10 and float(weights @ torso[faces[face]].double()) <= 0.5
        assert (found.depth[y, x] > 0) == on_head
        if on_head:
            seen += 1
            assert float(found.depth[y, x]) == pytest.approx(depth, abs=1e-4)
            place = weights @ rest[faces[face]]
            torch.testing.assert_close(found.canonical[y, x].double(), place, atol=2e-4, rtol=0)
    assert seen > 30


def test_any_resolution_shows_the_same_surface(renderer):
    camera = renderer.camera.select([FRAME])
    small, large = (renderer.true_surface(FRAME, camera.resized(k * SIZE, k * SIZE)) for k in (1, 3))
    # The middle of three pixels is the pixel.
    middle = slice(1, None, 3)
    both = (small.depth > 0) & (large.depth[middle, middle] > 0)
    assert both.sum() > 0.95 * (small.depth > 0).sum()
    difference = (small.depth - large.depth[middle, middle])[both].abs()
    assert difference.quantile(0.95) < 1e-4


def test_a_point_of_the_person_keeps_its_canonical_place(renderer):
    """Seen in two frames, the tip of the nose is at one canonical place, within a pixel's size."""
    places = []
    for frame in (2, FRAME):
        camera, head = renderer.camera.select([frame]).resized(300, 300), renderer.head.select([frame])
        nose = int(renderer.dressed.face_points[: len(renderer.head_model.template_vertices), 2].argmax())
        vertices = renderer.dressed.vertices(head, renderer.sway[frame])
        x, y = camera.project(vertices[None, nose : nose + 1])[0][0, 0].long().tolist()
        places.append(renderer.true_surface(frame, camera).canonical[y, x])
    assert (places[0] - places[1]).norm() < 2 * 1.05 / (2.3 * 300)
