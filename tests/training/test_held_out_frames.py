"""Test frames never touch training, model selection or the choice of when to stop.

Whatever is known about them (pictures, mattes, labels, tracked parameters, cameras) is replaced by rubbish
before training begins; training must not notice.
"""

import csv
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.data.batches.frame_store import FrameStore
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.data.sequence import TrackedSequence
from partnerface.training.resume.run_checkpoint import last_checkpoint

STEPS = 6
FLAGS = [
    f"--trainer.max_steps={STEPS}",
    "--trainer.val_check_interval=2",
    "--trainer.log_every_n_steps=1",
    "--model.refine_tracking=true",
    # Threads would share one generator in an order of their own.
    "--model.cpu_threads=1",
]


def held_out(data: HeadVideoDataModule) -> list[int]:
    """Test frames, and the gaps beside them, which belong to no split."""
    sequence = data.reader.read()
    splits = sequence.splits
    return sorted({*range(len(sequence))} - {*splits["train"], *splits["val"]})


def poison(data: HeadVideoDataModule, frames: list[int]) -> None:
    """Turn all numbers of some frames into NaN, before they are read, and their pictures into noise."""
    read = data.reader.read

    def poisoned() -> TrackedSequence:
        sequence = read()
        sequence.head.rotation[frames] = torch.nan
        return sequence

    data.reader.read = poisoned
    sequence, generator = data.sequence, np.random.default_rng(7)
    tensors = [sequence.torso_motion, sequence.camera.intrinsics, sequence.camera.camera_to_world]
    tensors += [getattr(sequence.head, f.name) for f in fields(sequence.head) if f.name != "identity"]
    for tensor in tensors:
        tensor[frames] = torch.nan
    channels = np.concatenate([data.store.rgba, data.store.labels[..., None]], -1)
    channels[frames, ..., :4] = generator.integers(0, 256, channels[frames, ..., :4].shape)
    channels[frames, ..., 4] = generator.integers(0, 7, channels[frames, ..., 4].shape)
    data.store = FrameStore(channels)


def trained(
    arguments: list[str], run: Path, change: Callable[[HeadVideoDataModule], None] = lambda data: None
) -> AvatarCLI:
    cli = AvatarCLI(["fit", *arguments, *FLAGS, f"--run_dir={run}"], execute=False)
    # By default the occupancy is not looked at in a run of a few steps.
    for callback in cli.trainer.callbacks:
        if hasattr(callback, "every_steps") and hasattr(callback, "visits"):
            callback.start_step, callback.every_steps = 1, 2
    change(cli.datamodule)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    return cli


def logged(run: Path) -> list[tuple[str, str, str]]:
    rows = csv.DictReader((run / "metrics.csv").open())
    return [(row["step"], row["name"], row["value"]) for row in rows]


def same(first: object, second: object) -> bool:
    """Whether two nested states are equal bit by bit; NaN equals NaN."""
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(
            first.contiguous().view(-1).view(torch.uint8), second.contiguous().view(-1).view(torch.uint8)
        )
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(same(*pair) for pair in zip(first, second, strict=True))
    return first == second


@pytest.fixture(scope="module")
def clean(smoke_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("held_out") / "clean"
    trained(smoke_arguments, run)
    return run


def test_training_does_not_notice_what_test_frames_hold(
    clean: Path, smoke_arguments: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "poisoned"
    cli = trained(smoke_arguments, run, lambda data: poison(data, held_out(data)))
    states = [torch.load(last_checkpoint(folder), weights_only=True) for folder in (clean, run)]
    assert states[0]["global_step"] == STEPS
    for name in ("global_step", "epoch", "state_dict", "optimizer_states"):
        assert same(states[0][name], states[1][name]), name
    # What a model is chosen by, or training stopped by: all that is logged, validation with it.
    assert logged(clean) == logged(run)
    assert {"val/psnr", "val/head_psnr"} <= {name for _, name, _ in logged(run)}
    for folder in ("checkpoints", "renderings"):
        files = [sorted(path.name for path in (root / folder).iterdir()) for root in (clean, run)]
        assert files[0] == files[1]
    strips = [(root / "renderings" / f"step_{STEPS:06d}.png").read_bytes() for root in (clean, run)]
    assert strips[0] == strips[1]
    # The poison was there to the end.
    views = cli.datamodule.views
    assert views.head.expression[held_out(cli.datamodule)].isnan().all()
    assert views.torso_motion[held_out(cli.datamodule)].isnan().all()


def test_a_change_of_one_training_frame_is_noticed(
    clean: Path, smoke_arguments: list[str], tmp_path: Path
) -> None:
    """So that the test above would fail if it had to."""

    def repaint(data: HeadVideoDataModule) -> None:
        channels = np.concatenate([data.store.rgba, data.store.labels[..., None]], -1)
        channels[data.train_frames[0], ..., :3] = 0
        data.store = FrameStore(channels)

    trained(smoke_arguments, tmp_path / "repainted", repaint)
    states = [
        torch.load(last_checkpoint(folder), weights_only=True) for folder in (clean, tmp_path / "repainted")
    ]
    assert not same(states[0]["state_dict"], states[1]["state_dict"])
