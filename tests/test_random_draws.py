"""Threads with generators of their own draw the same whatever the others do."""

import threading

import torch

from partnerface.random_draws import own_generator, thread_generator


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
