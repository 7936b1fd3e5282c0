"""Run in processes of their own: file descriptor 2 belongs to the test runner."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from partnerface.tracking.detection.native_log import without_native_chatter
try:
    with without_native_chatter():
        os.write(2, b"W0000 00:00:1.2 33 graph.cc:181] Sets acceleration.\\n")
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\n")
        print("progress", file=sys.stderr)
        os.write(2, b"E0000 00:00:1.2 33 graph.cc:9] a real error\\n")
        {body}
except KeyError:
    pass
print("after", file=sys.stderr)
os.write(2, b"W0000 later\\n")
"""


@pytest.mark.parametrize("body", ["pass", "raise KeyError"])
def test_only_the_chatter_is_lost(body: str) -> None:
    command = [sys.executable, "-c", SCRIPT.format(body=body)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = run.stderr.splitlines()
    assert lines == ["progress", "E0000 00:00:1.2 33 graph.cc:9] a real error", "after", "W0000 later"]
