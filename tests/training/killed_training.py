"""Trains in forked processes and kills them (SIGKILL); run as a script, so that torch is imported once.

usage: killed_training.py JSON, with
    arguments: words of `partnerface fit` without the run's folder
    out: folder of the runs
    kills: how many
    ranks: processes of a run
    seed: of the moments

Writes OUT/kills.json: the kills by what the run was doing, the folders of the killed runs and, for two ranks,
the exit code of each when the other alone is killed (its words are in OUT/alone0.log and OUT/alone1.log).
"""

import gc
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from network_ports import free_port

from partnerface.cli.main import main
from partnerface.configuration.avatar_cli import AvatarCLI  # noqa: F401 (imported before forking)

PATIENCE = 120.0


def start(arguments: list[str], run: Path, ranks: int) -> list[int]:
    """Fork the processes of a launch, each the leader of a group with its loader's workers."""
    port, processes = free_port(), []
    for rank in range(ranks):
        process = os.fork()
        if process == 0:
            os.setsid()
            with open(run.with_name(f"{run.name}.log"), "ab") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            if ranks > 1:
                place = {"LOCAL_RANK": rank, "NODE_RANK": 0, "WORLD_SIZE": ranks}
                place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
                os.environ.update({name: str(value) for name, value in place.items()})
                from lightning.pytorch.utilities import rank_zero_only

                rank_zero_only.rank = rank
            code = 1
            try:
                code = main(["fit", *arguments, f"--run_dir={run}"])
            finally:
                os._exit(code)
        processes.append(process)
    return processes


def ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill(processes: list[int]) -> None:
    for process in processes:
        os.killpg(process, signal.SIGKILL)
    for process in processes:
        os.waitpid(process, 0)


def wait_for(condition, processes: list[int], seconds: float = PATIENCE) -> bool:
    """Whether it came true before a process ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        if any(ended(p) for p in processes):
            return False
        time.sleep(0.0005)
    return False


def killed_at_a_random_moment(run: Path, processes: list[int], number: int, chance: random.Random) -> bool:
    """Kill a launch: of four in turn one while it starts, one while it writes a checkpoint, two anywhere."""
    folder, kind = run / "checkpoints", number % 4
    last = folder / "last.ckpt"
    before = last.stat().st_mtime_ns if last.is_file() else 0

    def trains() -> bool:
        return last.is_file() and last.stat().st_mtime_ns > before

    if kind == 0:
        time.sleep(chance.uniform(0.0, 1.0))
    elif not wait_for(trains, processes):
        return False
    elif kind == 1:
        if not wait_for(lambda: any(folder.glob(".*.partial")), processes):
            return False
        time.sleep(chance.uniform(0.0, 0.01))
    else:
        time.sleep(chance.uniform(0.0, 0.4))
    if any(ended(p) for p in processes):
        return False
    kill(processes)
    return True


def finish(processes: list[int]) -> None:
    for process in processes:
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, "a run has failed"


def train_and_kill(arguments: list[str], out: Path, kills: int, ranks: int, seed: int) -> dict:
    chance = random.Random(seed)
    found = {"kills": 0, "while writing": 0, "before the first checkpoint": 0, "runs": []}
    while found["kills"] < kills:
        run = out / f"killed{len(found['runs'])}"
        run.mkdir()
        while found["kills"] < kills:
            processes = start([*arguments, "--ckpt_path=last"], run, ranks)
            if not killed_at_a_random_moment(run, processes, found["kills"], chance):
                finish(processes)
                break
            found["kills"] += 1
            found["while writing"] += any((run / "checkpoints").glob(".*.partial"))
            found["before the first checkpoint"] += not (run / "checkpoints" / "last.ckpt").is_file()
        else:
            finish(start([*arguments, "--ckpt_path=last"], run, ranks))
        found["runs"].append(run.name)
    return found


def left_alone(arguments: list[str], run: Path, rank: int) -> int:
    """The exit code of one of two processes when the other is killed."""
    run.mkdir()
    processes = start([*arguments, "--trainer.max_steps=100000"], run, 2)
    survivor, other = processes[rank], processes[1 - rank]
    alive = [survivor, other]
    try:
        assert wait_for((run / "checkpoints" / "last.ckpt").is_file, processes)
        alive.remove(other)
        kill([other])
        assert wait_for(lambda: ended(survivor), [])
        alive.clear()
        return os.waitstatus_to_exitcode(os.waitpid(survivor, 0)[1])
    finally:
        kill(alive)


if __name__ == "__main__":
    # A forked process would copy all that is imported when it looks for garbage.
    gc.freeze()
    asked = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(asked["out"])
    finish(start(asked["arguments"], folder / "whole", asked["ranks"]))
    result = train_and_kill(asked["arguments"], folder, asked["kills"], asked["ranks"], asked["seed"])
    if asked["ranks"] == 2:
        result["left alone"] = [
            left_alone(asked["arguments"], folder / f"alone{rank}", rank) for rank in range(2)
        ]
    (folder / "kills.json").write_text(json.dumps(result))
