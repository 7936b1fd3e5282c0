"""Peaks are those of the new process, by the kernel's own record."""

from pathlib import Path

import numpy as np
import pytest

from partnerface.benchmarks.speed.peak_memory import in_new_process, peak_memory


def allocate(megabytes: int) -> None:
    np.ones(megabytes * 1_000_000, np.uint8)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc: not Linux")
def test_what_was_freed_still_counts_and_the_parent_does_not():
    parents_own = np.ones(900_000_000, np.uint8)
    small, large = (in_new_process(allocate, megabytes) for megabytes in (1, 300))
    del parents_own
    assert large.resident - small.resident == pytest.approx(0.3, abs=0.05)
    assert large.anonymous - small.anonymous == pytest.approx(0, abs=0.05)


def test_units_of_the_record(tmp_path):
    record = tmp_path / "status"
    record.write_text("Name:\tpython\nVmHWM:\t 2000000 kB\nRssAnon:\t 1000 kB\n")
    peak = peak_memory(record)
    assert peak.resident == pytest.approx(2.048)
    assert peak.anonymous == pytest.approx(0.001024)


def test_without_the_record_the_resource_usage_stands_in(tmp_path):
    peak = peak_memory(tmp_path / "none")
    assert 0.01 < peak.resident < 100
    assert peak.anonymous is None
