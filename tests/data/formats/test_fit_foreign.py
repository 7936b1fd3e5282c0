"""One command trains on a dataset of any system and checks it, another measures several beside each other."""

import itertools
import json
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from partnerface.cli.main import main
from partnerface.data.completion import torso_motion
from partnerface.data.formats import foreign_reader
from partnerface.runs.worker_pool import WorkerPool
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


@pytest.fixture
def in_this_process(monkeypatch):
    """Commands of runs are run here, one after the other: torch starts once. The first writes its page."""

    def run_all(pool: WorkerPool, runs) -> None:
        for run in runs:
            words = shlex.split(run.remaining_command[-1])
            words = [word for word in words if run is not runs[0] or not word.startswith("--result_page")]
            run.prepare()
            commands = (list(part) for is_end, part in itertools.groupby(words, "&&".__eq__) if not is_end)
            # Before them stand a variable and the program.
            run.add_attempt(max(main(command[2:]) for command in commands), 1.0)
            pool.on_end(run)

    monkeypatch.setattr(torso_motion, "ITERATIONS", 1)
    monkeypatch.setattr(WorkerPool, "run", run_all)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_benchmark_of_datasets_of_two_systems(flame, tmp_path, monkeypatch, in_this_process, capsys):
    """Each is tested on its own test split, whose system and assumptions stand in the results."""
    monkeypatch.chdir(tmp_path)
    peers.write_insta(tmp_path / "obama", flame[0])
    peers.write_vhap(tmp_path / "074", flame[0])
    flags = [
        "--methods",
        "skinning_only",
        "--starts",
        "scratch",
        "--quick",
        "true",
        "--steps",
        "2",
        "--sample",
        "2",
        "--out",
        "out",
    ]
    subjects = ["--subjects", f"obama,074:head_model={flame[1]}"]
    assert main(["benchmark", "methods", *flags, *subjects]) == 0
    rows = {row["subject"]: row for row in json.loads((tmp_path / "out/results.json").read_text())}
    assert {name: (row["split"], row["frames"], row["train_frames"]) for name, row in rows.items()} == {
        "obama": ("test_sample", 2, 8),
        "074": ("test_sample", 2, 7),
    }
    assert all(math.isfinite(row["metrics"]["head_mask"]["psnr"]) for row in rows.values())
    assert rows["obama"]["read_as"].startswith("INSTA, since ")
    assert "assumed: expressions are the principal components" in rows["obama"]["read_as"]
    assert "assumed: that it was tracked with the FLAME of flame.npz" in rows["074"]["read_as"]
    text = (tmp_path / "out/results.md").read_text()
    assert all(name in text for name in rows)
    page = (tmp_path / "out/runs" / rows["obama"]["run"] / "report.html").read_text()
    assert f"read as {rows['obama']['read_as'][:20]}" in page
