"""The package on a CUDA device that is not there, and what it costs one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cuda.pretended_device import unavailable
from tests.cuda.pretended_plugin import OWN_TESTS

TESTS = Path(__file__).parents[1]
WITH_GPU_TESTS = "avatar", "deformation", "fields", "sampling", "skinning"
"""Folders that inherit contracts, in which tests are marked ``gpu``."""


@pytest.mark.slow
@pytest.mark.skipif(unavailable() is not None, reason=f"no pretended device: {unavailable()}")
def test_everything_runs_on_the_pretended_device(capsys, tmp_path):
    """In a process of its own, for torch cannot be rid of the device again."""
    folders = [OWN_TESTS, *(TESTS / name for name in WITH_GPU_TESTS)]
    options = ["-q", "--durations=5", "--disable-warnings", "--show-capture=stderr", "-p", "no:cacheprovider"]
    options += ["-p", "tests.cuda.pretended_plugin", f"--basetemp={tmp_path / 'pretended'}"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *map(str, folders), *options],
        cwd=TESTS.parent,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout
    with capsys.disabled():
        # The standard output of a worker of pytest-xdist leads nowhere.
        print(f"\n{ran.stdout}", file=sys.stderr, flush=True)
