"""What a run leaves in its folder."""

import json
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.evaluation.scores import GEOMETRY
from partnerface.training.callbacks.evaluation_report import EvaluationReport, _name_of_checkpoint


def test_test_leaves_scores_video_and_strip(trained_run: Path, synthetic_dataset: Path) -> None:
    report = json.loads((trained_run / "metrics.json").read_text())
    splits = PartnerfaceReader(synthetic_dataset).read().test_splits
    assert list(report["splits"]) == splits
    for regions in report["splits"].values():
        assert list(regions) == [
            *("full_frame", "head_mask", "matte", "eyes", "mouth", "forehead"),
            *("fine_motion", "quiet_face", "nearest_frame"),
        ]
        assert set(regions["full_frame"]) == {"psnr", "ssim", "ms_ssim", "lpips", "l1", "temporal"}
        assert set(regions["mouth"]) - set(regions["full_frame"]) == set(GEOMETRY)
        assert set(regions["nearest_frame"]) == {"full_frame", "head_mask", "matte"}
    assert report["protocol"]["checkpoint"] == "checkpoints/last.ckpt"
    assert report["protocol"]["trained_steps"] == 6
    assert report["protocol"]["resolution"] == [32, 32]
    # 24 frames of the embedded subject: its own shares, not those of a tracked clip.
    assert "last 17 %" in report["protocol"]["split_protocol"]["unseen_expression"]
    assert report["protocol"]["split_frames"] == {
        "train": 17,
        "val": 1,
        "temporal": 2,
        "unseen_expression": 4,
    }
    assert report["protocol"]["test_parameters"] == "strict"
    # Three batches of the test, the first frames in time: both of `temporal`, one of the four others.
    assert report["protocol"]["num_frames"] == {"temporal": 2, "unseen_expression": 1}
    with av.open(str(trained_run / "comparison.mp4")) as video:
        assert (video.streams.video[0].width, video.streams.video[0].height) == (96, 32)
        assert video.metadata["comment"] == "checkpoints/last.ckpt, step 6"
    with Image.open(trained_run / "strip.png") as strip:
        assert strip.width == 5 * 32
        assert strip.text == {"Comment": "checkpoints/last.ckpt, step 6"}


def test_a_checkpoint_from_elsewhere_is_told_from_the_runs_own(tmp_path: Path) -> None:
    """Both were called last.ckpt."""
    tested = SimpleNamespace(default_root_dir=str(tmp_path / "runs" / "scored"))
    names = {}
    for run in ("scored", "me"):
        tested.ckpt_path = str(tmp_path / "runs" / run / "checkpoints" / "last.ckpt")
        names[run] = _name_of_checkpoint(tested)
    assert names == {"scored": "checkpoints/last.ckpt", "me": "../me/checkpoints/last.ckpt"}
    tested.ckpt_path = None
    assert _name_of_checkpoint(tested) is None


def test_strips_are_drawn_while_training(trained_run: Path) -> None:
    assert [p.name for p in sorted((trained_run / "renderings").iterdir())] == ["step_000006.png"]


def test_the_saved_configuration_is_that_of_fit(trained_run: Path) -> None:
    """Trap: the configuration of `test` replaced it, with keys that `fit` refuses."""
    config = yaml.safe_load((trained_run / "config.yaml").read_text())
    assert "verbose" not in config
    assert config["trainer"]["max_steps"] == 6
    assert "num_frames" not in config["model"]
    assert config["model"]["avatar"]["class_path"] == "partnerface.avatar.avatar.Avatar"


def test_nothing_half_written_stays(trained_run: Path) -> None:
    assert [p.name for p in trained_run.rglob("*") if "partial" in p.name or "write-test" in p.name] == []


def test_the_scores_of_a_test_are_those_of_its_renders(trained_run: Path) -> None:
    """The per-image PSNR of the full frame, worked out again from the video's lossless source."""
    from partnerface.configuration.avatar_cli import AvatarCLI

    cli = AvatarCLI(["test", "--config", str(trained_run / "config.yaml")], execute=False)
    checkpoint = trained_run / "checkpoints" / "last.ckpt"
    rendered = []

    class _Keep(EvaluationReport):
        def on_test_batch_end(self, trainer, pl_module, outputs, *args) -> None:
            super().on_test_batch_end(trainer, pl_module, outputs, *args)
            rendered.append(outputs)

    callbacks = cli.trainer.callbacks
    place = next(i for i, c in enumerate(callbacks) if isinstance(c, EvaluationReport))
    callbacks[place] = _Keep()
    cli.trainer.test(cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=True)
    report = json.loads((trained_run / "metrics.json").read_text())
    for split, regions in report["splits"].items():
        values = [
            -10 * np.log10(((r.image.clamp(0, 1) - r.frame.on_white()) ** 2).mean().item())
            for r in rendered
            if split in r.frame.splits
        ]
        if values:
            assert regions["full_frame"]["psnr"] == pytest.approx(np.mean(values), abs=1e-3)
