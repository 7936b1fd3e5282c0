"""The number of threads is one inside and restored after, whatever happens."""

import pytest
import torch

from partnerface.single_thread import single_thread


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
