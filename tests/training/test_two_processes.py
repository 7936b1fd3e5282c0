"""Two processes (gloo on a CPU, started as by SLURM) train one avatar and measure what one measures."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from partnerface.cli.main import main
from partnerface.files.images import read_rgb
from partnerface.training.resume.run_checkpoint import last_checkpoint
from tests.training.network_ports import free_port
from tests.training.rank_training import train

STEPS, SPOILED = 12, 5
FLAGS = [
    f"--trainer.max_steps={STEPS}",
    "--trainer.limit_val_batches=0",
    "--trainer.limit_test_batches=1.0",
    "--model.refine_tracking=true",
    "--model.avatar.driving_noise=0",
    # Means over samples or parts of a batch are not means over its frames.
    "--model.losses.offset_size.init_args.weight=0",
    "--model.losses.part_balance.init_args.weight=0",
    "--model.cpu_threads=1",
    "--data.patch_side=6",
    "--data.patches_from=0.5",
]


@dataclass
class Run:
    """A training in two processes: its folder, what each process saw, and what was printed."""

    folder: Path
    arguments: list[str]
    seen: list[dict]
    printed: str


def _slurm(rank: int, port: int) -> dict[str, str]:
    """What `srun --ntasks 2` sets for a process; Lightning's own plugin reads it."""
    place = {"PROCID": rank, "LOCALID": rank, "NODEID": 0, "NTASKS": 2, "NTASKS_PER_NODE": 2, "NNODES": 1}
    place |= {"JOB_ID": 1234, "JOB_NAME": "avatar", "NODELIST": "127.0.0.1"}
    return {f"SLURM_{name}": str(value) for name, value in place.items()} | {"MASTER_PORT": str(port)}


@pytest.fixture(scope="module")
def run(smoke_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("two")
    arguments = [*smoke_arguments, *FLAGS]
    of_ranks = ["--trainer.strategy=ddp", "--trainer.devices=2", "--data.frames_per_batch=1"]
    asked = {"arguments": [*arguments, *of_ranks, f"--run_dir={out / 'run'}"], "out": str(out)}
    (out / "asked.json").write_text(json.dumps({**asked, "spoiled": SPOILED}))
    command = [sys.executable, str(Path(__file__).with_name("rank_training.py")), str(out / "asked.json")]
    port = free_port()
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **_slurm(rank, port), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(printed)[-6000:]
    seen = [torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    return Run(out / "run", arguments, seen, "".join(printed))


def test_weights_buffers_and_refinements_are_equal_on_both(run: Run) -> None:
    first, second = (seen["weights"] for seen in run.seen)
    assert first.keys() == second.keys()
    assert any(name.startswith("refinement") and value.any() for name, value in first.items())
    for name, value in first.items():
        assert torch.equal(second[name], value), name
    saved = torch.load(last_checkpoint(run.folder), weights_only=True)["state_dict"]
    assert all(torch.equal(saved[name], value) for name, value in first.items())


def test_each_has_rays_and_draws_of_its_own(run: Run) -> None:
    first, second = run.seen
    assert all(not torch.equal(a, b) for a, b in zip(first["pixels"], second["pixels"], strict=True))
    assert not set(first["seeds"]) & set(second["seeds"])
    # They take turns in one order of the frames, each frame once before any comes again.
    turns = [frame for pair in zip(first["frames"], second["frames"], strict=True) for frame in pair]
    frames = len(set(turns))
    assert len(turns) > frames
    assert len(set(turns[:frames])) == frames


def test_the_gradient_is_that_of_one_process_with_all_frames(run: Run, tmp_path: Path) -> None:
    # The first of one step would have patches, the first of STEPS has none.
    flags = ["--data.frames_per_batch=2", "--trainer.max_steps=1", "--data.patch_side=0"]
    flags.append(f"--run_dir={tmp_path}")
    _, probe = train([*run.arguments, *flags])
    assert probe.frames == [run.seen[rank]["frames"][0] for rank in range(2)]
    assert SPOILED not in probe.frames
    found = run.seen[0]["gradient"]
    assert found.keys() >= probe.gradient.keys()
    for name, expected in probe.gradient.items():
        scale = expected.abs().max().clamp_min(1e-9)
        torch.testing.assert_close(found[name] / scale, expected / scale, atol=1e-4, rtol=1e-4, msg=name)


def test_a_step_that_one_of_them_cannot_make_is_left_out_by_both(run: Run) -> None:
    visits = [frame for seen in run.seen for frame in seen["frames"]].count(SPOILED)
    assert visits >= 1
    assert [seen["skipped"] for seen in run.seen] == [visits, visits]
    lines = [line for line in run.printed.splitlines() if "skipped:" in line]
    assert len(lines) == visits
    assert all(f"photometric of frame {SPOILED} is not a finite number" in line for line in lines)


def test_metrics_and_files_are_those_of_one_process(run: Run, tmp_path: Path) -> None:
    arguments = ["--config", str(run.folder / "config.yaml"), f"--run_dir={tmp_path}"]
    one = ["--trainer.devices=1", "--trainer.strategy=auto", f"--ckpt_path={last_checkpoint(run.folder)}"]
    assert main(["test", *arguments, *one]) == 0
    found, expected = (json.loads((folder / "metrics.json").read_text()) for folder in (run.folder, tmp_path))
    # The weights were still in memory.
    assert found["protocol"] == expected["protocol"] | {"checkpoint": None}
    _assert_close(found["splits"], expected["splits"], "splits")
    # Sums of another order differ in their last bit: a colour between two levels may be rounded to either.
    strip, expected_strip = (read_rgb(folder / "strip.png") for folder in (run.folder, tmp_path))
    np.testing.assert_allclose(strip.astype(int), expected_strip, atol=1)
    film, expected_film = (_film(folder / "comparison.mp4") for folder in (run.folder, tmp_path))
    assert film.shape == expected_film.shape
    # The codec carries such a pixel to its neighbours; frames in another order differ by far more.
    assert np.abs(film - expected_film).mean(axis=(1, 2, 3)).max() < 0.1


def _film(path: Path) -> np.ndarray:
    """(N, H, W, 3) levels."""
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]).astype(int)


def _assert_close(found, expected, name: str) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), name
        for key, value in expected.items():
            _assert_close(found[key], value, f"{name}.{key}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-9), name
    else:
        assert found == expected, name


def test_fewer_frames_than_processes_are_refused(smoke_arguments: list[str], monkeypatch) -> None:
    from partnerface.configuration.avatar_cli import AvatarCLI
    from partnerface.data.datamodule import HeadVideoDataModule
    from partnerface.errors import UserError

    data = AvatarCLI(["fit", *smoke_arguments], execute=False).datamodule
    monkeypatch.setattr(HeadVideoDataModule, "_process", lambda self: (0, 1000))
    assert data.val_dataloader() == []
    with pytest.raises(UserError, match="cannot be shared by 1000 processes"):
        data.test_dataloader()
