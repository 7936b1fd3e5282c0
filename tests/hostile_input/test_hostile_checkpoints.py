"""Bad checkpoints: each refused in one line by a test, and by training that shall go on from it."""

from __future__ import annotations

import copy
import io
import os
import pickle
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import partnerface
from partnerface.avatar_files.loading import load_avatar
from partnerface.cli.main import main
from partnerface.errors import UserError
from tests.hostile_input import spoiling as bad
from tests.hostile_input.test_hostile_configurations import BOMB

NAN = float("nan")


def _set(*keys: Any, to: Any) -> Callable[[dict], None]:
    """Set an entry below a checkpoint."""

    def change(checkpoint: dict) -> None:
        node = checkpoint
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = to

    return change


def _without(*keys: Any) -> Callable[[dict], None]:
    def change(checkpoint: dict) -> None:
        node = checkpoint
        for key in keys[:-1]:
            node = node[key]
        del node[keys[-1]]

    return change


def _first_weight(checkpoint: dict, change: Callable[[torch.Tensor], Any]) -> None:
    name = next(n for n, v in checkpoint["state_dict"].items() if v.is_floating_point() and v.numel() > 8)
    checkpoint["state_dict"][name] = change(checkpoint["state_dict"][name])


CONTENTS: dict[str, tuple[Callable[[dict], Any], str]] = {
    "no weights": (_without("state_dict"), "state_dict"),
    "weights in a list": (_set("state_dict", to=[1, 2]), "state_dict"),
    "an empty table of weights": (_set("state_dict", to={}), ""),
    "a weight missing": (lambda c: c["state_dict"].popitem(), ""),
    "a weight too many": (_set("state_dict", "avatar.more", to=torch.zeros(3)), "avatar.more"),
    "a weight that is text": (_set("state_dict", "avatar.more", to="text"), "avatar.more"),
    "a weight without a name": (_set("state_dict", 7, to=torch.zeros(1)), "state_dict[7]"),
    "weights that are none": (lambda c: _first_weight(c, lambda w: torch.full_like(w, NAN)), "finite"),
    "endless weights": (lambda c: _first_weight(c, lambda w: torch.full_like(w, torch.inf)), "finite"),
    "weights of another shape": (lambda c: _first_weight(c, lambda w: w[..., :-1]), ""),
    "an enormous weight of one number": (
        lambda c: _first_weight(c, lambda w: torch.zeros(1).expand(10**12)[: 10**7]),
        "",
    ),
    "a weight of no device": (lambda c: _first_weight(c, lambda w: w.to("meta")), "is no tensor"),
    "a sparse weight": (lambda c: _first_weight(c, lambda w: w.to_sparse()), "is no tensor"),
    "no step": (_without("global_step"), "global_step"),
    "a step that is text": (_set("global_step", to="3"), "global_step"),
    "an epoch that is none": (_set("epoch", to=None), "epoch"),
    "no version": (_without("pytorch-lightning_version"), "version"),
    "of an older Partnerface": (_without("partnerface_version"), "written by Partnerface 0.1"),
    "a version that is a number": (_set("pytorch-lightning_version", to=2), "version"),
    "a version that is none": (_set("pytorch-lightning_version", to="x.y"), ""),
    "no loops": (_without("loops"), "loops"),
    "loops that are text": (_set("loops", to="text"), "loops"),
}

RESUMED: dict[str, tuple[Callable[[dict], Any], str]] = {
    "no loop of fit": (_without("loops", "fit_loop"), "fit_loop"),
    "a loop that is text": (_set("loops", "fit_loop", to="text"), ""),
    "no optimizer": (_without("optimizer_states"), ""),
    "an optimizer that is text": (_set("optimizer_states", to="text"), "optimizer_states"),
    "an optimizer of other weights": (_set("optimizer_states", 0, "param_groups", to=[]), ""),
    "callbacks in a list": (_set("callbacks", to=[]), "callbacks"),
}

