"""README and docs are true: every command parses, every file and name exists, every table has one vintage."""

import ast
import functools
import importlib
import re
import shlex
import tokenize
from pathlib import Path

from partnerface.cli.main import TOOLS, TRAINER_COMMANDS, main, split_command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (ROOT / "README.md", ROOT / ".github/CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
}
GENERATED = ("ablations", "results"), ("results", "results"), ("speed", "speed")
"""Pages with tables of a command, and the names of their blocks."""
OWN_FILES = "my_package/"
"""Where files of the reader's own stand; `tests/docs` makes and runs them."""


def _blocks(page: str, language: str = "bash") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.S)


def _commands(page: str) -> list[str]:
    """Every `partnerface ...` of the page's code blocks, set-up before it and comments behind it cut off."""
    lines = [line for block in _blocks(page) for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [part for part in parts if part.startswith("partnerface ")]


def test_the_readme_is_as_long_as_a_product_page() -> None:
    assert 8_000 <= len(README.encode()) <= 12_000


def test_opens_with_the_demo_and_the_tests() -> None:
    blocks = _blocks(README)
    assert blocks[0].strip().endswith("&& partnerface demo")
    assert blocks[1].strip().endswith("&& ruff check . && mypy && pytest -n 2")
    for block in blocks[:2]:
        assert block.startswith(
            "python3 -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt"
        )


def test_ci_takes_the_test_command_from_the_readme() -> None:
    marked = re.findall(r"<!-- test command -->\n```bash\n(.*?)\n```\n<!-- end -->", README, re.S)
    assert len(marked) == 1
    assert "\n" not in marked[0]
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text()


def test_extras_of_the_pages_exist() -> None:
    extras = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1]
    named = {
        extra
        for page in PAGES.values()
        for group in re.findall(r'-e "\.\[([a-z0-9,]+)\]"', page)
        for extra in group.split(",")
    }
    assert [extra for extra in named if not re.search(rf"^{extra} = \[", extras, re.M)] == []


def test_every_command_parses(capsys, trained_run: Path, tmp_path: Path, monkeypatch) -> None:
    commands = {command for page in PAGES.values() for command in _commands(page)}
    assert len(commands) > 15
    called = []
    for tool in TOOLS.values():
        monkeypatch.setattr(tool.function.replace(":", "."), _recording(tool.function, called))
    wrong = []
    for command in sorted(commands):
        if OWN_FILES in command or "runs/basis" in command:
            continue
        called.clear()
        ended = _ended(_here(shlex.split(command, comments=True)[1:], trained_run, tmp_path))
        error = capsys.readouterr().err
        if ended != 0 or (_tool(command) and not called):
            wrong.append(f"{command}: {error.strip()}")
    assert wrong == []


def _tool(command: str) -> bool:
    """Whether the command is neither one of the trainer nor a flag such as ``--help``."""
    words = shlex.split(command, comments=True)[1:]
    return not words[0].startswith("-") and split_command(words)[0] in TOOLS


def _here(words: list[str], trained_run: Path, tmp_path: Path) -> list[str]:
    """The command with a run that exists, and a new folder for one that is made; a trainer only parses."""
    words = [word.replace("runs/me", str(trained_run)) for word in words]
    before = ["", *words]
    words = [
        f"{tmp_path}/new" if flag == "--run_dir" else word for flag, word in zip(before, words, strict=False)
    ]
    return [*words, "--print_config"] if words[0] in TRAINER_COMMANDS else words


def _ended(words: list[str]) -> object:
    try:
        return main(words)
    except SystemExit as ended:
        return ended.code


def _recording(function: str, called: list):
    """A stand-in with the same signature, that only notes its call."""
    module, name = function.split(":")
    original = getattr(importlib.import_module(module), name)

    @functools.wraps(original)
    def stand_in(*args, **kwargs) -> None:
        called.append((args, kwargs))

    return stand_in


def test_folders_and_files_that_they_name_exist() -> None:
    named = [
        (page, path)
        for page, text in PAGES.items()
        for path in re.findall(r"`((?:configs|sweeps|partnerface|tests|docs|\.github|\.ci)/[\w./]*)`", text)
    ]
    assert len(named) > 50
    assert [entry for entry in named if not (ROOT / entry[1]).exists()] == []


