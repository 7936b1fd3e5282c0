"""Where a measured number comes from: command, commit and machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import partnerface


def environment() -> dict[str, Any]:
    """Command line, version, commit and machine of this process, as a table for JSON."""
    return {
        "command": " ".join(["partnerface", *sys.argv[1:]]),
        "version": partnerface.__version__,
        "commit": _commit(),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "load_at_start": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
            "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


def _commit() -> str | None:
    """Short commit of the checkout, a plus if tracked files were changed; None for an installed wheel."""
    folder = Path(partnerface.__file__).parent

    def git(*arguments: str) -> str:
        ended = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return ended.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent:
            return None
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
