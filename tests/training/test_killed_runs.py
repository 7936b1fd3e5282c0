"""Runs that are killed (SIGKILL) again and again end as one that never was: bit by bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.run_comparison import assert_same_checkpoint, logged_rows, validations

CASES = {
    "one process": (12, 1, ["--data.num_workers=0", "--model.cpu_threads=2"]),
    "two workers": (4, 1, ["--data.num_workers=2", "--model.cpu_threads=1"]),
    "two ranks": (4, 2, ["--trainer.strategy=ddp", "--trainer.devices=2"]),
}
STEPS = 40
FLAGS = [
    f"--trainer.max_steps={STEPS}",
    "--trainer.val_check_interval=7",
    "--trainer.limit_val_batches=1",
    "--trainer.log_every_n_steps=1",
    "--data.batches_per_epoch=9",
    "--model.refine_tracking=true",
]


def _overlay(folder: Path) -> Path:
    """Every step is saved, and the occupancy pruned early."""
    callbacks = {
        "resume.run_checkpoint.RunCheckpoint": {"every_seconds": 0},
        "resume.step_seeds.StepSeeds": {},
        "callbacks.budgets.TimeBudget": {},
        "callbacks.budgets.CpuBudget": {},
        "callbacks.refresh_occupancy.RefreshOccupancy": {"start_step": 5, "every_steps": 3, "visits": 500},
        "callbacks.evaluation_report.EvaluationReport": {},
    }
    entries = [
        {"class_path": f"partnerface.training.{name}", "init_args": values}
        for name, values in callbacks.items()
    ]
    path = folder / "overlay.yaml"
    path.write_text(json.dumps({"trainer": {"callbacks": entries}}))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_killed_runs_end_as_one_that_was_not(
    case: str, smoke_arguments: list[str], tmp_path: Path, record_property
) -> None:
    kills, ranks, flags = CASES[case]
    arguments = [*smoke_arguments, "--config", str(_overlay(tmp_path)), *FLAGS, *flags]
    asked = {"arguments": arguments, "out": str(tmp_path), "kills": kills, "ranks": ranks, "seed": 0}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    script = Path(__file__).with_name("killed_training.py")
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "asked.json")],
        capture_output=True,
        text=True,
        timeout=900,
    )
    logs = "\n".join(path.read_text()[-3000:] for path in sorted(tmp_path.glob("*.log")))
    assert ended.returncode == 0, ended.stderr[-3000:] + logs
    found = json.loads((tmp_path / "kills.json").read_text())
    record_property("kills", found)
    assert found["kills"] == kills
    if ranks == 2:
        words = [(tmp_path / f"alone{rank}.log").read_text() for rank in range(2)]
        assert found["left alone"] == [2, 2], words
        for said in words:
            assert "partnerface: another process of this run has ended" in said
            assert "Traceback" not in said
    whole = tmp_path / "whole"
    # The clip's one validation frame cannot be shared by two processes.
    assert len({step for step, _, _ in validations(whole)}) == (STEPS // 7 if ranks == 1 else 0)
    for name in found["runs"]:
        assert_same_checkpoint(tmp_path / name, whole)
        assert sorted(logged_rows(tmp_path / name)) == sorted(logged_rows(whole))
        left = [p.name for p in (tmp_path / name / "checkpoints").iterdir()]
        assert left == ["last.ckpt"]
