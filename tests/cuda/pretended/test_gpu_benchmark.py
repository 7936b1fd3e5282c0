"""Sections of `benchmark gpu` on the pretended device: they run there, and find it equal to the CPU."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from partnerface.benchmarks.gpu import sections, throughput, waits
from partnerface.benchmarks.gpu.bench import REHEARSAL, GpuBench
from partnerface.benchmarks.gpu.sections import RESULT_FILE, SECTIONS, measure
from partnerface.training import recorded_step

ELSEWHERE = {"tests", "training", "nerface", "convergence_gpu_full"}
"""Sections that run what others run, with another method or size, or these tests."""


@pytest.fixture(scope="module")
def bench(synthetic_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> GpuBench:
    """A bench on the device, whose first section leaves the weights for the others."""
    out = tmp_path_factory.mktemp("gpu")
    shutil.copytree(synthetic_dataset, out / "subject")
    return GpuBench(
        out, "cuda", replace(REHEARSAL, rounds=1, steps=1, pictures=(12, 16), training_seconds=0.5)
    )


@pytest.mark.parametrize("name", [name for name in SECTIONS if name not in ELSEWHERE])
def test_a_section_on_the_device(cuda, bench, name, monkeypatch):
    facts = {"name": "a pretended GPU", "torch": torch.__version__, "warp": ""}
    monkeypatch.setattr(sections, "device_facts", lambda device: facts)
    for module in (throughput, waits):
        monkeypatch.setattr(module, "WARM_UP", 2)
    monkeypatch.setattr(recorded_step, "WARM_UP_STEPS", 1)
    (bench.out / name).mkdir()
    assert measure(name, bench) is None
    found = json.loads((bench.out / name / RESULT_FILE).read_text())
    assert found["done"]
    assert cuda.operations
    rows = {row["name"]: row["value"] for row in found["rows"]}
    if name == "equality":
        assert max(rows.values()) < 1e-4
    elif name == "waits":
        # Its profiler knows nothing of the device, and says so.
        assert rows["waits_step_2x64"] is None
        assert rows["operations_step_2x64"] > 100
    elif name == "memory":
        assert all(value >= 0 for value in rows.values())
    else:
        assert all(value > 0 for value in rows.values())
