"""The number of threads is one inside and restored after, whatever happens."""

import os
import threading

import pytest
import torch
from torch import nn

from partnerface.compute.threads import (
    own_generator,
    sharded_backward,
    single_thread,
    single_threaded_pool,
    thread_generator,
    usable_cores,
)


def fail_inside(seen):
    with single_thread():
        seen.append(torch.get_num_threads())
        raise KeyError


def test_restores_the_number_of_threads():
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError):
            fail_inside(seen)
        assert seen == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def _draw(seed: int, results: dict[int, list[torch.Tensor]], barrier: threading.Barrier) -> None:
    barrier.wait()
    with own_generator(seed):
        results[seed] = [torch.rand(1000, generator=thread_generator()) for _ in range(50)]


def test_threads_side_by_side_draw_what_each_draws_alone() -> None:
    results: dict[int, list[torch.Tensor]] = {}
    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=_draw, args=(seed, results, barrier)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, drawn in results.items():
        generator = torch.Generator().manual_seed(seed)
        for values in drawn:
            assert torch.equal(values, torch.rand(1000, generator=generator))


def test_outside_the_block_torchs_own_generator_serves() -> None:
    with own_generator(1):
        assert thread_generator() is not None
    assert thread_generator() is None
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    assert torch.equal(torch.rand(3, generator=thread_generator()), expected)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1)).double()


def _shards(network: nn.Module, inputs: torch.Tensor, count: int) -> list:
    pieces = inputs.tensor_split(count)
    share = 1 / len(inputs)
    return [lambda x=x: network(x).square().sum() * share for x in pieces]


@pytest.mark.parametrize(("threads", "count"), [(1, 1), (1, 3), (2, 2), (2, 5)])
def test_gradients_are_those_of_the_whole_batch(threads: int, count: int) -> None:
    network, inputs = _network(), torch.randn(30, 5, dtype=torch.float64)
    loss = network(inputs).square().mean()
    expected = torch.autograd.grad(loss, list(network.parameters()))
    with single_threaded_pool(2) as pool:
        losses = sharded_backward(_shards(network, inputs, count), threads, pool)
    assert torch.isclose(sum(losses), loss.detach())
    assert not any(value.requires_grad for value in losses)
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_many_rounds_lose_no_gradient() -> None:
    """Threads add to the same `.grad`; a lost update would show in a sum of ones."""
    weight = torch.zeros(1000, requires_grad=True)
    with single_threaded_pool(4) as pool:
        for _ in range(50):
            sharded_backward([lambda: weight.sum()] * 4, 4, pool)
    assert (weight.grad == 200).all()


def test_works_under_no_grad_of_the_caller() -> None:
    weight = torch.ones(3, requires_grad=True)
    with single_threaded_pool(2) as pool, torch.no_grad():
        sharded_backward([lambda: weight.sum(), lambda: 2 * weight.sum()], 2, pool)
    assert weight.grad.tolist() == [3, 3, 3]


def test_an_error_of_a_shard_is_raised_after_all_have_ended() -> None:
    weight = torch.ones(3, requires_grad=True)

    def fails() -> torch.Tensor:
        raise ValueError("no rays")

    with single_threaded_pool(2) as pool, pytest.raises(ValueError, match="no rays"):
        sharded_backward([fails, lambda: weight.sum()], 2, pool)
    assert weight.grad is not None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_cores_that_a_process_may_not_use_do_not_count() -> None:
    before = os.sched_getaffinity(0)
    assert usable_cores() == len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
