"""Freed tensors are taken again, not returned."""

import resource
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from partnerface.compute.memory import keep_freed_memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator only")
def test_a_thread_takes_its_freed_tensors_again():
    if not keep_freed_memory():
        pytest.skip("the C library has no mallopt")

    def faults() -> int:
        for _ in range(3):
            torch.ones(1 << 20)
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        for _ in range(10):
            torch.ones(1 << 20)
        return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before

    with ThreadPoolExecutor(1) as pool:
        # Ten times 4 MB in pages of 4 kB would be 10,000.
        assert pool.submit(faults).result() < 5_000
