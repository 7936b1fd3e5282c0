"""Commands set up a process of their own; a program that imports the package keeps its settings."""

import os
import subprocess
import sys

import pytest

KERNEL = """
import os, sys, resource
redirected, dup2 = [], os.dup2
os.dup2 = lambda *descriptors: redirected.append(descriptors) or dup2(*descriptors)
if sys.argv[1] == "command":
    from partnerface.cli.main import main
    main(["sweep", "missing.yaml"])
import pkgutil, importlib, partnerface
for room in ("avatar", "sampling", "meshes", "skinning", "fields", "training"):
    importlib.import_module(f"partnerface.{room}")
    for found in pkgutil.iter_modules([f"{partnerface.__path__[0]}/{room}"], f"partnerface.{room}."):
        importlib.import_module(found.name)
import torch
from partnerface.compute.chunks import map_chunks
from partnerface.meshes.normals import posed_normals
print("redirected", len(redirected), flush=True)
posed_normals(torch.rand(1, 3, 3), torch.tensor([[0, 1, 2]], dtype=torch.int32))

def faults(_):
    #Pages that the system hands out for twenty tensors of 36 MB, one after the other, in percent of theirs.
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(20):
        torch.ones(9 << 20)
    return (resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before) * 100 // (20 * 9216)

print("faults", map_chunks(faults, [0], threads=2)[0])
"""


def _process(kind: str) -> tuple[dict[str, int], list[str]]:
    environment = {name: value for name, value in os.environ.items() if name != "PARTNERFACE_COMMAND"}
    if kind == "child":
        environment["PARTNERFACE_COMMAND"] = "1"
    command = [sys.executable, "-c", KERNEL, kind]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=True)
    numbers = {name: int(value) for name, value in (line.split() for line in done.stdout.splitlines())}
    return numbers, [line for line in done.stderr.splitlines() if "partnerface:" not in line]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator only")
def test_a_program_that_imports_the_package_keeps_its_settings() -> None:
    seen, _ = _process("program")
    assert seen["redirected"] == 0
    if seen["faults"] < 10:
        pytest.skip("this system maps large pages, or its C library keeps them by itself")
    assert seen["faults"] > 80


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator only")
@pytest.mark.parametrize("kind", ["command", "child"])
def test_a_command_and_its_children_start_quietly_and_take_freed_memory_again(kind: str) -> None:
    seen, said = _process(kind)
    assert said == []
    assert seen["faults"] < 50


SCRIPT = """
import os, sys
from partnerface.compute.process_settings import without_native_chatter
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