FILES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a checkpoint"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-2000]),
    "one half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a list": lambda path: torch.save([1, 2], path),
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
    "a plain pickle": lambda path: path.write_bytes(pickle.dumps({"state_dict": {}})),
    "a command": lambda path: torch.save({"state_dict": bad.Payload(path.with_name("canary"))}, path),
    "a command in an old file": lambda path: torch.save(
        {"state_dict": bad.Payload(path.with_name("canary"))}, path, _use_new_zipfile_serialization=False
    ),
    "a plain command": lambda path: path.write_bytes(pickle.dumps(bad.Payload(path.with_name("canary")))),
    "a whole module": lambda path: torch.save({"state_dict": torch.nn.Linear(2, 2)}, path),
    "an empty archive": lambda path: zipfile.ZipFile(path, "w").close(),
    "an archive of something else": lambda path: _archive(path),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "missing": Path.unlink,
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other/data.pkl", pickle.dumps(bad.Payload(path.with_name("canary"))))


@pytest.fixture
def checkpoint(bench, trained_run: Path) -> Path:
    path = bench.folder / "strange.ckpt"
    path.write_bytes((trained_run / "checkpoints" / "last.ckpt").read_bytes())
    return path


@pytest.fixture(scope="module")
def whole(trained_run: Path) -> dict:
    return torch.load(trained_run / "checkpoints" / "last.ckpt", weights_only=True)


def _arguments(command: str, run: Path, path: Path, out: Path) -> list[str]:
    return [command, "--config", str(run / "config.yaml"), "--ckpt_path", str(path), f"--run_dir={out}"]


@pytest.mark.parametrize("kind", FILES)
def test_files(bench, checkpoint: Path, trained_run: Path, kind: str) -> None:
    FILES[kind](checkpoint)
    bench.refuses(_arguments("test", trained_run, checkpoint, bench.out), "strange.ckpt")
    with pytest.raises(UserError, match=r"strange\.ckpt"):
        load_avatar(checkpoint)
    assert not bench.canary.exists()


@pytest.mark.parametrize("kind", CONTENTS)
def test_contents(bench, checkpoint: Path, trained_run: Path, whole: dict, kind: str) -> None:
    change, word = CONTENTS[kind]
    content = copy.deepcopy(whole)
    change(content)
    torch.save(content, checkpoint)
    bench.refuses(_arguments("test", trained_run, checkpoint, bench.out), "checkpoint", word)


@pytest.mark.parametrize("kind", RESUMED)
def test_contents_that_training_needs(
    bench, checkpoint: Path, trained_run: Path, whole: dict, kind: str
) -> None:
    change, word = RESUMED[kind]
    content = copy.deepcopy(whole)
    change(content)
    torch.save(content, checkpoint)
    arguments = [*_arguments("fit", trained_run, checkpoint, bench.out), "--trainer.max_steps=8"]
    bench.refuses(arguments, "strange.ckpt", word)


def test_a_configuration_cannot_ask_for_code(bench, checkpoint: Path, trained_run: Path) -> None:
    FILES["a command"](checkpoint)
    arguments = _arguments("test", trained_run, checkpoint, bench.out)
    bench.refuses([*arguments, "--weights_only=false"], "weights_only")
    bench.refuses([*arguments, "--weights_only=null"], "strange.ckpt")
    bench.refuses(
        [*arguments, "--trainer.plugins=lightning.pytorch.plugins.io.TorchCheckpointIO"], "strange.ckpt"
    )


