"""`demo` from nothing to its files, and a second run that reuses them."""

import json
from pathlib import Path

import pytest
import yaml

from partnerface.animation import run_animation
from partnerface.cli.demo import as_max_time
from partnerface.cli.main import main
from partnerface.configuration import avatar_run
from partnerface.result_page import expression_sheet

FILES = (
    *("checkpoints/last.ckpt", "metrics.json", "report.html", "comparison.mp4", "strip.png"),
    "animation.mp4",
)


@pytest.fixture
def small(monkeypatch) -> None:
    """The demo's own path at a scale of seconds."""
    original = avatar_run.run_trainer_command
    flags = [
        "--trainer.max_steps=2",
        "--trainer.limit_val_batches=0",
        "--trainer.accelerator=cpu",
        "--data.reader.init_args.frames=24",
        "--data.rays_per_frame=64",
        "--model.avatar.sampler.init_args.cells=32",
    ]
    monkeypatch.setattr(expression_sheet, "DENSITIES", expression_sheet.DENSITIES[-1:])
    monkeypatch.setattr(run_animation, "ACTION_FRAMES", 1)
    monkeypatch.setattr(run_animation, "ORBIT_FRAMES", 1)
    monkeypatch.setattr(
        avatar_run, "run_trainer_command", lambda a: original([*a, *flags] if a[0] == "fit" else a)
    )


@pytest.mark.usefixtures("small")
def test_demo_leaves_its_files_and_reuses_them(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(tmp_path))
    out = tmp_path / "demo"
    arguments = ["demo", "--out", str(out), "--size", "32", "--minutes", "1"]
    assert main(arguments) == 0
    first = capfd.readouterr()
    assert "inside the head mask" in first.out
    assert "partnerface create video.mp4" in first.out
    for name in (*FILES, "config.yaml"):
        assert (out / name).is_file(), name
        assert name == "config.yaml" or name in first.out
    assert "unseen_expression" in json.loads((out / "metrics.json").read_text())["splits"]
    names = ("metrics.json", "animation.mp4")
    before = [(out / name).stat().st_mtime_ns for name in names]
    assert main(arguments) == 0
    assert "Reusing the trained avatar" in capfd.readouterr().err
    assert [(out / name).stat().st_mtime_ns for name in names] == before
    assert main([*arguments, "--subject", "b"]) == 2
    assert "holds an avatar made with subject a; choose another folder" in capfd.readouterr().err


@pytest.mark.usefixtures("small")
def test_a_stopped_demo_continues(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(tmp_path))
    out = tmp_path / "demo"
    arguments = ["demo", "--out", str(out), "--size", "32"]
    assert main(arguments) == 0
    (out / "report.html").unlink()
    capfd.readouterr()
    assert main(arguments) == 0
    printed = capfd.readouterr().err
    assert "Testing the trained avatar" in printed
    assert "training:" not in printed
    assert (out / "report.html").is_file()
    (out / "metrics.json").unlink()
    capfd.readouterr()
    assert main(arguments) == 0
    printed = capfd.readouterr().err
    assert "Continuing from" in printed
    assert "Reusing the rendered frames" in printed
    assert (out / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("device", "words", "budget"),
    [
        ("cpu", [], (1700, "00:00:09:00")),
        ("cpu", ["--minutes", "6"], (-1, "00:00:06:00")),
        ("cuda", [], (-1, "00:00:02:54")),
    ],
)
def test_training_ends_by_steps_unless_minutes_are_given(
    device: str, words: list[str], budget: tuple[int, str], tmp_path: Path, monkeypatch
) -> None:
    """Of the configuration that the trainer would read."""
    read = []

    def parse(run_dir: Path, arguments: list[str]) -> dict:
        files = [yaml.safe_load(Path(word).read_text()) for word in arguments if word.endswith(".yaml")]
        trainer = {key: value for file in files for key, value in file.get("trainer", {}).items()}
        given = dict(word.removeprefix("--trainer.").split("=", 1) for word in arguments if "=" in word)
        steps, time = (given.get(key, trainer[key]) for key in ("max_steps", "max_time"))
        read.append((int(steps), time))
        return {"splits": {}}

    monkeypatch.setattr(avatar_run, "train_and_test", parse)
    monkeypatch.setattr(run_animation, "animate_run", lambda run_dir: None)
    monkeypatch.setattr("partnerface.compute.cuda_support.chosen_accelerator", lambda asked: device)
    assert main(["demo", "--out", str(tmp_path), *words]) == 0
    assert read == [budget]


def test_a_demo_of_an_earlier_version_by_the_clock_is_reused(tmp_path: Path, monkeypatch, capsys) -> None:
    settings = {"subject": "a", "size": 128, "minutes": 2.9}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    monkeypatch.setattr(avatar_run, "train_and_test", lambda *_: {"splits": {}})
    monkeypatch.setattr(run_animation, "animate_run", lambda run_dir: None)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert main(["demo", "--out", str(tmp_path), "--minutes", "3"]) == 2
    assert "holds an avatar made with minutes 2.9" in capsys.readouterr().err


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, capsys) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_damaged_settings_give_one_line(tmp_path: Path, capsys) -> None:
    (tmp_path / "settings.json").write_text("{")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "settings.json: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(0.001, "00:00:00:01"), (2.5, "00:00:02:30"), (61, "00:01:01:00"), (1500, "01:01:00:00")],
)
def test_minutes_as_the_trainer_takes_them(minutes: float, text: str) -> None:
    assert as_max_time(minutes) == text
