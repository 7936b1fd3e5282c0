"""Training with compiled networks, on a CPU."""

import csv
import shutil
from pathlib import Path

import pytest

from partnerface.cli.main import main


@pytest.mark.slow
def test_they_train_as_they_do_when_interpreted(smoke_arguments: list[str], tmp_path: Path) -> None:
    """In two threads, with numbers of points that change from step to step."""
    flags = ["--trainer.max_steps=4", "--trainer.limit_val_batches=0", "--trainer.log_every_n_steps=1"]
    losses = []
    for compiled in ("false", "true"):
        run = tmp_path / compiled
        chosen = [f"--model.compile_networks={compiled}", f"--run_dir={run}"]
        assert main(["fit", *smoke_arguments, *flags, *chosen]) == 0
        rows = csv.DictReader((run / "metrics.csv").open())
        losses.append([float(row["value"]) for row in rows if row["name"] == "train/loss/photometric"])
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_without_a_compiler_it_is_one_line(smoke_arguments: list[str], tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    words = ["fit", *smoke_arguments, "--model.compile_networks=true", f"--run_dir={tmp_path / 'run'}"]
    assert main(words) == 2
    assert "needs a C++ compiler; install g++" in capsys.readouterr().err
