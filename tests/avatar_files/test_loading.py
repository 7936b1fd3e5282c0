"""Checkpoints hold data only and rebuild the avatar by themselves."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from partnerface.avatar_files.avatar_file import read_avatar_file, write_avatar_file
from partnerface.avatar_files.loading import export_avatar_file, load_avatar
from partnerface.cli.main import main
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.configuration.config_files import CONFIGS, config_arguments
from partnerface.deformation.part_networks import PartNetworks
from partnerface.errors import UserError
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_model_asset import HeadModelAsset


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


def _on_dataset(root: Path, run: Path) -> list[str]:
    """What README's `fit` of a tracked dataset stands for, made short."""
    return [
        *("fit", *config_arguments("base", "method/part_deformation", "data/auto", "scale/smoke")),
        *(f"--data.reader.root={root}", f"--run_dir={run}"),
        *("--model.avatar.sampler.init_args.cells=32", "--model.avatar.field.init_args.log2_table_size=12"),
        *("--trainer.accelerator=cpu", "--trainer.max_steps=1", "--trainer.limit_val_batches=0"),
    ]


def test_the_head_of_a_dataset_that_is_in_the_package_needs_no_file(
    synthetic_dataset: Path, tmp_path: Path
) -> None:
    cli = AvatarCLI(_on_dataset(synthetic_dataset, tmp_path / "run"), execute=False)
    assert type(cli.model.avatar.head_model) is AnnyHead
    assert not (tmp_path / "run").exists()
    assert not list(synthetic_dataset.rglob("head_model.npz"))


def test_an_avatar_on_a_datasets_own_head_outlives_the_dataset(
    synthetic_dataset: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """The head model was named by its place in the dataset, from the folder where training ran."""
    dataset = tmp_path / "dataset"
    shutil.copytree(synthetic_dataset, dataset)
    anny = AnnyHead().asset
    own = replace(anny, name="own", template_vertices=anny.template_vertices * 1.001)
    own.save(dataset / "head_model.npz")
    record = json.loads((dataset / "transforms.json").read_text())
    record["head_model"] |= {"name": "own", "checksum": own.checksum()}
    (dataset / "transforms.json").write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)
    assert main(_on_dataset(Path("dataset"), Path("run"))) == 0
    # A run of the same configuration has its own, in place of what an earlier attempt has left there.
    (tmp_path / "again").mkdir()
    anny.save(tmp_path / "again" / "head_model.npz")
    AvatarCLI(["fit", "--config", "run/config.yaml", "--run_dir", "again"], execute=False)
    assert HeadModelAsset.load(tmp_path / "again" / "head_model.npz").checksum() == own.checksum()
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere" / "moved")
    checkpoint = f"--ckpt_path={moved / 'checkpoints' / 'last.ckpt'}"
    cli = AvatarCLI(["test", "--config", str(moved / "config.yaml"), checkpoint], execute=False)
    assert cli.model.avatar.head_model.asset.checksum() == own.checksum()
    shutil.rmtree(dataset)
    # By now another run may have the name that it had.
    (tmp_path / "run").mkdir()
    anny.save(tmp_path / "run" / "head_model.npz")
    assert load_avatar(moved).head_model.asset.checksum() == own.checksum()
    monkeypatch.chdir("/")
    assert load_avatar(moved).head_model.asset.checksum() == own.checksum()
    capsys.readouterr()
    given = tmp_path / "given" / "me.avatar"
    assert main(["export", "avatar", str(moved), "--out", str(given)]) == 0
    head = moved / "head_model.npz"
    assert str(head) in capsys.readouterr().out
    with pytest.raises(UserError, match=r"head_model\.npz"):
        load_avatar(given)
    shutil.copy(head, given.parent)
    assert load_avatar(given).head_model.asset.checksum() == own.checksum()


def test_a_datasets_copy_of_a_packaged_head_is_not_needed(trained_run: Path, tmp_path: Path) -> None:
    """Avatars of earlier versions name such a copy."""
    checkpoint = torch.load(trained_run / "checkpoints" / "last.ckpt", weights_only=True)
    copy = tmp_path / "cache" / "head_model.npz"
    copy.parent.mkdir()
    AnnyHead().asset.save(copy)
    kind = "partnerface.head_models.dataset_head.DatasetHead"
    named = {"class_path": kind, "init_args": {"path": str(copy)}}
    checkpoint["hyper_parameters"]["avatar"]["init_args"]["head_model"] = named
    torch.save(checkpoint, tmp_path / "last.ckpt")
    out = tmp_path / "me.avatar"
    assert export_avatar_file(tmp_path / "last.ckpt", out) == []
    assert type(load_avatar(out).head_model) is AnnyHead
    copy.unlink()
    with pytest.raises(UserError, match=r"head_model\.npz"):
        load_avatar(tmp_path / "last.ckpt")
    # An avatar file says of which head model it is.
    file = read_avatar_file(out)
    file.avatar["init_args"]["head_model"] = named | {"init_args": {"path": "head_model.npz"}}
    write_avatar_file(out, file)
    assert type(load_avatar(out).head_model) is AnnyHead
