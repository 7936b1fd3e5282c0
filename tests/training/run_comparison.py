"""Two runs that shall have ended alike: weights and optimizer to the bit, and their logs."""

import csv
from pathlib import Path

import torch

from partnerface.training.resume.run_checkpoint import last_checkpoint

VALIDATION = "val/"
OF_THE_MACHINE = "train/cpu_seconds"


def assert_same_checkpoint(run: Path, whole: Path) -> None:
    """Everything that training continues from, but for clocks, is equal to the bit."""
    found, expected = (torch.load(last_checkpoint(r), weights_only=True) for r in (run, whole))
    for part in ("global_step", "epoch", "skipped_steps", "state_dict", "optimizer_states"):
        _assert_same(found[part], expected[part], part)
    # Lightning's count of epochs that were begun is another after a stop between two, and serves nothing.
    loops, expected_loops = (state["loops"]["fit_loop"] for state in (found, expected))
    for part in ("state_dict", "epoch_loop.state_dict", "epoch_loop.batch_progress"):
        _assert_same(loops[part], expected_loops[part], part)


def _assert_same(found, expected, name: str) -> None:
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), name
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), name
        for key, value in expected.items():
            _assert_same(found[key], value, f"{name}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), name
        for k, value in enumerate(expected):
            _assert_same(found[k], value, f"{name}.{k}")
    else:
        assert found == expected, name


def logged_rows(run: Path) -> list[tuple[str, str, str]]:
    """Step, name and value of all rows that do not depend on the machine."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = [(row["step"], row["name"], row["value"]) for row in csv.DictReader(file)]
    return [row for row in rows if row[1] != OF_THE_MACHINE]


def validations(run: Path) -> set[tuple[str, str, str]]:
    return {row for row in logged_rows(run) if row[1].startswith(VALIDATION)}
