"""The sections of `benchmark gpu`, each a run of its own, and what their processes do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import warp as wp

from partnerface.benchmarks.gpu.bench import REHEARSAL, GpuBench, GpuEffort
from partnerface.benchmarks.gpu.checkout_tests import gpu_tests
from partnerface.benchmarks.gpu.equality import equality
from partnerface.benchmarks.gpu.throughput import convergence, memory, nerface, profile, rendering, training
from partnerface.benchmarks.gpu.waits import waits
from partnerface.benchmarks.method_under_test import without_notices
from partnerface.benchmarks.speed.measurement import ResultRow
from partnerface.compute.process_settings import mark_command
from partnerface.errors import UserError
from partnerface.files.plain_values import read_json_table
from partnerface.files.whole_files import replace_text
from partnerface.runs.results import environment
from partnerface.runs.run import REASON_LENGTH, Run

RESULT_FILE = "result.json"
COMMAND = "partnerface benchmark gpu"


@dataclass(frozen=True)
class Section:
    """What one process measures.

    Attributes:
        measure: yields rows; those that it has yielded are kept when it fails.
        seconds: the longest that it may take; None for no bound.
        on_cpu: whether a rehearsal without a GPU tries it.
        share: share of the time that is left when it starts.
    """

    measure: Callable[[GpuBench], Iterator[ResultRow]]
    seconds: float | None
    on_cpu: bool = True
    share: float = 1.0


SECTIONS = {
    "tests": Section(gpu_tests, 120, on_cpu=False),
    "equality": Section(equality, 60, on_cpu=False),
    "training": Section(training, 75),
    "cuda_graphs": Section(partial(training, recorded=True), 60, on_cpu=False),
    "nerface": Section(nerface, 45),
    "rendering": Section(rendering, 45),
    "profile": Section(profile, 45),
    "memory": Section(memory, 45, on_cpu=False),
    "waits": Section(waits, 45, on_cpu=False),
    "convergence_gpu": Section(partial(convergence, scale="gpu"), None, share=1 / 3),
    "convergence_gpu_full": Section(partial(convergence, scale="gpu_full"), None),
}
"""By name, in their order."""
TYPICAL_SECONDS = 20.0


class SectionRun(Run):
    """The process of a section; its rows are in ``result.json`` of its folder.

    Args:
        name: a key of `SECTIONS`.
        out: folder of all sections of a device.
        device: ``cuda``, or ``cpu`` for a rehearsal.
        deadline: when all sections have to be done, on the clock of ``time.monotonic``.
    """

    metric = "result"

    def __init__(self, name: str, out: Path, device: str, deadline: float) -> None:
        self.name, self.out, self.device, self.deadline = name, out, device, deadline
        self.folder = out / name
        self.parameters = {"section": name, "device": device}
        short = device == "cpu" or SECTIONS[name].seconds is not None
        self.expected_seconds = TYPICAL_SECONDS if short else self.limit_seconds

    @property
    def title(self) -> str:
        return self.name

    @property
    def remaining_command(self) -> list[str]:
        words = [sys.executable, "-m", __name__, self.name, str(self.out), self.device]
        return [*words, f"{self.limit_seconds:g}"]

    @property
    def limit_seconds(self) -> float:
        """Seconds that the section may take if it starts now."""
        section = SECTIONS[self.name]
        left = section.share * max(self.deadline - time.monotonic(), 0.0)
        return left if section.seconds is None else min(section.seconds, left)

    def prepare(self) -> None:
        super().prepare()
        (self.folder / RESULT_FILE).unlink(missing_ok=True)

    def found(self) -> dict[str, Any]:
        """Rows, their environment and device, and whether they are all; empty before the first row."""
        path = self.folder / RESULT_FILE
        return read_json_table(path, "remove it") if path.is_file() else {}

    def value(self) -> float | None:
        return 1.0 if self.found().get("done") else None

    def result(self) -> str:
        rows = self.found()["rows"]
        missed = sum(row["holds"] is False for row in rows)
        return f"{len(rows)} rows" + (f", {missed} targets missed" if missed else "")

    def failure(self) -> str:
        attempts = self.attempts()
        if attempts is None or attempts.exit_code is None:
            return "interrupted"
        last = super().failure() if attempts.exit_code else "no result"
        if attempts.exit_code < 0 and not last.startswith("stopped after"):
            return f"ended by {signal.Signals(-attempts.exit_code).name}; its last line: {last}"
        return last


def planned_sections(out: Path, device: str, minutes: float) -> list[SectionRun]:
    """A run for each section that can be measured on the device, in order."""
    deadline = time.monotonic() + 60 * minutes
    names = [name for name, section in SECTIONS.items() if section.on_cpu or device == "cuda"]
    return [SectionRun(name, out, device, deadline) for name in names]


def device_facts(device: str) -> dict[str, Any]:
    """What the device is called, and the versions of all that it runs with."""
    facts: dict[str, Any] = {"name": device, "torch": torch.__version__, "warp": wp.__version__}
    if device != "cuda":
        return facts
    major, minor = torch.cuda.get_device_capability()
    return facts | {
        "name": torch.cuda.get_device_name(),
        "capability": f"{major}.{minor}",
        "memory_gb": torch.cuda.mem_get_info()[1] / 1e9,
        "torch_cuda": torch.version.cuda,
        "warp_cuda": ".".join(map(str, wp.get_cuda_toolkit_version() or ())),
        "driver_cuda": ".".join(map(str, wp.get_cuda_driver_version() or ())),
        "driver": _driver(),
    }


def _driver() -> str | None:
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def measure(name: str, bench: GpuBench) -> str | None:
    """Measure a section and write its rows, each when it is there; returns why it failed, in one line."""
    path = bench.out / name / RESULT_FILE
    here = environment() | {"command": COMMAND, "device": device_facts(bench.device)}
    rows: list[dict[str, Any]] = []

    def save(done: bool) -> None:
        replace_text(path, json.dumps(here | {"rows": rows, "done": done}, indent=1) + "\n")

    try:
        with without_notices():
            for row in SECTIONS[name].measure(bench):
                rows.append(row.as_json())
                save(done=False)
        save(done=True)
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        return f"{kind}{lines[0]}"[:REASON_LENGTH]
    return None


def main(words: Sequence[str]) -> None:
    """The process of a section: its name, the folder, the device and the seconds that it may take."""
    name, out, device, seconds = words
    mark_command()
    effort = REHEARSAL if device == "cpu" else GpuEffort()
    bench = GpuBench(Path(out), device, effort, time.monotonic() + float(seconds))
    reason = measure(name, bench)
    if reason is not None:
        print(reason, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # A broken CUDA context can hang at the exit of the interpreter.
    os._exit(0 if reason is None else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
