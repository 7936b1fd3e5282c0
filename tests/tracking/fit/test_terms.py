import math

import torch

from partnerface.tracking.fit import terms as terms


def test_second_difference_is_exact_for_a_parabola_at_uneven_times():
    times = torch.tensor([0.0, 0.03, 0.1, 0.13, 0.4])
    values = 3 * times**2 - times + 2
    expected = torch.full((3,), 6 * terms.REFERENCE_INTERVAL_S**2)
    torch.testing.assert_close(terms.second_difference(values, times), expected, rtol=1e-3, atol=1e-6)


def test_second_difference_is_the_plain_one_at_25_frames_per_second():
    values = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    plain = values[2:] - 2 * values[1:-1] + values[:-2]
    torch.testing.assert_close(
        terms.second_difference(values, torch.arange(9) / 25), plain, rtol=1e-3, atol=1e-4
    )


def test_robust_losses_against_their_limits():
    small, large = torch.tensor(0.1), torch.tensor(1e4)
    for loss in (terms.pseudo_huber, terms.geman_mcclure):
        torch.testing.assert_close(loss(small, 3.0), small**2 / 2, rtol=1e-2, atol=0)
    torch.testing.assert_close(terms.pseudo_huber(large, 3.0), 3 * large, rtol=1e-2, atol=0)
    torch.testing.assert_close(terms.geman_mcclure(large, 3.0), torch.tensor(4.5), rtol=1e-2, atol=0)


def test_scores_pull_changes_and_not_levels():
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(20, 4, generator=generator)
    scores = scores - scores.mean(0)
    gain, weights = torch.full((4,), 0.6), torch.ones(20)
    followed = terms.score_term(0.6 * scores + 0.25, scores, gain, weights)
    assert followed < 1e-10
    assert terms.score_term(torch.zeros(20, 4), scores, gain, weights) > 1e-3


def test_frames_of_weight_zero_do_not_count():
    residual = torch.ones(3, 5, 2)
    residual[1] = 100
    weights = torch.tensor([1.0, 0.0, 1.0])
    uniform = torch.full((5,), 0.2)
    kept = terms.landmark_term(residual[[0, 2]], uniform, torch.ones(2))
    torch.testing.assert_close(terms.landmark_term(residual, uniform, weights), kept)
    pairs = torch.tensor([[0, 1]])
    assert terms.opening_term(residual, pairs, weights) == 0


def test_small_accelerations_cost_their_square_and_great_ones_their_size():
    times = torch.arange(9, dtype=torch.float64) / 25
    turn = torch.stack([times**2, -times, torch.zeros(9)], 1)  # an acceleration of 2 / 25**2
    size = 2 * terms.REFERENCE_INTERVAL_S**2
    for factor, width, expected in (
        (1.0, math.inf, size**2),
        (1e-3, size, (1e-3 * size) ** 2),
        (1e3, size, 2 * size * (1e3 * size - size)),
    ):
        found = terms.smoothness_term(factor * turn, times, width)
        torch.testing.assert_close(float(found), expected, rtol=1e-3, atol=0)


def test_a_pose_that_does_not_change_has_a_gradient():
    still = torch.zeros(5, 3, requires_grad=True)
    terms.smoothness_term(still, torch.arange(5) / 25, 1e-3).backward()
    assert still.grad is not None
    assert not still.grad.any()


def test_short_clips_have_no_acceleration():
    assert terms.smoothness_term(torch.randn(2, 3), torch.tensor([0.0, 0.04])) == 0
