"""What a test says about fine motion: of an embedded subject what is known, of a clip what pictures tell."""

import json
from pathlib import Path

import pytest
import torch

from partnerface.cli.main import main
from partnerface.configuration.config_files import config_arguments
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.evaluation.combinations import COMBINATION_PROTOCOL, EXPRESSION_REGION

FRAMES, SIZE = 60, 32


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracked video, long enough for what is measured on clips; its reader does not know the subject."""
    root = tmp_path_factory.mktemp("clip") / "dataset"
    SyntheticReader(root, frames=FRAMES, size=SIZE).read()
    return root


def arguments(clip: Path, method: str, run: Path) -> list[str]:
    names = ("base", f"method/{method}", "head_model/anny", "data/partnerface", "scale/smoke")
    flags = [f"--data.reader.init_args.root={clip}", "--model.avatar.sampler.init_args.cells=32"]
    flags += ["--trainer.accelerator=cpu", "--trainer.max_steps=1", "--trainer.limit_test_batches=1.0"]
    return [*config_arguments(*names), *flags, "--result_page=false", f"--run_dir={run}"]


@pytest.fixture(scope="module")
def of_clip(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The report on the clip."""
    run = tmp_path_factory.mktemp("runs") / "skinning_only"
    assert main(["fit", *arguments(clip, "skinning_only", run)]) == 0
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", checkpoint]) == 0
    return json.loads((run / "metrics.json").read_text())


def test_a_clip_says_nothing_about_a_motion_that_nobody_knows(of_clip: dict) -> None:
    assert of_clip["motion"] is None
    assert (of_clip["protocol"]["fine_motion"], of_clip["protocol"]["motion"]) == (None, None)
    assert not any({"fine_motion", "quiet_face"} & regions.keys() for regions in of_clip["splits"].values())


def test_a_clip_has_recombined_frames_and_the_rest_beside_its_splits(of_clip: dict) -> None:
    counts = of_clip["protocol"]["num_frames"]
    tests = counts["temporal"] + counts["unseen_expression"]
    assert counts["new_combination"] == tests // 4
    assert counts["other_test_frames"] == tests - tests // 4
    for name, text in COMBINATION_PROTOCOL.items():
        assert of_clip["protocol"]["split_protocol"][name] == text
        assert of_clip["splits"][name]["head_mask"]["psnr"] > 0
        assert of_clip["coverage"][name]["frames"] == counts[name]


def test_a_clip_has_a_region_that_depends_on_the_expression(of_clip: dict) -> None:
    assert EXPRESSION_REGION in of_clip["protocol"]["expression_region"]
    for regions in of_clip["splits"].values():
        assert regions[EXPRESSION_REGION]["psnr"] > 0


def test_there_is_no_oracle_of_a_clip(clip: Path, tmp_path: Path, capsys) -> None:
    assert main(["fit", *arguments(clip, "oracle", tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert f"{clip}: its true motion is not known" in error


def test_an_embedded_subject_has_the_millimetres_of_its_motion(
    trained_run: Path, synthetic_dataset: Path
) -> None:
    report = json.loads((trained_run / "metrics.json").read_text())
    truth = SyntheticReader(synthetic_dataset, frames=24, size=32)._truth
    splits = truth.performance.splits
    hair = truth.dressed.sway_weights > 0.5

    def swaying(name: str) -> torch.Tensor:
        return torch.stack([truth.fine_motion(frame)[hair] for frame in splits[name]])

    mean = swaying("train").mean(0)
    for name in ("train", "temporal", "unseen_expression"):
        expected = 1000 * float((swaying(name) - mean).square().sum(2).mean().sqrt())
        assert report["motion"][name]["mm_nothing"]["hair"] == pytest.approx(expected, rel=1e-4)
        # Six steps of training have hardly moved anything.
        assert report["motion"][name]["mm_left"]["hair"] == pytest.approx(expected, rel=0.2)
    assert "val" not in report["motion"]
    assert report["protocol"]["expression_region"] is None
    assert not {"new_combination", "other_test_frames"} & report["splits"].keys()
    for regions in report["splits"].values():
        assert {"psnr", "lpips", "ceiling_psnr", "sampling_psnr", "counts"} <= regions["fine_motion"].keys()
        assert regions["quiet_face"]["psnr"] > 0
