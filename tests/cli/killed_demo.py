"""Runs `demo` in forked processes and kills it (SIGKILL) in each of its stages; run as a script.

usage: killed_demo.py OUT
"""

import gc
import os
import signal
import sys
import time
from pathlib import Path

import partnerface.configuration.avatar_cli  # noqa: F401 (imported before forking)
from partnerface.animation import run_animation
from partnerface.cli.main import main
from partnerface.configuration import avatar_run
from partnerface.result_page import expression_sheet

FLAGS = [
    "--trainer.max_steps=30",
    "--trainer.limit_val_batches=0",
    "--trainer.accelerator=cpu",
    "--data.reader.init_args.frames=24",
    "--data.rays_per_frame=64",
    "--model.avatar.sampler.init_args.cells=32",
    "--model.avatar.field.init_args.log2_table_size=12",
]


def small_fit(arguments: list[str]) -> object:
    words = [*arguments, *FLAGS] if arguments[0] == "fit" else arguments
    return original(words)


def start(out: Path) -> int:
    process = os.fork()
    if process == 0:
        with open(out.with_suffix(".log"), "ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        code = 1
        try:
            # A budget that no machine exhausts: steps end the training, the same for all.
            code = main(["demo", "--out", str(out), "--size", "32", "--minutes", "600"])
        finally:
            os._exit(code)
    return process


def kill_when(out: Path, condition) -> None:
    process = start(out)
    while not condition():
        assert os.waitpid(process, os.WNOHANG)[0] == 0, "it ended before the moment came"
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


if __name__ == "__main__":
    # A forked process would copy all that is imported when it looks for garbage.
    gc.freeze()
    run_animation.ACTION_FRAMES = run_animation.ORBIT_FRAMES = 2
    expression_sheet.DENSITIES = expression_sheet.DENSITIES[-1:]
    original, avatar_run.run_trainer_command = avatar_run.run_trainer_command, small_fit
    killed, whole = (Path(sys.argv[1]) / name for name in ("killed", "whole"))
    last = killed / "checkpoints" / "last.ckpt"
    moments = {
        "folder made": killed.exists,
        "rendering the dataset": lambda: any(killed.glob(".dataset.*.partial")),
        "before training": (killed / "config.yaml").is_file,
        "last step saved": last.is_file,
        "animation": lambda: any(killed.glob("animation.mp4.frames/rgb/0*.png")),
        "test": lambda: (killed / "comparison.mp4").is_file(),
    }
    for name, condition in moments.items():
        print(name, flush=True)
        kill_when(killed, condition)
    for out in (killed, whole):
        assert os.waitstatus_to_exitcode(os.waitpid(start(out), 0)[1]) == 0, out