AVATAR, FIELD = ("avatar", "class_path"), ("avatar", "init_args", "field")
NAMES: dict[str, tuple[tuple, Any, str]] = {
    "a class": (AVATAR, "canary_module.Avatar", "canary_module.Avatar"),
    "a class as a text": (FIELD, "canary_module.Field", "canary_module.Field"),
    "a class in YAML in a text": (FIELD, "{class_path: canary_module.Field}", "canary_module.Field"),
    "a class in JSON in a text": (("avatar",), '{"class_path": "canary_module.Avatar"}', "canary_module"),
    "a module's own import": (("optimizer", "class_path"), "canary_module.Adam", "canary_module.Adam"),
    "an optimizer as a text": (("optimizer",), "canary_module.Adam", "canary_module.Adam"),
    "a loss": (("losses", "more"), {"class_path": "canary_module.Loss"}, "canary_module.Loss"),
    "a class for plain values": (("learning_rates",), {"class_path": "canary_module.R"}, "canary_module.R"),
    "a package whose name begins like ours": (AVATAR, "partnerface_evil.Avatar", "partnerface_evil.Avatar"),
    "a program": ((*FIELD, "class_path"), "subprocess.Popen", "subprocess.Popen"),
    "a command": (("losses", "photometric", "class_path"), "os.system", "os.system"),
    "an evaluation": (("losses", "photometric", "class_path"), "builtins.eval", "builtins.eval"),
    "an optimizer that is a command": (("optimizer",), "os.system", "os.system"),
    "a command by way of torch": (("optimizer",), "torch.optim.adam.torch.os.system", "torch"),
    "a loader by way of ours": (AVATAR, "partnerface.avatar.avatar.torch.load", "torch."),
    "our command line": (AVATAR, "partnerface.cli.main.main", "partnerface.cli.main.main"),
    "our command line's class": (AVATAR, "partnerface.configuration.avatar_cli.AvatarCLI", "AvatarCLI"),
    "another load, with its own trust": (
        ("avatar",),
        {
            "class_path": "partnerface.load_avatar",
            "init_args": {"checkpoint": "strange.ckpt", "trust": ["canary_module"]},
        },
        "load_avatar",
    ),
    "another load by its own name": (AVATAR, "partnerface.avatar_files.loading.load_avatar", "load"),
    "a class of ours of another kind": (AVATAR, "partnerface.fields.hash_field.HashField", "Avatar"),
    "a loss for a field": ((*FIELD, "class_path"), "partnerface.losses.photometric.Matte", "RadianceField"),
    "an abstract class": (
        (*FIELD[:2], "deformation"),
        {"class_path": "partnerface.deformation.deformation.Deformation"},
        "abstract",
    ),
    "another module for Lightning": (("_class_path",), "canary_module.AvatarModule", "_class_path"),
    "aliases that unfold in a text": (FIELD, BOMB, "unfold"),
}


@pytest.fixture
def canary_module(bench, monkeypatch) -> None:
    """A module in Python's path that leaves its mark when it is imported."""
    (bench.folder / "canary_module.py").write_text(f"open({str(bench.canary)!r}, 'w').close()\n")
    (bench.folder / "partnerface_evil.py").write_text(f"open({str(bench.canary)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(bench.folder))


def _without_method(run: Path, folder: Path) -> Path:
    """The configuration of a run but for its model, so that a checkpoint decides it."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["model"]
    path = folder / "no_model.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize("kind", NAMES)
def test_names_of_code_that_is_not_trusted(
    bench, checkpoint: Path, trained_run: Path, whole: dict, canary_module, kind: str
) -> None:
    keys, name, word = NAMES[kind]
    content = copy.deepcopy(whole)
    _set("hyper_parameters", *keys, to=name)(content)
    torch.save(content, checkpoint)
    if keys[0] != "avatar":
        # What is there for training alone is not even looked at.
        assert partnerface.load_avatar(checkpoint).head_model is not None
    else:
        with pytest.raises(UserError, match=r"strange\.ckpt: ") as refused:
            partnerface.load_avatar(checkpoint, trust=["another_package"])
        assert word in str(refused.value)
        assert ("--trust canary_module " in str(refused.value)) == ("canary_module" in word)
    config = str(_without_method(trained_run, bench.folder))
    arguments = ["--config", config, "--ckpt_path", str(checkpoint), f"--run_dir={bench.out}"]
    for command in ("fit", "validate"):
        bench.refuses([command, *arguments, "--trust", "another_package"], "strange.ckpt", word)
    assert not bench.canary.exists()


def test_an_address_in_the_place_of_a_table_is_not_fetched(
    bench, checkpoint: Path, trained_run: Path, whole: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parser reads a table from a file that a text names; a stranger may not have us call a server."""
    calls = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: calls.append(address))
    config = str(_without_method(trained_run, bench.folder))
    arguments = ["test", "--config", config, "--ckpt_path", str(checkpoint), f"--run_dir={bench.out}"]
    for keys in (("learning_rates",), ("losses",), ("avatar",), (*FIELD[:2], "torso"), (*FIELD, "init_args")):
        asking = copy.deepcopy(whole)
        _set("hyper_parameters", *keys, to="http://127.0.0.1:9/x.yaml")(asking)
        torch.save(asking, checkpoint)
        bench.refuses(arguments, "strange.ckpt")
        if keys[0] == "avatar":
            with pytest.raises(UserError, match=r"strange\.ckpt"):
                partnerface.load_avatar(checkpoint)
    assert calls == []


