"""Somebody else's package: its parts hold the contracts, train, save, resume, are tested, load and render."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import partnerface
from partnerface.cli.main import main
from partnerface.configuration.config_files import config_arguments
from partnerface.errors import UserError

PACKAGE = "guest_avatar_parts"
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, synthetic_dataset: Path) -> Path:
    """A folder outside of the checkout with the guest's package and a dataset."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(Path(__file__).parent / PACKAGE, folder / PACKAGE)
    shutil.copytree(synthetic_dataset, folder / "dataset")
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Iterator[Path]:
    """Folder of a run of 20 steps that went on from its checkpoint to 24 and was tested."""
    arguments = [
        *config_arguments("base"),
        f"--config={place / PACKAGE / 'guest.yaml'}",
        *config_arguments("head_model/anny", "scale/smoke"),
        f"--data.reader.init_args.folder={place / 'dataset'}",
        "--trainer.accelerator=cpu",
        f"--run_dir={place / 'run'}",
    ]
    checkpoint = place / "run" / "checkpoints" / "last.ckpt"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        assert main(["fit", *arguments]) == 0
        shutil.copy(checkpoint, place / "first.ckpt")
        assert main(["fit", *arguments, "--trainer.max_steps=24", "--ckpt_path=last"]) == 0
        config = str(place / "run" / "config.yaml")
        assert main(["test", "--config", config, "--ckpt_path", str(checkpoint)]) == 0
        yield place / "run"
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_its_parts_train_and_go_on_from_their_checkpoint(run: Path) -> None:
    first, last = (
        torch.load(path, weights_only=True)
        for path in (run.parent / "first.ckpt", run / "checkpoints" / "last.ckpt")
    )
    assert (first["global_step"], last["global_step"]) == (20, 24)
    for part in ("deformation.out.weight", "field.waves.weight"):
        before, after = (content["state_dict"][f"avatar.{part}"] for content in (first, last))
        # The deformation's last layer starts at zero.
        assert before.any()
        assert not torch.equal(before, after)
    # The guest's reader was the one that was asked.
    assert last["hyper_parameters"]["num_frames"] == 12


def test_its_metric_is_in_the_report(run: Path) -> None:
    text = (run / "metrics.json").read_text()
    assert "median absolute error" in text
    assert "median_error" in json.dumps(json.loads(text)["splits"])


def test_its_avatar_loads_and_renders_once_it_is_trusted(run: Path) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    with pytest.raises(UserError, match=f"--trust {PACKAGE}"):
        partnerface.load_avatar(checkpoint)
    avatar = partnerface.load_avatar(checkpoint, trust=[PACKAGE])
    assert type(avatar.skinning).__name__ == "NearestVertex"
    assert avatar.sampler.samples == 8
    picture = avatar.render(avatar.default_view())
    assert picture.alpha.shape == (32, 32)
    assert picture.rgb.isfinite().all()
    assert picture.alpha.max() > 0.1


def test_its_parts_hold_the_contracts_as_a_stranger_runs_them(place: Path) -> None:
    """In a process of its own, in another folder, with the checkout on its path."""
    path = os.pathsep.join([str(CHECKOUT), str(place), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "GUEST_DATASET": str(place / "dataset")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{PACKAGE}/contracts.py"]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
