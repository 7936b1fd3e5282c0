"""Chunks in threads."""

import threading

import pytest
import torch

from partnerface.rendering.chunking import map_chunks


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
