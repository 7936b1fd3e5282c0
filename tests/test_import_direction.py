"""Imports go one way."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "partnerface"

# Package -> what it may import of ours. Those of `BELOW_ALL` stand below all.
MAY_IMPORT = {
    "user_error": set(),
    "array_archives": set(),
    "json_files": set(),
    "yaml_files": set(),
    "warp_launch": set(),
    "single_thread": set(),
    "freed_memory": set(),
    "text_files": set(),
    "random_draws": set(),
    "stop_signals": set(),
    "usable_cores": set(),
    "head_models": set(),
    "cameras": set(),
    "fields": set(),
    "metrics": set(),
    "skinning": {"head_models"},
    "deformation": {"head_models", "fields"},
    "rendering": {"head_models", "cameras"},
    "data": {"head_models", "cameras", "rendering"},
    "losses": {"rendering", "data"},
    "moved_samples": {"deformation"},
    "picture_voxels": {"skinning", "deformation", "rendering", "moved_samples"},
    "posed_frame": {"head_models", "skinning", "deformation", "rendering", "picture_voxels"},
    "candidate_cells": {"head_models", "skinning", "rendering"},
    "avatar": {
        "head_models",
        "cameras",
        "fields",
        "skinning",
        "deformation",
        "rendering",
        "data",
        "moved_samples",
        "picture_voxels",
        "posed_frame",
        "candidate_cells",
    },
    "baselines": {
        "head_models",
        "cameras",
        "fields",
        "skinning",
        "deformation",
        "rendering",
        "data",
        "losses",
        "posed_frame",
        "avatar",
    },
    "training": {
        "head_models",
        "cameras",
        "fields",
        "skinning",
        "deformation",
        "rendering",
        "data",
        "losses",
        "metrics",
        "picture_voxels",
        "avatar",
    },
    "benchmarks": {
        "head_models",
        "cameras",
        "deformation",
        "rendering",
        "data",
        "metrics",
        "picture_voxels",
        "avatar",
        "training",
        "sweeps",
    },
    "dataset_checks": {"head_models", "cameras", "rendering", "data", "tracking"},
    "tracking": {"head_models", "cameras", "rendering", "data", "skinning"},
    "sweeps": set(),
}
BELOW_ALL = {
    "user_error",
    "array_archives",
    "json_files",
    "yaml_files",
    "warp_launch",
    "single_thread",
    "freed_memory",
    "text_files",
    "random_draws",
    "stop_signals",
    "usable_cores",
}
LIGHTNING_IN = ("data/datamodule.py", "training/", "benchmarks/training_slices.py", "cli/")


def _files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def _imports(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules.add(node.module)
            if node.module == "partnerface":
                modules |= {f"partnerface.{alias.name}" for alias in node.names}
    return modules


def _place(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_what_stands_below(path: Path) -> None:
    place = _place(path)
    ours = {m.split(".")[1] for m in _imports(path) if m.startswith("partnerface.")}
    if place not in ("cli", "__main__", "__init__"):
        assert ours - {place} - BELOW_ALL <= MAY_IMPORT[place]


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_lightning_stays_where_training_is(path: Path) -> None:
    inside = path.relative_to(PACKAGE).as_posix().startswith(LIGHTNING_IN)
    names = {module.split(".")[0] for module in _imports(path)}
    assert inside or not names & {"lightning", "pytorch_lightning"}


def test_the_table_has_no_circles() -> None:
    for package, allowed in MAY_IMPORT.items():
        for other in allowed:
            assert package not in MAY_IMPORT[other], (package, other)


def test_every_package_is_in_the_table() -> None:
    known = MAY_IMPORT.keys() | {"cli", "configs", "__init__", "__main__", "__pycache__"}
    assert {_place(path) for path in PACKAGE.iterdir()} <= known
