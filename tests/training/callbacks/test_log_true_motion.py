"""What a training logs of the true motion is what its test finds, and sweeps ask for such names."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from partnerface.cli.main import main
from partnerface.configuration.config_files import config_arguments
from partnerface.data.synthetic.conversation import SPLIT_PROTOCOL
from partnerface.evaluation import fine_motion
from partnerface.sweeps.sweep_file import read_sweep
from partnerface.training.callbacks import log_true_motion
from partnerface.training.callbacks.log_true_motion import LogTrueMotion

CALLBACK = "--trainer.callbacks+=partnerface.training.callbacks.log_true_motion.LogTrueMotion"
BUDGET = "--trainer.callbacks+=partnerface.training.callbacks.budgets.CpuBudget"


def arguments(data: str, run: Path, *flags: str) -> list[str]:
    names = ("base", "method/part_deformation", "head_model/anny", f"data/{data}", "scale/smoke")
    flags = (*flags, "--model.avatar.deformation.init_args.parts=4", "--trainer.max_steps=2")
    sampler = "--model.avatar.sampler.init_args.cells=32"
    return [*config_arguments(*names), *flags, sampler, "--trainer.accelerator=cpu", f"--run_dir={run}"]


@pytest.fixture(scope="module", autouse=True)
def single_pixels_are_regions():
    """Small frames show little motion."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fine_motion, "LEAST_PIXELS", 1)
        yield


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A training of subject c, and the last value of every name that it logged."""
    folder = tmp_path_factory.mktemp("motion")
    size = [f"--data.reader.init_args.{name}={value}" for name, value in (("frames", 30), ("size", 32))]
    words = arguments("synthetic_c", folder / "run", *size, f"--data.reader.init_args.root={folder / 'c'}")
    assert main(["fit", *words, CALLBACK, BUDGET, "--data.image_size=32"]) == 0
    return folder / "run", values_of(folder / "run")


def values_of(run: Path) -> dict[str, float]:
    with (run / "metrics.csv").open(newline="") as file:
        return {row["name"]: float(row["value"]) for row in csv.DictReader(file)}


def test_the_log_and_the_test_agree(logged) -> None:
    run, values = logged
    config, checkpoint = run / "config.yaml", run / "checkpoints" / "last.ckpt"
    assert main(["test", "--config", str(config), "--ckpt_path", str(checkpoint), "--result_page=false"]) == 0
    report = json.loads((run / "metrics.json").read_text())
    # `smoke` tests three frames, those of this split.
    shown = report["splits"]["temporal"]["fine_motion"]["psnr"]
    assert values["motion/temporal/psnr"] == pytest.approx(shown, rel=1e-5)
    quiet = report["splits"]["temporal"]["quiet_face"]["psnr"]
    assert values["motion/temporal/quiet_psnr"] == pytest.approx(quiet, rel=1e-5)
    motion = report["motion"]
    assert motion.keys() == {"train", "temporal", "unseen_combination", "larger"}
    for split, found in motion.items():
        left, nothing = found["mm_left"]["fine_face"], found["mm_nothing"]["fine_face"]
        assert values[f"motion/{split}/mm_left"] == pytest.approx(left, rel=1e-4)
        assert values[f"motion/{split}/hair_mm_left"] == pytest.approx(found["mm_left"]["hair"], rel=1e-4)
        assert values[f"motion/{split}/explained"] == pytest.approx(1 - left / nothing, abs=1e-4)
        assert values[f"motion/{split}/cosine"] == pytest.approx(found["cosine"]["fine_face"], abs=1e-4)


def test_a_run_that_was_killed_after_its_last_step_logs_it_when_it_continues(logged) -> None:
    run, values = logged
    (run / "metrics.csv").unlink()
    assert main(["fit", "--config", str(run / "config.yaml"), "--ckpt_path", "last"]) == 0
    again = values_of(run)
    assert again["train/cpu_seconds"] == values["train/cpu_seconds"]
    motion = {name: value for name, value in values.items() if name.startswith("motion/")}
    assert motion
    assert {name: again[name] for name in motion} == pytest.approx(motion, rel=1e-6)


def test_it_is_measured_on_the_device_of_the_training(monkeypatch) -> None:
    """Which a module has left when training has ended: on a CPU it took longer than the training on a GPU."""
    gpu, measured = torch.device("cuda:0"), []

    class Module:
        device = torch.device("cpu")
        avatar = nn.Module()

        def to(self, device: torch.device) -> None:
            self.device = device

    module = Module()
    module.avatar.head_model = None
    trainer = SimpleNamespace(
        **{"is_global_zero": True, "datamodule": None, "loggers": [], "global_step": 2},
        strategy=SimpleNamespace(root_device=gpu),
    )
    scores = SimpleNamespace(scores=lambda avatar: measured.append(module.device))
    monkeypatch.setattr(
        log_true_motion, "MotionMeasures", lambda data, head, device: measured.append(device) or scores
    )
    monkeypatch.setattr(LogTrueMotion, "_psnr", lambda *_: {})
    LogTrueMotion().on_fit_end(trainer, module)
    assert measured == [gpu, gpu]
    assert module.device == torch.device("cpu")


def test_sweeps_compare_what_is_logged(logged) -> None:
    assert "unseen_combination" in SPLIT_PROTOCOL
    sweeps = (Path(__file__).parents[3] / "sweeps").glob("*.yaml")
    assert {read_sweep(path).metric for path in sweeps} <= logged[1].keys()


def test_a_real_video_is_refused_before_training(synthetic_dataset, tmp_path, capsys) -> None:
    root = f"--data.reader.init_args.root={synthetic_dataset}"
    assert main(["fit", *arguments("partnerface", tmp_path / "run", root, CALLBACK)]) == 2
    assert "LogTrueMotion: the true motion of" in capsys.readouterr().err


def test_a_clip_of_one_training_frame_shows_no_motion(tmp_path: Path) -> None:
    """Nothing moves around the mean of one frame, no skin is fine, and training ends well."""
    size = [f"--data.reader.init_args.{name}={value}" for name, value in (("frames", 1), ("size", 16))]
    words = arguments(
        "synthetic_c", tmp_path / "run", *size, f"--data.reader.init_args.root={tmp_path / 'c'}"
    )
    assert main(["fit", *words, CALLBACK, "--data.image_size=16"]) == 0
    logged = values_of(tmp_path / "run")
    motion = {name: value for name, value in logged.items() if name.startswith("motion/")}
    assert set(motion) <= {"motion/train/hair_mm_left"}
    assert all(value == 0 for value in motion.values())
    assert all(value == value for value in logged.values())
