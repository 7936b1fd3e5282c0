"""Every method on the pretended device: its commands, its pictures, and its checkpoint on a CPU."""

import re
import shutil
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch

from partnerface import load_avatar
from partnerface.benchmarks.method_under_test import ORACLE, OURS, method_names
from partnerface.cli.main import main
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.configuration.config_files import CONFIGS
from partnerface.training import module
from tests.cuda.pretended.conftest import ONE_TEST_FRAME
from tests.cuda.pretended_device import pretended_cuda


def _classes(method: str) -> str:
    """The classes of a method's file: sizes alone call no other operations."""
    text = (CONFIGS / "method" / f"{method}.yaml").read_text()
    return " ".join(re.findall(r"class_path: *([\w.]+)", text.partition("  losses:")[0]))


METHODS = list({_classes(name): name for name in (ORACLE, *reversed(method_names()))}.values())
"""One of each combination of classes, the method of the project among them."""

OPEN = """
import sys
from partnerface import load_avatar
for path in sys.argv[1:]:
    assert load_avatar(path).identity.device.type == "cpu"
"""


RESUMED = "--ckpt_path=last", "--trainer.max_steps=5", "--trainer.limit_val_batches=0"


def test_every_command(cuda, arguments, fitted):
    """Without mixing, which `cuda` raises."""
    run = fitted().parents[1]
    for command in ("fit", "validate", "test", "predict"):
        cuda.clear()
        flags = RESUMED if command == "fit" else RESUMED[:1]
        assert main([command, *arguments(OURS, run, *flags)]) == 0
        assert cuda.operations, command
        assert not cuda.races, (command, cuda.races)
    assert (run / "prediction.mp4").is_file()


def test_a_validation_before_training_and_no_bfloat16(cuda, arguments, tmp_path, monkeypatch, capsys):
    """Hierarchies that are made in inference mode serve in training; an older GPU computes in float32."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    flags = "--trainer.max_steps=1", "--trainer.limit_val_batches=1", "--trainer.precision=bf16-mixed"
    cli = AvatarCLI(["fit", *arguments(OURS, tmp_path / "run", *flags)], execute=False)
    cli.trainer.validate(cli.model, datamodule=cli.datamodule, verbose=False)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    assert cli.trainer.global_step == 1
    assert cli.model.avatar.field.network_type is torch.float32
    assert capsys.readouterr().err.count("give --trainer.precision 16-mixed") == 1


@pytest.mark.parametrize("method", [name for name in METHODS if name != OURS])
def test_every_loop_of_the_trainer(cuda, arguments, fitted, method):
    """What the commands run, of the other methods: their words are parsed once."""
    run = fitted(method).parents[1]
    cli = AvatarCLI(["fit", *arguments(method, run, *RESUMED)], execute=False)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=str(fitted(method)))
    assert cli.trainer.global_step == 5
    cli.trainer.limit_val_batches = 1
    for loop in (cli.trainer.validate, cli.trainer.test, cli.trainer.predict):
        cuda.clear()
        loop(cli.model, datamodule=cli.datamodule)
        assert cuda.operations, loop
        assert not cuda.races, (loop, cuda.races)
    assert (run / "prediction.mp4").is_file()


def test_learned_corrections(cuda, arguments, tmp_path, monkeypatch):
    """Those of training frames, and those that a test fits to its own."""
    monkeypatch.setattr(module, "REFINEMENT_STEPS", 2)
    monkeypatch.setattr(module, "RAYS", 64)
    words = arguments(OURS, tmp_path / "run", "--model.refine_tracking=true", "--trainer.limit_val_batches=0")
    assert main(["fit", *words, "--trainer.max_steps=2"]) == 0
    refined = (
        "--model.test_parameters=refined",
        f"--trainer.limit_test_batches={ONE_TEST_FRAME}",
        "--ckpt_path=last",
    )
    assert main(["test", *words, *refined]) == 0
    assert not cuda.races


@pytest.mark.parametrize(("method", "size"), [*((method, 24) for method in METHODS), (OURS, 192)], ids=str)
def test_a_picture_is_that_of_the_cpu(cuda, fitted, method, size):
    """Small ones are rendered sample by sample, large ones in voxels.

    Of two places of the surface that are equally near, a GPU may find the other one: a pixel may differ.
    """
    checkpoint = fitted(method)
    shown = []
    for device in ("cpu", "cuda:0"):
        avatar = load_avatar(checkpoint, device=device)
        shown.append(avatar.render(avatar.default_view().resized(size, size), with_parts=size < 100))
    expected, found = shown
    assert found.rgb.is_cuda
    assert (expected.depth > 0).float().mean() > 0.1
    for name in ("rgb", "alpha", "depth", "part_weights"):
        if getattr(expected, name) is not None:
            difference = (getattr(found, name).cpu() - getattr(expected, name)).abs()
            assert (difference > 1e-4).float().mean() < 1e-4, name


def test_a_picture_on_a_stream_of_ones_own(cuda, fitted):
    """All of it runs there, which `cuda` checks: threads would have streams of their own."""
    checkpoint = fitted()
    with torch.cuda.stream(torch.cuda.Stream()):
        avatar = load_avatar(checkpoint, device="cuda:0")
        avatar.render(avatar.default_view().resized(16, 16))
    assert cuda.operations


def test_a_checkpoint_of_the_device_opens_without_one(fitted):
    checkpoints = [fitted(method) for method in METHODS]
    with pytest.raises(NotImplementedError, match="map_location"):
        torch.load(checkpoints[0], weights_only=True)
    opened = subprocess.run(
        [sys.executable, "-c", OPEN, *map(str, checkpoints)], capture_output=True, text=True
    )
    assert opened.returncode == 0, opened.stderr


def test_a_run_continues_on_a_cpu_and_back(arguments, fitted, tmp_path, capsys):
    """What is stored of the device's memory and random numbers is not in the way of the other machine."""
    run, flags = tmp_path / "run", ("--ckpt_path=last", "--trainer.limit_val_batches=0")
    shutil.copytree(fitted().parents[1], run)
    for steps, accelerator in ((5, "cpu"), (6, "cuda")):
        words = arguments(
            OURS, run, *flags, f"--trainer.max_steps={steps}", f"--trainer.accelerator={accelerator}"
        )
        with pretended_cuda() if accelerator == "cuda" else nullcontext():
            assert main(["fit", *words]) == 0
        state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True, map_location="cpu")
        assert state["global_step"] == steps
        assert all(value.isfinite().all() for value in state["state_dict"].values())
    assert "Traceback" not in capsys.readouterr().err
