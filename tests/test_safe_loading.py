"""Nothing in the package may load code: the calls that could are found by their syntax, and stay out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "partnerface"
FILES = sorted(PACKAGE.rglob("*.py"))

NEVER = {
    *("pickle.load", "pickle.loads", "dill.load", "joblib.load", "marshal.loads", "shelve.open"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"),
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "tarfile.open"),
    *("numpy.loadtxt", "np.fromfile", "np.memmap", "torch.jit.load", "torch.hub.load"),
    *("zipfile.ZipFile.extractall", "shutil.unpack_archive"),
}
WANTS = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "np.lib.format.read_array": ("allow_pickle", False),
}
"""What a call must say, in so many words."""

ONE_PLACE = {
    "pickle.Unpickler": {"head_models/safe_unpickling.py"},
    "json.loads": {
        *("files/plain_values.py", "benchmarks/speed/report.py", "benchmarks/methods/results.py"),
        *(
            "runs/run.py",
            "tracking/stages.py",
            "configuration/avatar_run.py",
            "avatar_files/loading.py",
        ),
    },
    "json.load": set(),
    "yaml.safe_load": {"files/plain_values.py"},
    "Image.open": {"files/images.py"},
    "av.open": {"files/videos.py", "files/containers.py", "files/live_video.py"},
    "importlib.import_module": {"__init__.py", "cli/main.py", "errors.py"},
    "subprocess.Popen": {"runs/worker_pool.py", "benchmarks/gpu/checkout_tests.py"},
}
"""Calls that belong into a few files: all but the first read what this package itself has written."""


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the dotted name of what is called."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def _says(call: ast.Call, keyword: str, value: bool) -> bool:
    return any(
        k.arg == keyword and isinstance(k.value, ast.Constant) and k.value.value is value
        for k in call.keywords
    )


def _faults(path: Path, place: str) -> list[str]:
    faults = []
    for name, call in _calls(path):
        if name in NEVER:
            faults.append(f"{place}:{call.lineno}: {name}")
        if name in WANTS and not _says(call, *WANTS[name]):
            faults.append(f"{place}:{call.lineno}: {name} without {'='.join(map(str, WANTS[name]))}")
        if name in ONE_PLACE and place not in ONE_PLACE[name]:
            faults.append(f"{place}:{call.lineno}: {name}")
    return faults


def test_no_call_that_loads_code() -> None:
    faults = [fault for path in FILES for fault in _faults(path, path.relative_to(PACKAGE).as_posix())]
    assert faults == []


def test_pickles_are_opened_in_one_file() -> None:
    """Errors of the module may be named elsewhere; its unpickler may not."""
    for path in FILES:
        place = path.relative_to(PACKAGE).as_posix()
        names = {
            ast.unparse(n) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)
        }
        used = {name for name in names if name.startswith("pickle.")} - {"pickle.UnpicklingError"}
        assert not used or place == "head_models/safe_unpickling.py", place


def test_checkpoints_are_loaded_as_data_whatever_is_asked() -> None:
    source = (PACKAGE / "training" / "resume" / "atomic_checkpoint.py").read_text()
    assert source.count("return read_checkpoint(path, map_location") == 1
    assert "super().load_checkpoint" not in source
    assert (PACKAGE / "configs" / "base.yaml").read_text().count("weights_only: true") == 1


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=chosen)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "pickle.load(file)",
        "Image.open(path)",
        "eval(text)",
    ],
)
def test_the_search_finds_what_it_looks_for(tmp_path: Path, line: str) -> None:
    (tmp_path / "new.py").write_text(f"def read(path, text, file, chosen):\n    return {line}\n")
    assert len(_faults(tmp_path / "new.py", "new.py")) == 1
