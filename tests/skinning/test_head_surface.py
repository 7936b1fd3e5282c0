"""Which faces belong to the head, and which points lie in its shell."""

import numpy as np
import torch

from partnerface.skinning.head_surface import head_surface, points_in_shell
from tests.skinning.plain_inverse_skinning import closest_points_on_triangles


def test_surface_is_the_head_without_torso_and_lashes(anny):
    surface = head_surface(anny)
    root = anny.skinning_weights[:, anny.joint("root")][anny.faces]
    assert not surface[root.amin(1) > 0.99].any()
    assert not surface[anny.part_faces("lashes")].any()
    inside = anny.part_faces("eye_left", "eye_right", "mouth_cavity", "teeth_upper", "teeth_lower", "tongue")
    assert surface[inside].all()
    face_height = anny.template_vertices[anny.faces][..., 1].amin(1)
    assert surface[anny.part_faces("skin") & (face_height > 0.05)].all()


def test_points_are_tried_against_the_shells_of_all_frames(anny, random_head_parameters):
    parameters = random_head_parameters(frames=2, seed=1)
    head = anny(parameters)
    faces = anny.faces[head_surface(anny)][::40].contiguous()
    thickness = torch.full((len(anny.template_vertices),), 0.015)
    points = 0.25 * torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) - 0.12
    poses = (parameters.rotation, parameters.translation)
    found = points_in_shell(points, head, poses, faces, thickness)
    expected = np.zeros(len(points), bool)
    for frame in range(2):
        world = points @ parameters.rotation[frame].T + parameters.translation[frame]
        triangles = head.vertices[frame][faces].double().numpy()
        _, distance = closest_points_on_triangles(world.double().numpy(), triangles)
        expected |= distance.min(1) <= 0.015
    assert 0 < expected.sum() < len(points)
    np.testing.assert_array_equal(found.numpy(), expected)
