"""Somebody's own classes that cannot be imported, built or used: each refused in one line that names them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import partnerface
from partnerface.errors import UserError

MODULES = {
    "module_missing": "import a_module_that_is_not_there\n",
    "syntax_wrong": "def broken(:\n",
    "raises_at_import": "raise RuntimeError('no licence')\n",
    "name_wrong": "class Part(Undefined):\n    pass\n",
    "value_wrong": "int('three')\n",
    "exits": "import sys\nsys.exit(0)\n",
    "asserts": "assert False, 'not here'\n",
    "imports_wrong": "from bad_extensions import syntax_wrong\n",
    "many_lines": "raise ValueError('first\\nsecond\\n' + 'x' * 5000)\n",
    "classes": """
from lightning.pytorch import Callback

from partnerface.data.sequence import SequenceReader
from partnerface.deformation.deformation import Deformation
from partnerface.losses.loss import Loss


class Lacking(Deformation):
    pass


class LackingLoss(Loss):
    pass


class LackingReader(SequenceReader):
    pass


class Raising(Deformation):
    def __init__(self, driving_width: int, width: int = 3) -> None:
        raise KeyError("no such width")

    def forward(self, positions, driving, frame): ...


class RaisingLoss(Loss):
    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)
        raise FileNotFoundError(2, "No such file", "weights.pt")

    def forward(self, rendered, batch): ...


class ExitingReader(SequenceReader):
    def __init__(self) -> None:
        raise SystemExit("good bye")

    def read(self): ...


class RaisingCallback(Callback):
    def __init__(self) -> None:
        1 / 0


class Demanding(Deformation):
    def __init__(self, driving_width: int, needed: int) -> None:
        super().__init__()

    def forward(self, positions, driving, frame): ...


class LossWithoutBase:
    def __init__(self, weight: float = 1.0) -> None: ...


NOT_A_CLASS = 3


