"""A metric of somebody else's package: one file and one flag."""

import csv
import json
import sys
from pathlib import Path

import pytest

from partnerface.cli.main import main

DARKNESS = """
from partnerface.evaluation.image_metric import ImageMetric


class Darkness(ImageMetric):
    higher_is_better = False
    ideal = 0.0
    definition = "how much darker than the target, at most"

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def per_image(self, rendered, target, mask):
        darker = self.gain * (target - rendered).clamp_min(0)
        return (darker if mask is None else darker[:, mask]).max()


class Abstract(ImageMetric):
    higher_is_better, ideal, definition = False, 0.0, "lacks its method"


class Undefined(ImageMetric):
    higher_is_better, ideal = False, 0.0

    def per_image(self, rendered, target, mask):
        return 0.0
"""


@pytest.fixture
def strangers_package(tmp_path: Path, monkeypatch) -> str:
    (tmp_path / "strangers_metrics.py").write_text(DARKNESS)
    monkeypatch.syspath_prepend(tmp_path)
    yield "strangers_metrics.Darkness"
    sys.modules.pop("strangers_metrics", None)


def test_it_is_in_the_log_in_metrics_json_and_in_the_table(
    strangers_package: str, smoke_arguments: list[str], tmp_path: Path, capsys
) -> None:
    run = tmp_path / "run"
    flags = [f"--model.metrics.darkness={strangers_package}", "--model.metrics.darkness.gain=2.0"]
    flags += ["--model.metrics.lpips=null", "--trainer.max_steps=2", "--trainer.val_check_interval=2"]
    assert main(["fit", *smoke_arguments, *flags, f"--run_dir={run}"]) == 0
    with (run / "metrics.csv").open(newline="") as file:
        logged = {row["name"]: float(row["value"]) for row in csv.DictReader(file)}
    assert 0 < logged["val/mouth_darkness"] <= logged["val/darkness"] <= 2
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    capsys.readouterr()
    assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", checkpoint]) == 0
    assert "darkness" in capsys.readouterr().out
    report = json.loads((run / "metrics.json").read_text())
    assert report["protocol"]["metrics"]["darkness"]["definition"].startswith("how much darker")
    assert report["protocol"]["lpips"] is None
    for regions in report["splits"].values():
        assert list(regions["full_frame"]) == ["psnr", "ssim", "ms_ssim", "l1", "darkness", "temporal"]
        assert 0 < regions["head_mask"]["darkness"] <= 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("strangers_metrics.Missing", "model.metrics"),
        ("nowhere.Metric", "model.metrics"),
        ("torch.nn.ReLU", "model.metrics"),
        ("strangers_metrics.Abstract", "model.metrics"),
        ("strangers_metrics.Undefined", "--model.metrics.mine: Undefined has no 'definition'"),
        ("3", "model.metrics"),
    ],
)
def test_what_is_no_metric_is_one_line(
    strangers_package: str, smoke_arguments: list[str], tmp_path: Path, capsys, value: str, words: str
) -> None:
    flags = [f"--model.metrics.mine={value}", f"--run_dir={tmp_path / 'run'}"]
    assert main(["fit", *smoke_arguments, *flags]) == 2
    # The data may say before that it is reused.
    *before, message = capsys.readouterr().err.strip().splitlines()
    assert words in message
    assert all(line.startswith("Reusing") for line in before)
