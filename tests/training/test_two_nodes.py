"""Two nodes, each with a network of its own, train one avatar through torchrun."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from partnerface.training.resume.run_checkpoint import last_checkpoint

ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = "29511"


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@pytest.fixture
def nodes() -> Iterator[list[str]]:
    """Names of two network namespaces whose interfaces, ``node0`` and ``node1``, are joined by a wire."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and `ip`, to make network namespaces")
    names = [f"partnerface{os.getpid()}-{k}" for k in range(2)]
    with ExitStack() as undo:
        try:
            for name in names:
                _run("ip", "netns", "add", name)
                undo.callback(_run, "ip", "netns", "del", name)
            wire = ["veth", "peer", "name", "node1", "netns", names[1]]
            _run("ip", "link", "add", "node0", "netns", names[0], "type", *wire)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
        for k, name in enumerate(names):
            _run("ip", "-n", name, "addr", "add", f"{ADDRESSES[k]}/24", "dev", f"node{k}")
            for interface in ("lo", f"node{k}"):
                _run("ip", "-n", name, "link", "set", interface, "up")
        yield names


def _start(node: str, rank: int, arguments: list[str]) -> subprocess.Popen[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    torchrun += [f"--node-rank={rank}", f"--master-addr={ADDRESSES[0]}", f"--master-port={PORT}"]
    return subprocess.Popen(
        ["ip", "netns", "exec", node, *torchrun, "--module", "partnerface", "fit", *arguments],
        env={**os.environ, "GLOO_SOCKET_IFNAME": f"node{rank}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_two_nodes_train_together(nodes: list[str], smoke_arguments: list[str], tmp_path: Path) -> None:
    flags = [
        "--trainer.strategy=ddp",
        "--trainer.devices=1",
        "--trainer.num_nodes=2",
        "--trainer.max_steps=4",
        "--trainer.log_every_n_steps=1",
    ]
    # They share no disk but for the dataset: the second leaves nothing that it had to hand over.
    runs = [tmp_path / "first", tmp_path / "second"]
    started = [
        _start(node, rank, [*smoke_arguments, *flags, f"--run_dir={runs[rank]}"])
        for rank, node in enumerate(nodes)
    ]
    printed = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(printed)[-6000:]
    checkpoint = torch.load(last_checkpoint(runs[0]), weights_only=True)
    assert checkpoint["global_step"] == 4
    assert (runs[0] / "metrics.csv").is_file()
    assert not runs[1].exists()
