"""What a wheel carries, and that the pins fit the bounds."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built offline from a copy, so that the checkout gets no build folder."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    subprocess.run(["mkdir", "-p", str(copy)], check=True)
    names = ["partnerface", "configs", "sweeps", "pyproject.toml", "README.md", "LICENSE"]
    subprocess.run(["cp", "-a", *(str(ROOT / name) for name in names), str(copy)], check=True)
    code = f"from setuptools.build_meta import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_a_wheel_carries_configs_and_the_head(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert f"partnerface/configs/{path.relative_to(ROOT / 'configs').as_posix()}" in names
    for path in (ROOT / "sweeps").iterdir():
        assert f"partnerface/sweeps/files/{path.name}" in names
    assert "partnerface/head_models/assets/anny_head.npz" in names
    for path in (ROOT / "partnerface/result_page/template").iterdir():
        assert path.relative_to(ROOT).as_posix() in names
    assert not [name for name in names if name.startswith(("tests/", "configs/", "sweeps/"))]


def test_a_wheel_has_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    entry = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "partnerface = partnerface.cli.main:main" in wheel.read(entry).decode()
    licence = next(name for name in wheel.namelist() if name.endswith("LICENSE"))
    text = wheel.read(licence).decode()
    assert "Apache License" in text
    assert "CC0" in text


def test_every_imported_package_is_a_requirement() -> None:
    """What another package brings today may be gone tomorrow; extras are told apart elsewhere."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [project["optional-dependencies"][name] for name in ("pytorch3d", "track", "viewer", "bake")]
    wanted = {re.match(r"[\w-]+", line).group() for line in sum(extras, project["dependencies"])}
    names = {"easypytorch3d": "pytorch3d", "warp-lang": "warp", "pillow": "PIL", "pyyaml": "yaml"}
    known = {names.get(name, name) for name in wanted} | set(sys.stdlib_module_names) | {"partnerface"}
    # With jinja2, whose text it is, and with viser, whose server it is.
    known |= {"markupsafe", "websockets"}
    for path in (ROOT / "partnerface").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {module.split(".")[0] for module in modules} <= known, path


def test_every_requirement_has_a_pin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = (
        project["dependencies"] + extras["pytorch3d"] + extras["track"] + extras["viewer"] + extras["test"]
    )
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    pinned = {name.lower().replace("_", "-") for name in pins}
    # The build tool comes with Python.
    for requirement in set(wanted) - {"setuptools>=77"}:
        name = re.match(r"[\w.-]+", requirement).group().lower().replace("_", "-")
        assert name in pinned, name


def test_pins_name_no_local_build() -> None:
    """A pin such as 2.13.0+cpu exists on no public index."""
    text = (ROOT / "constraints.txt").read_text()
    assert "+" not in re.sub(r"#.*", "", text)
    assert "@" not in text
    assert re.search(r"^torch==2\.13\.0$", text, re.M)
