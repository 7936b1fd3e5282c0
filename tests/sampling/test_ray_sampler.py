"""Which samples are evaluated, and where and in which frame they lie."""

import torch

from partnerface.cameras.pinhole import RayBundle
from partnerface.sampling.ray_sampler import MarchedRays, RaySamples


def test_backstop_samples_are_evaluated_even_outside_the_shell():
    samples = RaySamples(
        torch.arange(6.0).view(3, 2),
        torch.ones(3, 2),
        torch.tensor([True, True, False]),
        torch.tensor([True, True, False]),
    )
    valid = torch.tensor([True, False, False, False, False, False])
    reachable = torch.tensor([True, True, True, False, True, True])
    assert samples.evaluated(valid, reachable).tolist() == [True, True, False, False, False, False]
    assert samples.count == 2
    some = samples.select(torch.tensor([2, 0]))
    assert some.depths.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert some.opaque.tolist() == [False, True]
    assert some.hit.tolist() == [False, True]


def test_samples_of_two_frames_equal_a_loop_over_frames_and_rays():
    generator = torch.Generator().manual_seed(0)
    origins, directions = torch.randn(2, 2, 3, 3, generator=generator)
    rays = RayBundle(origins, directions, torch.rand(2, 3, 2, generator=generator))
    depths = torch.rand(6, 2, generator=generator)
    hit = torch.tensor([True, False, True, False, False, True])
    samples = RaySamples(depths, torch.ones(6, 2), torch.zeros(6, dtype=torch.bool), hit)
    marched = MarchedRays.of(rays, samples)
    points, frames, numbers = [], [], []
    for frame in range(2):
        for ray in range(3):
            number = 3 * frame + ray
            if hit[number]:
                numbers.append(number)
                for depth in depths[number]:
                    points.append(origins[frame, ray] + depth * directions[frame, ray])
                    frames.append(frame)
    assert marched.hit.tolist() == numbers
    torch.testing.assert_close(marched.points, torch.stack(points))
    assert marched.point_frame.tolist() == frames
    assert marched.frame.tolist() == frames[::2]
    assert torch.equal(marched.of_hit(rays.image_uv), rays.image_uv[[0, 0, 1], [0, 2, 2]])
    assert torch.equal(marched.samples.depths, depths[numbers])
    assert marched.frame.dtype == marched.point_frame.dtype == torch.int32
