"""A run that was stopped and resumed ends with the weights of one that was not."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.configuration.config_files import CONFIGS
from partnerface.training.resume.run_checkpoint import last_checkpoint

EVERY_CHOICE = [
    "--model.avatar.deformation.init_args.parts=8",
    "--model.avatar.deformation.init_args.learn_parts=true",
    "--model.avatar.deformation.init_args.placement=head_regions",
    "--model.avatar.deformation.init_args.residual_frequencies=2",
    "--model.avatar.deformation.init_args.masks=learned",
    "--model.avatar.deformation.init_args.expression_code_width=4",
    "--model.avatar.driving_noise=0.1",
    "--model.avatar.clamp_driving=false",
    "--model.losses.part_entropy.init_args.weight=0.01",
    "--model.losses.offset_smoothness.init_args.weight=0.01",
]
SCHEDULE = "--model.avatar.deformation.init_args.temperature_schedule="
WINDOWED = "--model.avatar.deformation.init_args.windowed_frequencies"
CHOICES = {
    "as shipped": [],
    "annealed": [*EVERY_CHOICE, f"{SCHEDULE}annealed"],
    "learned": [*EVERY_CHOICE, f"{SCHEDULE}learned"],
    "part networks": ["--config", str(CONFIGS / "method/part_networks.yaml"), f"{WINDOWED}=true"],
    "patches": ["--data.patch_side=8", "--data.patches_from=0.4"],
}


class _StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, *args) -> None:
        trainer.should_stop = trainer.global_step >= self.step


def _fit(arguments: list[str], run: Path, stop: int, checkpoint: Path | None = None) -> dict:
    # Threads would share one generator in an order of their own.
    flags = ["--trainer.max_steps=6", "--trainer.limit_val_batches=0", "--model.cpu_threads=1"]
    if checkpoint is not None:
        flags += ["--ckpt_path", "last"]
    cli = AvatarCLI(["fit", *arguments, *flags, f"--run_dir={run}"], execute=False)
    # Before the checkpoint, as the trainer orders its own.
    cli.trainer.callbacks.insert(0, _StopAt(stop))
    cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=True)
    return torch.load(last_checkpoint(run), weights_only=True)


@pytest.mark.parametrize("choices", CHOICES)
def test_resumed_run_ends_where_the_other_does(
    choices: str, smoke_arguments: list[str], tmp_path: Path, random_lpips: object
) -> None:
    arguments = [*smoke_arguments, *CHOICES[choices]]
    whole = _fit(arguments, tmp_path / "whole", stop=6)
    _fit(arguments, tmp_path / "parts", stop=3)
    resumed = _fit(arguments, tmp_path / "parts", 6, last_checkpoint(tmp_path / "parts"))
    assert resumed["global_step"] == whole["global_step"] == 6
    assert resumed["state_dict"].keys() == whole["state_dict"].keys()
    for name, value in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], value), name
