"""Rows of a CUDA device: measured where there is one, null with the reason elsewhere."""

import pytest
import torch

from partnerface.benchmarks.speed.suite import check_device
from partnerface.benchmarks.speed.throughput import CUDA_ROWS, cuda_rendering_row, missing_cuda_rows
from partnerface.benchmarks.speed.training_slices import set_up
from partnerface.errors import UserError


def test_without_a_device_every_row_says_so():
    rows = missing_cuda_rows("no CUDA device")
    assert [row.name for row in rows] == list(CUDA_ROWS)
    for row in rows:
        assert row.as_json()["value"] is None
        assert row.as_json()["holds"] is None
        assert row.note == "no CUDA device"


def test_a_device_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_device("auto") is False
    assert check_device("cpu") is False
    with pytest.raises(UserError, match="--device cuda"):
        check_device("cuda")


def test_a_device_is_used_unless_it_is_not_wanted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [check_device(d) for d in ("auto", "cpu", "cuda")] == [True, False, True]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_frame_is_rendered_on_the_device(tiny_method):
    set_up(tiny_method)
    row = cuda_rendering_row(tiny_method, rounds=1)
    assert row.value > 0
    assert next(tiny_method.module.parameters()).device.type == "cuda"