def function(*arguments): ...
""",
}
DEFORMATION, READER = "--model.avatar.deformation", "--data.reader"
LOSS, CALLBACK = "--model.losses.photometric.class_path", "--trainer.callbacks+"
OPTIMIZER = "--model.optimizer"

CASES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "a module that is missing": (DEFORMATION, "module_missing.Part", ("a_module_that_is_not_there",)),
    "a syntax error": (DEFORMATION, "syntax_wrong.Part", ("SyntaxError", "line 1")),
    "an error at import": (DEFORMATION, "raises_at_import.Part", ("RuntimeError: no licence",)),
    "an undefined name": (DEFORMATION, "name_wrong.Part", ("NameError", "Undefined")),
    "a wrong value at import": (DEFORMATION, "value_wrong.Part", ("ValueError",)),
    "an exit at import": (DEFORMATION, "exits.Part", ("SystemExit",)),
    "an assertion at import": (DEFORMATION, "asserts.Part", ("AssertionError: not here",)),
    "an error in what it imports": (DEFORMATION, "imports_wrong.Part", ("SyntaxError",)),
    "an error of many lines": (DEFORMATION, "many_lines.Part", ("ValueError: first second",)),
    "a loss of such a module": (LOSS, "raises_at_import.Part", ("RuntimeError: no licence",)),
    "a reader of such a module": (READER, "raises_at_import.Part", ("RuntimeError: no licence",)),
    "a callback of such a module": (CALLBACK, "raises_at_import.Part", ("RuntimeError: no licence",)),
    "a callback of a missing module": (CALLBACK, "module_missing.Part", ("a_module_that_is_not_there",)),
    "an optimizer of such a module": (OPTIMIZER, "raises_at_import.Part", ("RuntimeError: no licence",)),
    "a class that is not there": (DEFORMATION, "classes.Nothing", ("Nothing", DEFORMATION[14:])),
    "a module that is not there": (DEFORMATION, "nowhere.Part", ("nowhere",)),
    "a deformation without its method": (DEFORMATION, "classes.Lacking", ("Lacking", "lacks", "forward")),
    "a loss without its method": (LOSS, "classes.LackingLoss", ("LackingLoss", "lacks forward")),
    "a reader without its method": (READER, "classes.LackingReader", ("LackingReader", "lacks read")),
    "a deformation that raises": (DEFORMATION, "classes.Raising", ("Raising", "KeyError: 'no such width'")),
    "a loss that raises": (LOSS, "classes.RaisingLoss", ("RaisingLoss", "weights.pt")),
    "a reader that exits": (READER, "classes.ExitingReader", ("ExitingReader", "SystemExit: good bye")),
    "a callback that raises": (CALLBACK, "classes.RaisingCallback", ("RaisingCallback", "ZeroDivision")),
    "an argument that is missing": (
        DEFORMATION,
        "classes.Demanding",
        ("init_args.deformation", "needed"),
    ),
    "a loss for a deformation": (DEFORMATION, "classes.RaisingLoss", ("RaisingLoss", "Deformation")),
    "a deformation for a loss": (LOSS, "classes.Raising", ("Raising", "Loss")),
    "a reader for a callback": (CALLBACK, "classes.ExitingReader", ("ExitingReader", "Callback")),
    "a loss that is no Loss": (LOSS, "classes.LossWithoutBase", ("LossWithoutBase", "Loss")),
    "a number": (DEFORMATION, "classes.NOT_A_CLASS", ("object 3",)),
    "a function": (DEFORMATION, "classes.function", ("function", "class")),
    "our command line": (DEFORMATION, "partnerface.cli.main.main", ("partnerface.cli.main.main",)),
    "the load of an avatar": (
        DEFORMATION,
        "partnerface.load_avatar",
        ("init_args.deformation",),
    ),
    "an evaluation": (DEFORMATION, "builtins.eval", ("builtins.eval",)),
    "a program for a callback": (CALLBACK, "subprocess.Popen", ("subprocess.Popen",)),
}


@pytest.fixture
def extensions(bench, monkeypatch) -> Iterator[Path]:
    """The modules above in a package that Python finds."""
    folder = bench.folder / "bad_extensions"
    folder.mkdir()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name, text in {"__init__": "", **MODULES}.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(bench.folder))
    yield folder
    for name in [n for n in sys.modules if n.partition(".")[0] == "bad_extensions"]:
        del sys.modules[name]


def _path(name: str) -> str:
    return name if name.startswith(("partnerface", "builtins", "subprocess")) else f"bad_extensions.{name}"


@pytest.mark.parametrize("kind", CASES)
def test_by_flag(bench, smoke_arguments, extensions: Path, kind: str) -> None:
    flag, name, words = CASES[kind]
    # Arguments of the shipped reader would be refused before the class is built.
    arguments = [a for a in smoke_arguments if flag != READER or not a.startswith("--data.reader.")]
    line = bench.refuses(["fit", *arguments, f"{flag}={_path(name)}", f"--run_dir={bench.out}"], *words)
    module, _, attribute = name.rpartition(".")
    assert any(word in line for word in (module, attribute, "deformation"))


@pytest.mark.parametrize("kind", [kind for kind, (flag, *_) in CASES.items() if flag == DEFORMATION])
def test_by_file(bench, smoke_arguments, extensions: Path, kind: str) -> None:
    _, name, words = CASES[kind]
    path = bench.folder / "mine.yaml"
    words = tuple(word for word in words if word != DEFORMATION[14:])
    path.write_text(f"model: {{avatar: {{deformation: {{class_path: {_path(name)}, init_args: {{}}}}}}}}\n")
    bench.refuses(["fit", *smoke_arguments, "--config", str(path), f"--run_dir={bench.out}"], *words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises_at_import.Part", ("bad_extensions.raises_at_import", "RuntimeError: no licence")),
        ("syntax_wrong.Part", ("syntax_wrong.py", "SyntaxError")),
        ("classes.Lacking", ("bad_extensions.classes.Lacking", "abstract")),
        ("classes.Raising", ("bad_extensions.classes.Raising", "no such width")),
        ("classes.RaisingLoss", ("RaisingLoss", "Deformation")),
        ("exits.Part", ("bad_extensions.exits", "SystemExit")),
    ],
)
def test_in_a_trusted_checkpoint(bench, trained_run: Path, extensions: Path, name: str, words: tuple) -> None:
    path = bench.folder / "strange.ckpt"
    content = torch.load(trained_run / "checkpoints" / "last.ckpt", weights_only=True)
    content["hyper_parameters"]["avatar"]["init_args"]["deformation"] = {
        "class_path": f"bad_extensions.{name}"
    }
    torch.save(content, path)
    with pytest.raises(UserError) as refused:
        partnerface.load_avatar(path, trust="bad_extensions")
    for word in ("strange.ckpt", *words):
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)
