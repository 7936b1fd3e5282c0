"""Checkpoints hold data only and rebuild the avatar by themselves."""

from pathlib import Path

import pytest
import torch

from partnerface.avatar_files.loading import load_avatar
from partnerface.cli.main import main
from partnerface.configuration.config_files import CONFIGS
from partnerface.deformation.part_networks import PartNetworks
from partnerface.errors import UserError


def test_a_checkpoint_loads_without_unpickling_code(trained_run: Path) -> None:
    """Trap: modules built in Python pickle their objects into the hyperparameters."""
    checkpoint = torch.load(trained_run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 6
    assert checkpoint["hyper_parameters"]["num_frames"] == 24


def test_the_loaded_avatar_has_the_trained_weights_and_surface(trained_run: Path) -> None:
    path = trained_run / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)["state_dict"]
    avatar = load_avatar(path)
    assert not avatar.training
    for name, value in avatar.state_dict().items():
        assert torch.equal(value, state[f"avatar.{name}"]), name
    # Derived buffers are not stored; they follow from identity and shell.
    assert len(avatar.skinning.faces) > 0


def test_an_avatar_of_an_earlier_version_names_part_networks_by_their_former_name(
    smoke_arguments: list[str], tmp_path: Path
) -> None:
    bank = "partnerface.deformation.part_networks.PartNetworks"
    words = [*smoke_arguments, "--config", str(CONFIGS / "method/part_networks.yaml")]
    assert main(["fit", *words, "--trainer.max_steps=1", f"--run_dir={tmp_path}"]) == 0
    path = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    deformation = checkpoint["hyper_parameters"]["avatar"]["init_args"]["deformation"]
    assert deformation["class_path"] == bank
    deformation["class_path"] = "partnerface.deformation.part_deformation.PartDeformation"
    torch.save(checkpoint, path)
    assert type(load_avatar(path).deformation) is PartNetworks


def test_what_is_no_checkpoint_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_avatar(tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(UserError, match=r"text\.ckpt: not readable") as caught:
        load_avatar(tmp_path / "text.ckpt")
    assert "\n" not in str(caught.value)
