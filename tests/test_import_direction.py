"""Imports go one way."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "partnerface"

# From bottom to top: a room imports only from rooms that stand before it.
ROOMS = [
    *("errors", "files", "compute", "runs", "cameras", "meshes", "head_models", "data"),
    *("fields", "skinning", "deformation", "sampling", "rendering", "losses", "avatar", "avatar_files"),
    *("tracking", "evaluation", "training", "animation", "export", "dataset_checks", "result_page"),
    *("configuration", "sweeps", "benchmarks"),
    *("viewer", "cli", "__init__", "__main__"),
]
LIGHTNING_IN = (
    "data/datamodule.py",
    "training/",
    "benchmarks/speed/",
    "benchmarks/gpu/",
    "configuration/",
    "cli/",
)


def _imports(path: Path) -> set[str]:
    """Every imported module, with what `from partnerface.room import name` may name as a module."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_room_has_its_place() -> None:
    found = {_room(path) for path in PACKAGE.iterdir()} - {"configs", "__pycache__"}
    assert found == set(ROOMS)


def test_a_room_imports_only_rooms_before_it() -> None:
    upward = []
    for path in sorted(PACKAGE.rglob("*.py")):
        ours = {m.split(".")[1] for m in _imports(path) if m.startswith("partnerface.")} & set(ROOMS)
        above = ours & set(ROOMS[ROOMS.index(_room(path)) + 1 :])
        upward += [f"{path.relative_to(PACKAGE)} imports {room}" for room in sorted(above)]
    assert upward == []


def test_lightning_stays_where_training_is() -> None:
    outside = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        names = {module.split(".")[0] for module in _imports(path)}
        if names & {"lightning", "pytorch_lightning"} and not place.startswith(LIGHTNING_IN):
            outside.append(place)
    assert outside == []
