"""docs/extending.md works as written: its files, commands and Python, in a package outside ours."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

from partnerface.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()


def _block(language: str, beginning: str) -> str:
    """The page's only block of a language that begins like this."""
    found = [b for b in re.findall(rf"```{language}\n(.*?)```", PAGE, re.S) if b.startswith(beginning)]
    assert len(found) == 1, (language, beginning, len(found))
    return found[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, synthetic_dataset: Path):
    """A folder with the page's package, trained and tested by the page's commands on a tiny dataset."""
    folder = tmp_path_factory.mktemp("outside")
    package = folder / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "basis_deformation.py").write_text(_block("python", '"""Deformation by a basis'))
    (package / "basis.yaml").write_text(_block("yaml", "# BasisDeformation"))
    export, *commands = _block("bash", "export").splitlines()
    assert export == "export PYTHONPATH=$PWD"
    small = [
        f"--data.reader.init_args.root={synthetic_dataset}",
        "--data.reader.init_args.frames=24",
        "--data.reader.init_args.size=32",
        "--trainer.accelerator=cpu",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        for command in commands:
            words = shlex.split(command)[1:]
            assert main([*words, *(small if words[0] == "fit" else [])]) == 0, command
        yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "my_package"]:
        del sys.modules[name]


def test_the_run_trained_the_class_of_the_page(folder: Path) -> None:
    assert (folder / "runs/basis/metrics.json").is_file()
    checkpoint = torch.load(folder / "runs/basis/checkpoints/last.ckpt", weights_only=True)
    weights = checkpoint["state_dict"]
    assert weights["avatar.deformation.coefficients.weight"].shape == (16, 58)
    # It starts at zero, so that training has moved it.
    assert weights["avatar.deformation.directions.2.weight"].abs().max() > 0


def test_the_avatar_loads_and_renders(folder: Path) -> None:
    exec(_block("python", "import partnerface"), {})
    assert (folder / "basis.png").is_file()
