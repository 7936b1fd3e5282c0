"""One command trains on a dataset of any system, and checks it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from partnerface.cli.main import main
from partnerface.data.formats import foreign_reader
from tests.data.formats import peers
from tests.data.formats.test_foreign_formats import Outlines

WRITERS = {
    "vhap": (peers.write_vhap, True),
    "insta": (peers.write_insta, False),
    "imavatar": (peers.write_imavatar, True),
    "nerface": (peers.write_nerface, False),
    "metrical-tracker": (peers.write_metrical, True),
    "flashavatar": (peers.write_flash, True),
    "nersemble-mono": (peers.write_nersemble, True),
}


@pytest.fixture(scope="module")
def flame(tmp_path_factory) -> tuple[dict[str, np.ndarray], Path]:
    arrays, path = peers.flame_form(), tmp_path_factory.mktemp("flame") / "flame.npz"
    np.savez(path, **arrays)
    return arrays, path


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_fit_and_check(name, flame, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(foreign_reader, "MediaPipeMatting", Outlines)
    write, of_flame = WRITERS[name]
    root, run = tmp_path / "set", tmp_path / "run"
    write(root, flame[0])
    flags = [
        f"--data.reader.root={root}",
        *([f"--data.reader.head_model={flame[1]}"] if of_flame else []),
        "--model.avatar.sampler.init_args.cells=32",
        "--model.avatar.field.init_args.log2_table_size=12",
        "--trainer.accelerator=cpu",
        *("--data.image_size=32", "--data.rays_per_frame=128", "--trainer.limit_val_batches=1"),
        *("--trainer.max_steps=3", "--trainer.val_check_interval=3", f"--run_dir={run}"),
    ]
    assert main(["fit", *flags]) == 0
    printed = capsys.readouterr().err
    # It says once what it took the folder for, whatever reads it how often.
    assert printed.count(f"dataset {root}: taken for ") == 1
    assert "no --config is given; taking configs/base.yaml" in printed
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(values.isfinite().all() for values in weights.values())
    flame_flag = ["--head_model", str(flame[1])] if of_flame else []
    assert main(["check", str(root), "--out", str(tmp_path / "check"), *flame_flag]) in (0, 1)
    findings = json.loads((tmp_path / "check" / "check.json").read_text())["findings"]
    assert "head model" not in [finding["topic"] for finding in findings]
    [read_as] = [finding["text"] for finding in findings if finding["topic"] == "format"]
    assert read_as.startswith("read as ")
    assert ", since " in read_as
    assert (tmp_path / "check" / "overlay.png").is_file()
