"""A parameter that no ray of a step reaches does not stop the exchange of gradients."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from partnerface.training import distributed
from partnerface.training.distributed import (
    DDP_OPTIONS,
    gathered_at_first,
    streamed_to_first,
    with_all_parameters,
)


@pytest.fixture
def wrapped() -> Iterator[DistributedDataParallel]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        layers = nn.ModuleDict({"hit": nn.Linear(3, 1), "missed": nn.Linear(3, 1)})
        layers.forward = lambda x: layers["hit"](x).sum()
        yield DistributedDataParallel(layers, **DDP_OPTIONS)
    finally:
        dist.destroy_process_group()


def test_steps_go_on_and_the_gradient_is_as_it_was(wrapped: DistributedDataParallel) -> None:
    layers, x = wrapped.module, torch.arange(6.0).reshape(2, 3)
    for _ in range(3):
        layers.zero_grad(set_to_none=True)
        with_all_parameters(wrapped(x), layers.parameters()).backward()
        assert torch.equal(layers["hit"].weight.grad, x.sum(0, keepdim=True))
        assert torch.equal(layers["hit"].bias.grad, torch.tensor([2.0]))
        assert not layers["missed"].weight.grad.any()


def test_without_it_torch_refuses_the_second_step(wrapped: DistributedDataParallel) -> None:
    """The day this fails, `with_all_parameters` can go."""
    x = torch.ones(2, 3)
    wrapped(x).backward()
    with pytest.raises(RuntimeError, match="finished reduction"):
        wrapped(x).backward()


@pytest.mark.parametrize(("exchanged", "waits"), [(True, 1), (False, 0)])
def test_beside_nccl_the_end_waits_for_the_group_that_exchanged_objects(
    monkeypatch, exchanged, waits
) -> None:
    """NCCL's own group is destroyed before: Lightning's handler, registered later, runs first."""
    waited: list[float] = []
    monkeypatch.setattr(distributed.time, "sleep", waited.append)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_backend", lambda: "nccl")
    monkeypatch.setattr(dist, "get_world_size", lambda: 1)
    monkeypatch.setattr(dist, "new_group", lambda backend: backend)
    monkeypatch.setattr(
        dist, "all_gather_object", lambda found, value, group: found.__setitem__(0, (value, group))
    )
    distributed._gloo_group.cache_clear()
    try:
        if exchanged:
            assert distributed.of_every_process(7) == [(7, "gloo")]
        monkeypatch.setattr(dist, "is_initialized", lambda: False)
        distributed._let_gloo_return()
    finally:
        distributed._gloo_group.cache_clear()
    assert len(waited) == waits


@pytest.fixture
def first_of_three(monkeypatch) -> list[int]:
    """This process is the first of three; the others have 20 and 35 values, and the list their exchanges."""
    others, exchanges = {1: iter(range(100, 120)), 2: iter(range(200, 235))}, []

    def gather(piece, found, group):
        assert piece == []
        rank = 1 if len(exchanges) < 2 else 2
        exchanges.append(rank)
        found[:] = [[], [], []]
        found[rank] = list(itertools.islice(others[rank], 16))

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 3)
    monkeypatch.setattr(dist, "get_backend", lambda: "gloo")
    monkeypatch.setattr(
        dist, "all_gather_object", lambda found, value, group: found.__setitem__(slice(3), [value, 20, 35])
    )
    monkeypatch.setattr(dist, "gather_object", gather)
    return exchanges


def test_values_of_several_processes_come_in_the_order_of_ranks(first_of_three: list[int]) -> None:
    assert gathered_at_first([0, 1, 2]) == [0, 1, 2, *range(100, 120), *range(200, 235)]


def test_no_process_waits_for_a_first_that_failed(first_of_three: list[int]) -> None:
    """Values come as they are taken; after an error all exchanges are made that the others count on."""

    def fail_after_three() -> None:
        with streamed_to_first([0, 1], 2) as values:
            assert [next(values) for _ in range(3)] == [0, 1, 100]
            assert first_of_three == [1]
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail_after_three()
    assert first_of_three == [1, 1, 2, 2, 2]


def test_an_end_right_after_a_collective_is_no_abort(tmp_path: Path) -> None:
    # Without the wait 6 of 24 ended with -6.
    script = Path(__file__).with_name("ending_processes.py")
    command = [sys.executable, str(script), "10", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(ended.stdout) == [0] * 20, ended.stderr
