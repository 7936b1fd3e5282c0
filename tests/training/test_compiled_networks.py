"""Training with compiled networks, on a CPU."""

import csv
import shutil
from functools import partial
from pathlib import Path

import pytest
from torch import nn

from partnerface.cli.main import main
from partnerface.fields.hash_field import HashField


@pytest.mark.slow
def test_they_train_as_they_do_when_interpreted(
    smoke_arguments: list[str], tmp_path: Path, monkeypatch
) -> None:
    """In two threads, with numbers of points that change from step to step.

    Forward and backward are traced and split as for any backend. The C++ that torch writes of them is left
    out: it takes a minute to compile.
    """
    compiled = partial(nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(HashField, "compile", lambda field, **options: compiled(field, **options))
    flags = ["--trainer.max_steps=4", "--trainer.limit_val_batches=0", "--trainer.log_every_n_steps=1"]
    losses = []
    for chosen in ("false", "true"):
        run = tmp_path / chosen
        words = [f"--model.compile_networks={chosen}", f"--run_dir={run}"]
        assert main(["fit", *smoke_arguments, *flags, *words]) == 0
        rows = csv.DictReader((run / "metrics.csv").open())
        losses.append([float(row["value"]) for row in rows if row["name"] == "train/loss/photometric"])
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_without_a_compiler_it_is_one_line(smoke_arguments: list[str], tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    words = ["fit", *smoke_arguments, "--model.compile_networks=true", f"--run_dir={tmp_path / 'run'}"]
    assert main(words) == 2
    assert "needs a C++ compiler; install g++" in capsys.readouterr().err
