"""The section ``tests``: the checkout's tests that need a GPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import partnerface
from partnerface.benchmarks.gpu.bench import GpuBench
from partnerface.benchmarks.speed.measurement import ResultRow, Target
from partnerface.runs.run import REASON_LENGTH


def gpu_tests(bench: GpuBench) -> Iterator[ResultRow]:
    """The checkout's tests that are marked ``gpu``, while the frames of the clip are rendered on the CPU.

    Raises:
        RuntimeError: pytest itself failed.
    """
    checkout = Path(partnerface.__file__).parents[1]
    if reason := _missing_for_tests(checkout):
        bench.clip()
        yield ResultRow("tests_failed", None, "tests", Target("<=", 0), reason)
        return
    found = (bench.out / "tests.xml").absolute()
    found.unlink(missing_ok=True)
    words = [sys.executable, "-m", "pytest", "tests", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    # Leaving the block waits for the tests.
    with subprocess.Popen([*words, f"--junitxml={found}"], cwd=checkout) as tests:
        bench.clip()
    if tests.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with code {tests.returncode}, see above")
    yield from junit_rows(found.read_text())


def _missing_for_tests(checkout: Path) -> str | None:
    if not (checkout / "tests" / "contracts").is_dir():
        return "no checkout: the tests come with the repository"
    needed = ("pytest", "hypothesis", "beartype", "scipy")
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        return f"{missing[0]} is not installed; run: pip install 'partnerface[test]'"
    return None


def junit_rows(junit_xml: str) -> list[ResultRow]:
    """Numbers of tests that failed, passed and were left out, and the first failure, of a JUnit report."""
    failures: list[str] = []
    skipped, cases = 0, list(ElementTree.fromstring(junit_xml).iter("testcase"))
    for case in cases:
        skipped += case.find("skipped") is not None
        for kind in ("failure", "error"):
            if (found := case.find(kind)) is not None:
                line = " ".join(found.get("message", "").split())[:REASON_LENGTH]
                failures.append(f"{case.get('classname')}.{case.get('name')}: {line}")
    note = f"pytest -m gpu{'; first: ' + failures[0] if failures else ''}"
    details = {"failures": failures}
    passed = len(cases) - len(failures) - skipped
    return [
        ResultRow("tests_failed", len(failures), "tests", Target("<=", 0), note, details=details),
        ResultRow("tests_passed", passed, "tests", Target(">=", 1), note),
        ResultRow("tests_left_out", skipped, "tests", None, note),
    ]
