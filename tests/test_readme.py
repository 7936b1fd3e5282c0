"""The README's commands are real."""

import re
import shlex
from pathlib import Path

import pytest

from partnerface.cli.main import TOOLS, TRAINER_COMMANDS, main, split_command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _commands() -> list[str]:
    """Every `partnerface ...` of the README's code blocks, set-up before it cut off."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [part for part in parts if part.startswith("partnerface ")]


def test_opens_with_the_demo_and_the_tests() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.S)
    assert blocks[0].strip().endswith("&& partnerface demo")
    assert blocks[1].strip().endswith("&& pytest")
    for block in blocks[:2]:
        assert block.startswith(
            "python3 -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt"
        )


def test_ci_takes_the_test_command_from_the_readme() -> None:
    marked = re.findall(r"<!-- test command -->\n```bash\n(.*?)\n```\n<!-- end -->", README, re.S)
    assert len(marked) == 1
    assert "\n" not in marked[0]
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text()


def test_extras_of_the_readme_exist() -> None:
    extras = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1]
    for group in re.findall(r'-e "\.\[([a-z0-9,]+)\]"', README):
        for extra in group.split(","):
            assert re.search(rf"^{extra} = \[", extras, re.M), extra


@pytest.mark.parametrize("command", _commands())
def test_command_parses(command: str, capsys, trained_run: Path, tmp_path: Path, monkeypatch) -> None:
    words = [w.replace("runs/me", str(trained_run)) for w in shlex.split(command)[1:]]
    words = [
        f"{tmp_path}/new" if before == "--run_dir" else w
        for before, w in zip(["", *words], words, strict=False)
    ]
    if words[0] in TRAINER_COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--print_config"])
        assert ended.value.code == 0
    elif words != ["--help"]:
        called = []
        module, name = TOOLS[split_command(words)[0]].function.split(":")
        monkeypatch.setattr(f"{module}.{name}", _recording(f"{module}:{name}", called))
        assert main(words) == 0
        assert called
    else:
        assert main(words) == 0


def _recording(function: str, called: list):
    """A stand-in with the same signature, that only notes its call."""
    import functools
    import importlib

    module, name = function.split(":")
    original = getattr(importlib.import_module(module), name)

    @functools.wraps(original)
    def stand_in(*args, **kwargs) -> None:
        called.append((args, kwargs))

    return stand_in


def test_folders_and_files_that_it_names_exist() -> None:
    for path in re.findall(r"`((?:configs|sweeps|partnerface|tests|\.github)/[\w./]*)`", README):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    ("title", "folder", "pattern"),
    [
        ("The method in ten lines", "partnerface", r"\(`(\w+/\w+\.py)`"),
        ("Runs that survive", "tests", r"\| `([\w/.]+)` \|$"),
    ],
)
def test_files_that_a_section_names_exist(title: str, folder: str, pattern: str) -> None:
    section = README.split(f"## {title}")[1].split("\n## ")[0]
    paths = re.findall(pattern, section, re.MULTILINE)
    assert len(paths) > 5
    for path in paths:
        assert (ROOT / folder / path).exists(), path
