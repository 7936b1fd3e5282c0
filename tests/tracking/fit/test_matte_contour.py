import numpy as np
import torch

from partnerface.meshes.rasterizer import rasterize_mesh
from partnerface.tracking.fit.head_fit import FitSettings
from partnerface.tracking.fit.matte_contour import matte_edges
from partnerface.tracking.fit.problem import FitProblem


def silhouettes(anny, subject):
    """Mattes that the true mesh casts."""
    skin = anny.faces[anny.part_faces("skin")]
    pixels, depth = subject.camera.project(subject.vertices)
    size = subject.camera.width
    masks = [rasterize_mesh(p, d, skin, size, size, False).mask for p, d in zip(pixels, depth, strict=True)]
    return torch.stack(masks).to(torch.uint8) * 255


def problem_at_the_truth(anny, subject):
    problem = FitProblem(subject.track, anny, silhouettes(anny, subject), None, None, FitSettings())
    from pytorch3d.transforms import matrix_to_axis_angle

    variables = problem.variables
    with torch.no_grad():
        variables.identity.copy_(subject.head.identity[: len(variables.identity)])
        variables.rotation.copy_(matrix_to_axis_angle(subject.head.rotation))
        variables.translation.copy_(subject.head.translation)
        variables.raw_expression.copy_(subject.head.expression)
    return problem


def test_edge_of_a_slanted_plane_is_found_between_pixels():
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    normal = torch.tensor([0.8, 0.6])
    distance = x * 0.8 + y * 0.6 - 45.3
    matte = ((0.5 - distance).clamp(0, 1) * 255).round().to(torch.uint8)[None]
    points = torch.tensor([[30.0, 30.0], [34.0, 32.0], [28.0, 26.0]])
    gaps, found = matte_edges(matte, points[None, None], normal.expand(1, 1, 3, 2), 18.0)
    assert found.all()
    expected = 45.3 - points @ normal
    torch.testing.assert_close(gaps[0, 0], expected, atol=0.25, rtol=0)


def test_no_edge_within_reach_is_reported():
    matte = torch.full((1, 32, 32), 255, dtype=torch.uint8)
    _, found = matte_edges(matte, torch.full((1, 1, 1, 2), 16.0), torch.tensor([[[[1.0, 0.0]]]]), 9.0)
    assert not found.any()


def test_true_head_meets_its_own_matte(anny, synthetic_track):
    problem = problem_at_the_truth(anny, synthetic_track(10))
    targets = problem.find_targets()
    assert targets.usable > 0.2
    assert targets.gaps.abs().median() < 0.6


def test_shifted_head_is_pulled_back(anny, synthetic_track):
    """Three pixels to the side; nothing but the contour may move the heads."""
    subject = synthetic_track(10)
    problem = problem_at_the_truth(anny, subject)
    variables = problem.variables
    shift = 3.0 * 1.1 / float(subject.camera.intrinsics[0, 0])
    with torch.no_grad():
        variables.translation[:, 0] += shift
    optimizer = torch.optim.Adam([variables.translation], lr=3e-4)
    for step in range(60):
        if step % 10 == 0:
            targets = problem.find_targets()
        rotation, expression = variables.rotation_matrices().detach(), variables.expression.detach()
        optimizer.zero_grad()
        problem.contour.loss(targets, variables, rotation, expression).backward()
        optimizer.step()
    left = (variables.translation - subject.head.translation)[:, 0].abs().median()
    assert left < 0.25 * shift


def test_lost_frames_have_no_targets(anny, synthetic_track):
    problem = problem_at_the_truth(anny, synthetic_track(12, lost=(3,)))
    assert 3 not in np.unique(problem.find_targets().frames)
