"""Training and testing an avatar in one folder; a second call continues or reuses what is in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from partnerface.animation import run_animation
from partnerface.configuration.avatar_cli import run_trainer_command
from partnerface.errors import UserError
from partnerface.evaluation.report import PAGE_FILE
from partnerface.files.plain_values import read_json_table, read_yaml
from partnerface.files.whole_files import refuse_file, replace_text, require_writable
from partnerface.runs.engine import LOCK_FILE, locked
from partnerface.runs.run import SCORES_FILE
from partnerface.training.callbacks.evaluation_report import print_report
from partnerface.training.resume.run_checkpoint import last_checkpoint

SETTINGS_FILE = "settings.json"
OUTPUTS = ("checkpoints/last.ckpt", SCORES_FILE, PAGE_FILE, "comparison.mp4", "strip.png", "animation.mp4")


def train_and_test(run_dir: Path, arguments: list[str]) -> dict:
    """Train an avatar, or continue its training, animate it and test it.

    Args:
        run_dir: folder of the run; a finished run in it is not repeated.
        arguments: configuration files and flags of ``partnerface fit``.

    Returns:
        The content of ``metrics.json``.

    Raises:
        UserError: a value of the configuration or a file of the folder is wrong.
    """
    checkpoint, metrics = last_checkpoint(run_dir), run_dir / SCORES_FILE
    config = run_dir / "config.yaml"
    tested = metrics.is_file() and checkpoint.is_file()
    # The page is the last file of a test: without it a test was killed, or that of an earlier version.
    if tested and (run_dir / PAGE_FILE).is_file():
        _say(f"Reusing the trained avatar and its scores in {run_dir}")
        run_animation.animate_run(run_dir)
        report = read_json_table(metrics, "remove it and test again")
        print_report(report)
        return report
    fit = ["fit", *arguments, "--run_dir", str(run_dir)]
    if tested:
        _say(f"Testing the trained avatar in {run_dir}")
    else:
        if checkpoint.is_file():
            _say(f"Continuing from {checkpoint}")
            fit += ["--ckpt_path", "last", *_budget_of(config)]
        run_trainer_command(fit)
    # Before the test, whose page shows it.
    run_animation.animate_run(run_dir)
    # The folder may have been moved since its configuration was written.
    test = ["test", "--config", str(config), "--run_dir", str(run_dir)]
    run_trainer_command([*test, "--ckpt_path", str(checkpoint)])
    return json.loads(metrics.read_text())


def _budget_of(config: Path) -> list[str]:
    """Flags with the budget that a run was begun with: that of an earlier version may have been larger."""
    tree = read_yaml(config) if config.is_file() else None
    trainer = tree.get("trainer") if isinstance(tree, dict) else None
    begun = trainer if isinstance(trainer, dict) else {}
    budget = {key: begun[key] for key in ("max_steps", "max_time") if key in begun}
    return [f"--trainer.{key}={'null' if value is None else value}" for key, value in budget.items()]


def scale_of_run(run_dir: Path, here: str, scales: Collection[str]) -> str:
    """Name of the file of ``configs/scale`` to train with: that of the folder's run, if one has begun.

    Its networks have that size wherever training continues. One line says so where it is not ``here``.

    Args:
        run_dir: folder of the run, with ``scale`` in its ``settings.json``.
        here: what suits this machine.
        scales: what the run may have begun with.

    Raises:
        UserError: the settings of the folder are damaged.
    """
    path = run_dir / SETTINGS_FILE
    begun = _recorded(path).get("scale", here) if path.is_file() else here
    if begun not in scales or begun == here:
        return here
    _say(
        f"partnerface: {run_dir} was begun with configs/scale/{begun}.yaml on another machine and keeps it; "
        f"{here}.yaml suits this one"
    )
    return begun


@contextmanager
def held_folder(run_dir: Path, settings: dict[str, object]) -> Iterator[None]:
    """Hold a folder against other commands for the block, its settings recorded in ``settings.json``.

    What an earlier attempt with other settings has left there is used or replaced, unless it is an avatar.

    Args:
        run_dir: folder of the run.
        settings: names and values with which an avatar in the folder must have been made; None is what has
            not been set, which is not recorded.

    Raises:
        UserError: the folder holds an avatar made with other settings or other files, cannot be written, or
            another command is at work in it.
    """
    _require_folder_of_runs(run_dir, settings)
    require_writable(run_dir)
    with locked(run_dir):
        _same_settings(run_dir, settings)
        yield


def _require_folder_of_runs(run_dir: Path, settings: dict[str, object]) -> None:
    """Refuse a file, and a folder that holds other files than those of a run."""
    path = run_dir / SETTINGS_FILE
    refuse_file(run_dir)
    if path.is_file():
        # Other programs have files of that name too.
        foreign = not _given(settings).keys() & _recorded(path).keys()
    else:
        # A kill while the settings were written leaves a partial file, which is no reason to refuse.
        entries = list(run_dir.iterdir()) if run_dir.exists() else []
        foreign = any(entry.suffix != ".partial" and entry.name != LOCK_FILE for entry in entries)
    if foreign:
        raise UserError(f"--out {run_dir}: holds other files; choose another folder")


def _same_settings(run_dir: Path, settings: dict[str, object]) -> None:
    path = run_dir / SETTINGS_FILE
    recorded = _recorded(path) if path.is_file() else settings
    # What one of them lacks was not set: avatars from before there was a choice have none of it.
    # `scale_of_run` has seen to the scale, which earlier versions did not record.
    changed = [key for key in settings if key != "scale" and recorded.get(key) != settings[key]]
    if changed:
        before = ", ".join(f"{key} {recorded.get(key, 'not given')}" for key in changed)
        if last_checkpoint(run_dir).is_file():
            raise UserError(f"--out {run_dir}: holds an avatar made with {before}; choose another folder")
        _say(f"partnerface: {run_dir} holds no avatar yet, only an attempt with {before}; starting anew")
    if changed or not path.is_file():
        replace_text(path, json.dumps(_given(settings), indent=1) + "\n")


def _given(settings: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in settings.items() if value is not None}


def _recorded(path: Path) -> dict:
    return read_json_table(path, "remove the folder or choose another --out")


def print_outputs(run_dir: Path, next_steps: list[str]) -> None:
    """Print the paths of a run's results, then lines that say what can be done with them."""
    for name in OUTPUTS:
        if (run_dir / name).is_file():
            print(f"  {run_dir / name}")
    print(*next_steps, sep="\n")


def _say(line: str) -> None:
    print(line, file=sys.stderr)
