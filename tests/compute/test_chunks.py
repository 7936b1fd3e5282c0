"""Chunks in threads, and chunks that shrink until they fit."""

import logging
import threading

import pytest
import torch

from partnerface.compute.chunks import (
    LEAST_CHUNK,
    evenly_spread,
    in_smaller_chunks,
    map_chunks,
    pieces_of,
    rays_at_once,
)
from partnerface.errors import UserError


def test_order_is_kept_when_later_chunks_finish_first():
    later_done = threading.Event()

    def render(chunk: int) -> int:
        if chunk == 0:
            assert later_done.wait(10)
        if chunk == 1:
            later_done.set()
        return chunk * chunk

    assert map_chunks(render, range(6), threads=2) == [0, 1, 4, 9, 16, 25]


def test_chunks_have_no_gradient_in_any_thread():
    weight = torch.ones(1, requires_grad=True)
    assert not any(result.requires_grad for result in map_chunks(lambda c: c * weight, range(4), threads=3))


def test_no_chunks():
    assert map_chunks(lambda chunk: chunk, [], threads=2) == []


def test_an_error_of_a_chunk_is_raised():
    def render(chunk: int) -> None:
        raise ValueError(f"chunk {chunk}")

    with pytest.raises(ValueError, match="chunk 0"):
        map_chunks(render, [0, 1], threads=2)


@pytest.mark.parametrize("rays", [1, 63, 64, 65, 1000, 65_536])
@pytest.mark.parametrize("chunk", [1, 7, 64, 100, 16_384])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_ray_is_in_one_piece_of_fair_size(rays: int, chunk: int, threads: int):
    pieces = evenly_spread(rays, chunk, threads)
    assert torch.cat(pieces).sort().values.tolist() == list(range(rays))
    sizes = [len(piece) for piece in pieces]
    assert min(sizes) > 0
    assert max(sizes) <= chunk
    # No piece has more than a run more than another; the last run may be short.
    assert max(sizes) - min(sizes) < 2 * 64


def test_pieces_share_a_picture_whose_work_is_in_one_half():
    pieces = evenly_spread(65_536, 16_384, 2)
    work = [int((piece < 20_000).sum()) for piece in pieces]
    assert len(pieces) == 4
    assert max(work) - min(work) <= 64


def fits(limit: int):
    def render(chunk: int) -> int:
        if chunk > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return chunk

    return render


def test_chunks_shrink_until_they_fit_and_say_so(caplog):
    with caplog.at_level(logging.WARNING):
        assert in_smaller_chunks(fits(1000), 10_000) == 625
    assert "10000 rays at once" in caplog.text
    assert len(caplog.records) == 2
    assert in_smaller_chunks(fits(LEAST_CHUNK), 10_000) == LEAST_CHUNK


def test_a_device_too_small_for_any_chunk_is_one_clear_line():
    with pytest.raises(UserError, match=f"does not hold {LEAST_CHUNK} rays") as caught:
        in_smaller_chunks(fits(10), 10_000)
    assert "\n" not in str(caught.value)


def test_a_gpu_takes_what_half_of_its_free_memory_holds(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**31))
    assert rays_at_once(torch.device("cuda")) * 65_536 == 2**29
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 2**31))
    assert rays_at_once(torch.device("cuda")) == LEAST_CHUNK
    # What torch has taken and does not use is free for chunks.
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * 2**29)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2**29)
    assert rays_at_once(torch.device("cuda")) * 65_536 == 2**29


@pytest.mark.parametrize(("rays", "chunk"), [(1, 7), (20, 7), (21, 7)])
def test_one_thread_takes_consecutive_rays(rays: int, chunk: int):
    numbers = torch.arange(rays)
    pieces = [numbers[piece] for piece in pieces_of(rays, chunk, threads=1)]
    assert torch.equal(torch.cat(pieces), numbers)
    assert all(0 < len(piece) <= chunk for piece in pieces)
