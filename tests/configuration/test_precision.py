"""Every precision that Lightning accepts is honoured for networks, or one line says what to set instead."""

from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml
from jsonargparse import Namespace
from lightning.fabric.connector import _PRECISION_INPUT

from partnerface import load_avatar
from partnerface.cli.main import main
from partnerface.compute.network_types import spare_emulation
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.configuration.config_files import config_arguments
from partnerface.configuration.precision import with_network_types
from partnerface.errors import UserError

FLOAT32 = {None, 32, "32", "32-true"}
HALF = {"bf16": "bfloat16", "bf16-mixed": "bfloat16", 16: "float16", "16": "float16", "16-mixed": "float16"}
PRECISIONS = [None, *(value for kind in get_args(_PRECISION_INPUT) for value in get_args(kind))]
SWITCHES = {"bfloat16", "float16"}


def with_precision(config: Namespace, precision: object) -> Namespace:
    """A copy of a configuration that has been translated."""
    changed = config.clone()
    changed["trainer"]["precision"] = precision
    with_network_types(changed)
    return changed


@pytest.fixture(scope="module")
def config(smoke_arguments: list[str]) -> Namespace:
    return AvatarCLI(["fit", *smoke_arguments], execute=False).config["fit"]


def test_lightning_accepts_these() -> None:
    assert {*FLOAT32, *HALF} <= {*PRECISIONS}
    assert len({*PRECISIONS} - FLOAT32 - {*HALF}) == 7


@pytest.mark.parametrize("precision", PRECISIONS, ids=repr)
def test_each_precision(config: Namespace, precision: object, capsys) -> None:
    if precision not in FLOAT32 and precision not in HALF:
        with pytest.raises(UserError, match=r"precision .*: points.* choose 32-true, or bf16-mixed or 16"):
            with_precision(config, precision)
        return
    found = with_precision(config, precision)
    assert found["trainer"]["precision"] == "32-true"
    field = found["model"]["avatar"]["init_args"]["field"]["init_args"]
    assert [name for name in SWITCHES if field[name]] == ([HALF[precision]] if precision in HALF else [])
    said = capsys.readouterr().err
    assert (f"networks in {HALF[precision]}, all else in float32" in said) if precision in HALF else not said


def test_a_switch_in_the_configuration_gives_way(config: Namespace) -> None:
    before = config.clone()
    before["model"]["avatar"]["init_args"]["field"]["init_args"]["bfloat16"] = True
    field = with_precision(before, "16-mixed")["model"]["avatar"]["init_args"]["field"]["init_args"]
    assert (field["bfloat16"], field["float16"]) == (False, True)
    assert with_precision(before, "32-true")["model"] == before["model"]


def test_networks_without_a_switch(config: Namespace) -> None:
    before = config.clone()
    field = before["model"]["avatar"]["init_args"]["field"]["init_args"]
    del field["bfloat16"], field["float16"]
    with pytest.raises(
        UserError, match=r"16-mixed: .*Avatar has no network with the switch float16; choose 32"
    ):
        with_precision(before, "16-mixed")


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_a_run_and_its_checkpoint_have_it(smoke_arguments: list[str], tmp_path: Path, precision: str) -> None:
    flags = f"--trainer.precision={precision}", "--trainer.max_steps=2", f"--run_dir={tmp_path}"
    assert main(["fit", *smoke_arguments, *flags, "--trainer.limit_val_batches=0"]) == 0
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert written["trainer"]["precision"] == "32-true"
    avatar = load_avatar(tmp_path / "checkpoints" / "last.ckpt")
    assert avatar.field.network_type == getattr(torch, HALF[precision])
    assert avatar.loss_scale == (1 if precision == "bf16-mixed" else 2**14)
    assert all(parameter.isfinite().all() for parameter in avatar.parameters())


def test_a_gpu_that_only_emulates_bfloat16_takes_float32(smoke_arguments, monkeypatch, capsys) -> None:
    """As a T4, a V100 and an RTX 20 do, many times slower than they compute in float32."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    gpu = torch.device("cuda")
    for precision, device, expected in (
        ("bf16-mixed", torch.device("cpu"), torch.bfloat16),
        ("bf16-mixed", gpu, torch.float32),
        ("16-mixed", gpu, torch.float16),
    ):
        words = ["fit", *smoke_arguments, f"--trainer.precision={precision}"]
        avatar = AvatarCLI(words, execute=False).model.avatar
        capsys.readouterr()
        spare_emulation(avatar, device)
        spare_emulation(avatar, device)
        said = capsys.readouterr().err
        assert avatar.field.network_type is expected
        assert said.count("--trainer.precision 16-mixed") == (expected is torch.float32)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    avatar.field.network_type = torch.bfloat16
    spare_emulation(avatar, gpu)
    assert avatar.field.network_type is torch.bfloat16


def test_two_types_at_once_are_one_line(smoke_arguments: list[str], tmp_path: Path, capsys) -> None:
    field = "--model.avatar.init_args.field.init_args"
    flags = f"{field}.bfloat16=true", f"{field}.float16=true", f"--run_dir={tmp_path}"
    assert main(["fit", *smoke_arguments, *flags]) == 2
    assert "networks are evaluated in one type" in capsys.readouterr().err


def test_the_other_method_has_the_switches_too(tmp_path: Path, synthetic_dataset: Path) -> None:
    files = config_arguments("base", "method/nerface", "head_model/anny", "data/synthetic", "scale/smoke")
    # Of another length or size the subject would be rendered anew, over the one that all tests share.
    data = [f"--data.reader.init_args.{k}" for k in (f"root={synthetic_dataset}", "frames=24", "size=32")]
    words = [*files, *data, f"--run_dir={tmp_path}"]
    cli = AvatarCLI(["fit", *words, "--trainer.precision=16-mixed"], execute=False)
    assert cli.model.avatar.network_type is torch.float16
    assert cli.trainer.precision == "32-true"
