"""Bad YAML: configurations and sweeps, each refused in one line that names the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from partnerface.configuration.config_files import config_arguments

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 10)
)
TAGS = [
    "!!python/object/apply:os.system [touch canary]",
    "!!python/object/new:subprocess.Popen [[touch, canary]]",
    '!!python/object/apply:builtins.eval [\'__import__("os").system("touch canary")\']',
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/tuple [1, 2]",
    "!!binary not-base64!",
    "!unknown 3",
    "!!timestamp 2026-99-99",
]
YAML: dict[str, bytes | str] = {
    **{f"tag {tag.split(' ')[0]}": f"model: {tag}\n" for tag in TAGS},
    "aliases that unfold": BOMB,
    "an alias in its own anchor": "model: &a {x: *a}\n",
    "an alias of nothing": "model: *nothing\n",
    "an open bracket": "model: [1, 2\n",
    "a tab": "model:\n\tavatar: 3\n",
    "bytes": bytes(range(128, 256)),
    "a null byte": b"model: \0\n",
    "utf-16": "model: {}\n".encode("utf-16"),
    "deep": "[" * 50_000,
    "deep table": "{a: " * 50_000,
    "large": "# " + "x" * 2_000_000,
    "a list as a key": "? [1, 2]\n: 3\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "percent": "%YAML 9.9\n---\n",
}

CONFIGURATIONS = {
    "a list": ("[1, 2]\n", "holds no keys"),
    "a number": ("7\n", "holds no keys"),
    "unknown key": ("modle: {a: 1}\n", "modle"),
    "unknown key deep below": ("data: {reader: {init_args: {rot: x}}}\n", "rot"),
    "text for a number": ("data: {image_size: large}\n", "image_size"),
    "a list for a number": ("data: {image_size: [1]}\n", "image_size"),
    "a number that is none": ("data: {image_size: .nan}\n", "image_size"),
    "no size": ("data: {image_size: 0}\n", "image_size"),
    "negative rays": ("data: {rays_per_frame: -5}\n", "rays_per_frame"),
    "text for steps": ("trainer: {max_steps: soon}\n", "max_steps"),
    "a path for a model": ("model: /etc/passwd\n", "model"),
    "a reader that starts a program": (
        "data: {reader: {class_path: subprocess.Popen, init_args: {args: [touch, canary]}}}\n",
        "data.reader",
    ),
    "a reader that is a function": ("data: {reader: {class_path: os.system}}\n", "data.reader"),
    "a loss that evaluates": ("model: {losses: {photometric: {class_path: builtins.eval}}}\n", "losses"),
    "an optimizer that is a function": ("model: {optimizer: {class_path: os.system}}\n", "optimizer"),
    "an optimizer by name": ("model: {optimizer: os.system}\n", "optimizer"),
    "a callback that starts a shell": ("trainer: {callbacks: [{class_path: pty.spawn}]}\n", "callbacks"),
    "a logger that is none": ("trainer: {logger: {class_path: shutil.rmtree}}\n", "logger"),
    "a plugin that is none": ("trainer: {plugins: [{class_path: os.remove}]}\n", "plugins"),
    "a class that is not there": ("data: {reader: {class_path: no.such.Reader}}\n", "data.reader"),
    "a class path of another type": ("data: {reader: {class_path: [1]}}\n", "data.reader"),
    "another base class": ("data: {reader: {class_path: torch.nn.Linear}}\n", "data.reader"),
    "checkpoints with code": ("weights_only: false\n", "weights_only"),
    "a dataset that is not there": ("data: {reader: {init_args: {root: none/such}}}\n", "none/such"),
}


BY_VALUE = {"no size", "negative rays", "checkpoints with code", "a dataset that is not there"}
"""Refused where the value is used: by then nobody knows which of the files or flags it is from."""


@pytest.fixture
def configured(bench):
    """Refuses a configuration file behind those of a real run, which never begins."""

    def refuse(path: Path, *words: str) -> None:
        shipped = config_arguments(
            "base", "method/part_deformation", "head_model/anny", "data/partnerface", "scale/smoke"
        )
        # No flag, which would win over the file.
        root = '--config={"data": {"reader": {"init_args": {"root": "/nothing"}}}}'
        flags = ["--trainer.accelerator=cpu", f"--run_dir={bench.out}"]
        bench.refuses(["fit", *shipped, root, *flags, "--config", str(path)], *words)

    return refuse


@pytest.mark.parametrize("kind", YAML)
@pytest.mark.parametrize("command", ["fit", "sweep"])
def test_text_that_is_no_configuration(bench, configured, kind: str, command: str) -> None:
    text, path = YAML[kind], bench.folder / "hostile.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if command == "fit":
        configured(path, "hostile.yaml")
    else:
        bench.refuses(["sweep", str(path), "--out", str(bench.out)], "hostile.yaml")


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_configurations(bench, configured, kind: str) -> None:
    text, word = CONFIGURATIONS[kind]
    path = bench.folder / "hostile.yaml"
    path.write_text(text)
    about_the_file = kind not in BY_VALUE
    configured(path, word, *["hostile.yaml"] * about_the_file)


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device"])
def test_configurations_that_are_no_files(bench, configured, kind: str) -> None:
    path = bench.folder / "hostile.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    configured(path, "hostile.yaml", "no such file")


SWEEPS = {
    "a list": "[1]\n",
    "a number": "7\n",
    "nothing": "",
    "no method": "metric: {name: a}\nparameters: {a: {values: [1]}}\n",
    "a method of code": "method: [os.system]\nmetric: {name: a}\nparameters: {a: {values: [1]}}\n",
    "parameters that are a list": "method: grid\nmetric: {name: a}\nparameters: [a]\n",
    "endless values": "method: random\nmetric: {name: a}\nparameters: {a: {min: 0.0, max: .inf}}\n",
    "values that are none": "method: random\nmetric: {name: a}\nparameters: {a: {min: .nan, max: 1.0}}\n",
    "a command that is a table": (
        "method: grid\nmetric: {name: a}\nparameters: {a: {values: [1]}}\ncommand: {touch: canary}\n"
    ),
}


@pytest.mark.parametrize("kind", SWEEPS)
def test_sweeps(bench, kind: str) -> None:
    path = bench.folder / "hostile.yaml"
    path.write_text(SWEEPS[kind])
    bench.refuses(["sweep", str(path), "--out", str(bench.out)], "hostile.yaml")


@pytest.mark.parametrize("key", ["model", "data: {reader", "trainer: {callbacks"])
def test_aliases_that_unfold_in_a_file_that_a_configuration_names(bench, configured, key: str) -> None:
    (bench.folder / "nested.yaml").write_text(BOMB)
    path = bench.folder / "hostile.yaml"
    path.write_text(f"{key}: {bench.folder / 'nested.yaml'}{'}' * key.count('{')}\n")
    configured(path, "unfold")


@pytest.mark.parametrize(
    "kind", ["tag !!python/object/apply:os.system", "aliases that unfold", "bytes", "deep"]
)
def test_configurations_of_the_other_commands(bench, kind: str) -> None:
    text, path = YAML[kind], bench.folder / "hostile.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    bench.refuses(["check", "--config", str(path)], "hostile.yaml")


@pytest.mark.parametrize(
    "value", ["!!python/object/apply:os.system [touch canary]", "[" * 2000, "{a: &a [*a]}"]
)
def test_values_on_the_command_line(bench, smoke_arguments, value: str) -> None:
    flag = f"--data.reader.init_args.frames={value}"
    bench.refuses(["fit", *smoke_arguments, flag, f"--run_dir={bench.out}"], "")


def test_lists_nested_without_end_do_not_end_the_process(tmp_path: Path) -> None:
    """In a process of its own: libyaml's recursion took Python down with it."""
    words = ["check", f"--out={'[' * 100_000}", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", "partnerface", *words], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("partnerface: ")
    assert len(ended.stderr.splitlines()) == 1
