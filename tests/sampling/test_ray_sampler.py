"""Which samples are evaluated."""

import torch

from partnerface.sampling.ray_sampler import RaySamples


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