def test_links_lead_somewhere() -> None:
    links = [
        (page, target)
        for page, text in PAGES.items()
        for target in re.findall(r"\]\(([^)#]+)", text)
        if not target.startswith("http")
    ]
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link[0]).parent.joinpath(link[1]).exists()] == []


def test_every_page_and_picture_is_linked() -> None:
    targets = {
        (ROOT / page).parent.joinpath(target).resolve()
        for page, text in PAGES.items()
        for target in re.findall(r"\]\(([^)#]+)", text)
    }
    files = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs/pictures").iterdir()]
    assert [path.name for path in files if path.resolve() not in targets] == []


def test_generated_blocks_name_one_commit_and_stand_below_their_command() -> None:
    found = {}
    for page, text in PAGES.items():
        for name, block in re.findall(
            r"<!-- (results|speed|gpu|protocol [\w-]+) -->\n(.*?)<!-- \1 end -->", text, re.S
        ):
            found[page, name] = len(set(re.findall(r"[Cc]ommit ([0-9a-f]{7})\b", block)))
            above = text.split(f"<!-- {name} -->")[0]
            assert f"--readme {page}" in "".join(_blocks(above)), page
    for page, name in (
        ("docs/speed.md", "gpu"),
        *(
            ("docs/protocols.md", f"protocol {name}")
            for name in ("insta", "pointavatar", "nerface", "nersemble-mono")
        ),
    ):
        assert found.pop((page, name)) <= 1, "none before it is measured"
    assert found == {(f"docs/{page}.md", name): 1 for page, name in GENERATED}


def test_the_table_of_the_readme_is_an_excerpt_of_the_results() -> None:
    """A table of the page with some of its columns and rows left out, the first ones are there."""

    def tables(page: str) -> list[list[list[str]]]:
        blocks = re.findall(r"(?:^\|.*\n)+", page, re.M)
        return [[line.strip("| ").split(" | ") for line in block.splitlines()] for block in blocks]

    [ours] = tables(README.split("## Results")[1].split("\n## ")[0])
    width = len(ours[0])
    of_page = [[line[:width] for line in table] for table in tables(PAGES["docs/results.md"])]
    assert any(ours == [line for line in table if line in ours] for table in of_page)
    commit = re.search(r"Commit (\w+)", PAGES["docs/results.md"]).group(1)
    assert f"Commit {commit}," in README


def test_names_of_the_vocabulary_stand_in_code_or_configuration() -> None:
    rows = re.findall(r"^\| [^|]+ \| (`[^|]+`) \|", PAGES["docs/vocabulary.md"], re.M)
    names = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert len(names) > 40
    code = "\n".join(path.read_text() for path in (ROOT / "partnerface").rglob("*.py"))
    words = set(re.findall(r"\w+", code))
    assert [name for name in sorted(names) if name not in words and not (ROOT / name).exists()] == []


def test_private_metaphors_stay_out() -> None:
    """Of the pages, and of all comments and docstrings of the package."""
    banned = (
        r"\b(hears?|heard|deaf|(?:is|are) told|that cannot be|[Ll]ikewise|in silence|heeded"
        r"|[Ss]ee the function|The same for|go(?:es)? on|[Nn]othing of this)\b"
        r"|\bas of `|[Aa]rguments as above"
    )
    texts = {page: text.split("## Say, do not say")[0] for page, text in PAGES.items()}
    for path in sorted((ROOT / "partnerface").rglob("*.py")):
        with path.open("rb") as file:
            kinds = (tokenize.COMMENT, tokenize.STRING)
            words = [token.string for token in tokenize.tokenize(file.readline) if token.type in kinds]
        texts[path.relative_to(ROOT).as_posix()] = "\n".join(words)
    texts = {name: " ".join(text.split()) for name, text in texts.items()}
    assert [(name, found) for name, text in texts.items() for found in re.findall(banned, text)] == []


def test_docstrings_make_sense_without_the_name_before_them() -> None:
    """They do not continue a sentence that the name has begun: "Of a cell", "head_model: whose uv"."""
    fragment = re.compile(r"\A(?:Of|As of|Likewise|Nothing)\b|^ *\w+: (?:of|whose) ", re.M)
    found = [
        (path.name, node.value.value)
        for path in sorted((ROOT / "partnerface").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, str) and fragment.search(node.value.value)
    ]
    assert found == []
