"""DeviceReport: what the pretended CUDA device saw, each kind by its place in the source."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch

import partnerface

PACKAGE = f"{Path(partnerface.__file__).parent}{os.sep}"
TORCH = f"{Path(torch.__file__).parent}{os.sep}"
UNNAMED = (TORCH, str(Path(__file__).with_name("pretended_")), f"{PACKAGE}compute{os.sep}warp_launch.py")
"""Files of which no line is named: torch's, those of the pretended device, and where all kernels pass."""

INSTALLED = f"{os.sep}site-packages{os.sep}"

Seen = tuple[str, str]
"""What happened, and where."""


@dataclass
class DeviceReport:
    """Counters of what happened on the pretended device.

    Attributes:
        mixing: what a CUDA device refuses, or what makes it read memory that is not its own.
        waits: the host waited for the device.
        races: work of one stream was used on another, without a wait in between.
        operations: torch operations for which a device runs a kernel.
        launches: Warp kernels, and refits of Warp's meshes.
        strict: raise at ``mixing``, as CUDA does, rather than count it and go on.
    """

    mixing: Counter[Seen] = field(default_factory=Counter)
    waits: Counter[Seen] = field(default_factory=Counter)
    races: Counter[Seen] = field(default_factory=Counter)
    operations: Counter[Seen] = field(default_factory=Counter)
    launches: Counter[Seen] = field(default_factory=Counter)
    strict: bool = False

    def clear(self) -> None:
        """Forget all that was counted."""
        for counter in (self.mixing, self.waits, self.races, self.operations, self.launches):
            counter.clear()

    def copy(self) -> DeviceReport:
        """The same numbers, which do not change any more."""
        counters = (self.mixing, self.waits, self.races, self.operations, self.launches)
        return DeviceReport(*(Counter(counter) for counter in counters), self.strict)

    def refuse(self, what: str, error: type[Exception] = RuntimeError) -> None:
        """Count an instance of `mixing`.

        Raises:
            Exception: it, of the class ``error``, if the report is strict.
        """
        self.mixing[what, place()] += 1
        if self.strict:
            raise error(what)

    def text(self) -> str:
        """Totals; below them the waits by place, and where most operations and launches come from."""
        rows = [
            f"{self.waits.total()} waits of the host, {self.operations.total()} torch operations, "
            f"{self.launches.total()} Warp launches"
        ]
        for name in ("mixing", "races", "waits"):
            found = sorted(getattr(self, name).items(), key=lambda item: (item[0][1], item[0][0]))
            rows += [f"  {name:6} {count:4}  {what:34} {where}" for (what, where), count in found]
        files, kernels = Counter[str](), Counter[str]()
        for (_, where), count in self.operations.items():
            files[where.partition(":")[0]] += count
        for (kernel, _), count in self.launches.items():
            kernels[kernel] += count
        rows.append("  operations: " + _in_order(files))
        rows.append("  launches: " + _in_order(kernels))
        return "\n".join(rows)


REPORT = DeviceReport()
"""Of the device of this process; there is only one."""


def in_backward() -> bool:
    """Whether this is a thread that autograd started, in which it runs backward on a device."""
    return isinstance(threading.current_thread(), threading._DummyThread)


def place() -> str:
    """The innermost line of the package, with that of another library that it called; else the caller's."""
    frame, innermost = sys._getframe(1), ""
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(UNNAMED):
            here = f":{frame.f_lineno} {frame.f_code.co_name}"
            if name.startswith(PACKAGE):
                return f"{name.removeprefix(PACKAGE)}{here}" + (f" > {innermost}" if innermost else "")
            short = name.rpartition(INSTALLED)[2] if INSTALLED in name else Path(name).name
            innermost = innermost or f"{short}{here}"
        frame = frame.f_back
    return "backward" if in_backward() else innermost or "elsewhere"


def _in_order(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common(12))
