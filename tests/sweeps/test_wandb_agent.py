"""`wandb sweep` and `wandb agent` themselves run a shipped sweep, with the very commands that we build."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from partnerface.sweeps.sweep_file import read_sweep
from partnerface.sweeps.sweep_run import expand_command
from tests.sweeps.wandb_server import WandbServer

SWEEP = Path(__file__).parents[2] / "sweeps" / "parts_by_temperature.yaml"
RECORDER = """#!{python} -S
import json, os, sys
with open({record!r}, "a") as file:
    file.write(json.dumps([os.environ["WANDB_RUN_ID"], sys.argv]) + "\\n")
"""


def _environment(server: WandbServer, folder: Path) -> dict[str, str]:
    """Of a user that is logged in to the server, with a stand-in for `partnerface` found first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return {
        **kept,
        "PATH": os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(folder),
        "WANDB_BASE_URL": server.url,
        "WANDB_API_KEY": "0" * 40,
        "WANDB_DIR": str(folder),
        "WANDB_ENTITY": "me",
        "WANDB_ERROR_REPORTING": "false",
    }


@pytest.mark.slow
def test_a_shipped_sweep_runs_under_wandb(tmp_path: Path) -> None:
    record, stand_in = tmp_path / "record", tmp_path / "bin" / "partnerface"
    stand_in.parent.mkdir()
    stand_in.write_text(RECORDER.format(python=sys.executable, record=str(record)))
    stand_in.chmod(0o755)
    sweep = read_sweep(SWEEP)
    rows = sweep.combinations(count=2)
    with WandbServer(rows) as server:
        environment = _environment(server, tmp_path)

        def wandb(*words: str) -> str:
            command = [sys.executable, "-m", "wandb", *words]
            ended = subprocess.run(
                command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=90
            )
            assert ended.returncode == 0, ended.stderr
            return ended.stderr

        assert "wandb agent me/partnerface/s1" in wandb("sweep", str(SWEEP))
        assert yaml.safe_load(server.sweep) == yaml.safe_load(SWEEP.read_text())
        wandb("agent", "--count", "2", "me/partnerface/s1")
        assert server.unknown == []
    seen = [json.loads(line) for line in record.read_text().splitlines()]
    assert [run_id for run_id, _ in seen] == ["r0", "r1"]
    for (_, words), row in zip(seen, rows, strict=True):
        env, threads, program, *arguments = expand_command(sweep.command, sweep.program, row)
        assert (env, threads, program) == ("/usr/bin/env", "OMP_NUM_THREADS=1", "partnerface")
        assert words == [str(stand_in), *arguments]