@pytest.mark.parametrize(
    "trust",
    ["os", "builtins", "subprocess.Popen", "*", "jsonargparse", "torch", "torch.hub", "numpy", "a b", "a..b"],
)
def test_what_cannot_be_trusted(bench, checkpoint: Path, trained_run: Path, whole: dict, trust: str) -> None:
    content = copy.deepcopy(whole)
    _set("hyper_parameters", *AVATAR, to="os.system")(content)
    torch.save(content, checkpoint)
    config = str(_without_method(trained_run, bench.folder))
    arguments = ["--config", config, "--ckpt_path", str(checkpoint), f"--run_dir={bench.out}"]
    bench.refuses(["test", *arguments, f"--trust={trust}"], "--trust")


def test_trust_in_our_package_opens_no_more_of_it(bench, checkpoint: Path, whole: dict) -> None:
    content = copy.deepcopy(whole)
    _set("hyper_parameters", *AVATAR, to="partnerface.load_avatar")(content)
    torch.save(content, checkpoint)
    with pytest.raises(UserError, match="no class that an avatar is made of"):
        partnerface.load_avatar(checkpoint, trust=["partnerface"])


def test_the_function_that_lightning_would_build_with_is_not_read(
    bench, checkpoint: Path, whole: dict, canary_module
) -> None:
    content = copy.deepcopy(whole)
    content["hyper_parameters"]["_instantiator"] = "canary_module.instantiate"
    torch.save(content, checkpoint)
    assert partnerface.load_avatar(checkpoint).head_model is not None
    assert not bench.canary.exists()


@pytest.mark.parametrize("place", ["deformation", "field", "skinning"])
def test_a_function_is_never_called(bench, checkpoint: Path, whole: dict, monkeypatch, place: str) -> None:
    """For a part that is a factory the parser itself would call one, even of a trusted package."""
    (bench.folder / "trusted_functions.py").write_text("def touch(path: str):\n    open(path, 'w').close()\n")
    monkeypatch.syspath_prepend(str(bench.folder))
    arguments = {"path": str(bench.canary)}
    content = copy.deepcopy(whole)
    part = {"class_path": "trusted_functions.touch", "init_args": arguments}
    _set("hyper_parameters", "avatar", "init_args", place, to=part)(content)
    torch.save(content, checkpoint)
    with pytest.raises(UserError, match=r"strange\.ckpt: .*(touch is no class|does not correspond)"):
        partnerface.load_avatar(checkpoint, trust=["trusted_functions"])
    assert not bench.canary.exists()


def test_a_trusted_package_is_imported(bench, checkpoint: Path, whole: dict, canary_module) -> None:
    """The refusals above would prove nothing if the module could not be imported."""
    content = copy.deepcopy(whole)
    _set("hyper_parameters", *AVATAR, to="canary_module.Avatar")(content)
    torch.save(content, checkpoint)
    with pytest.raises(UserError, match="no attribute 'Avatar'"):
        partnerface.load_avatar(checkpoint, trust=["canary_module"])
    assert bench.canary.exists()


def test_training_does_not_read_the_names_in_a_checkpoint(
    bench, checkpoint: Path, trained_run: Path, whole: dict, canary_module
) -> None:
    content = copy.deepcopy(whole)
    content["hyper_parameters"]["avatar"]["class_path"] = "canary_module.Avatar"
    content["hyper_parameters"]["_instantiator"] = "canary_module.instantiate"
    torch.save(content, checkpoint)
    assert main(_arguments("validate", trained_run, checkpoint, bench.out)) == 0
    assert not bench.canary.exists()


def test_the_commands_above_would_run(tmp_path: Path) -> None:
    """Loaded without care, the payload leaves its mark: a canary that cannot sing proves nothing."""
    buffer = io.BytesIO()
    torch.save({"state_dict": bad.Payload(tmp_path / "canary")}, buffer)
    buffer.seek(0)
    torch.load(buffer, weights_only=False)
    assert (tmp_path / "canary").exists()
