"""Peaks are those of the new process; two processes train together, and their rates are added."""

from pathlib import Path

import numpy as np
import pytest
import torch

from partnerface.benchmarks.method_under_test import MethodBuilder, MethodUnderTest
from partnerface.benchmarks.speed import processes
from partnerface.benchmarks.speed.measurement import Duration
from partnerface.benchmarks.speed.processes import (
    PeakMemory,
    in_new_process,
    memory_rows,
    peak_memory,
    render_large,
    scaling_row,
    train_long,
)
from partnerface.benchmarks.speed.training_slices import set_up


def allocate(megabytes: int) -> None:
    np.ones(megabytes * 1_000_000, np.uint8)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc: not Linux")
def test_what_was_freed_still_counts_and_the_parent_does_not():
    parents_own = np.ones(900_000_000, np.uint8)
    small, large = (in_new_process(allocate, megabytes) for megabytes in (1, 300))
    del parents_own
    assert large.resident - small.resident == pytest.approx(0.3, abs=0.05)
    assert large.anonymous - small.anonymous == pytest.approx(0, abs=0.05)


def test_units_of_the_record(tmp_path):
    record = tmp_path / "status"
    record.write_text("Name:\tpython\nVmHWM:\t 2000000 kB\nRssAnon:\t 1000 kB\n")
    peak = peak_memory(record)
    assert peak.resident == pytest.approx(2.048)
    assert peak.anonymous == pytest.approx(0.001024)


def test_without_the_record_the_resource_usage_stands_in(tmp_path):
    peak = peak_memory(tmp_path / "none")
    assert 0.01 < peak.resident < 100
    assert peak.anonymous is None


def test_each_row_is_of_its_own_work_and_target(monkeypatch):
    peaks = {(train_long, "large"): PeakMemory(3.2, 1.1), (render_large, "small"): PeakMemory(1.9, 0.5)}
    monkeypatch.setattr(processes, "in_new_process", lambda work, build: peaks[work, build])
    training, rendering = memory_rows("small", "large")
    assert (training.value, training.holds) == (3.2, False)
    assert training.details == {"anonymous_gb_at_end": 1.1}
    assert (rendering.value, rendering.holds) == (1.9, True)


def test_the_work_is_what_it_says(build_tiny, monkeypatch):
    """Small stand-ins for the sizes: every training frame is visited, and the frame is as large as said."""
    monkeypatch.setattr(processes, "LONG_FRAMES", 30)
    monkeypatch.setattr(processes, "LONG_SIZE", 32)
    monkeypatch.setattr(processes, "LARGE_FRAME_SIZE", 24)
    built = []

    def build(method: str, *flags: str):
        root = build_tiny("part_deformation").data.reader.root
        built.append(build_tiny(method, *flags, f"--data.reader.init_args.root={root}"))
        return built[-1]

    train_long(build)
    assert len(built[0].data.sequence) == 30
    assert built[0].module.trainer.global_step * 2 >= len(built[0].data.train_frames)
    rendered = []
    monkeypatch.setattr(processes, "rendering_time", lambda method, view: rendered.append(view.camera))
    render_large(build)
    assert [(camera.width, camera.height) for camera in rendered] == [(24, 24)]


@pytest.fixture
def tiny_build(synthetic_dataset: Path) -> MethodBuilder:
    """One that other processes can be handed."""
    grids = ("--model.avatar.sampler.init_args.cells=32", "--model.avatar.field.init_args.log2_table_size=12")
    return MethodBuilder(synthetic_dataset, "--data.rays_per_frame=64", "--data.image_size=32", *grids)


def test_rates_are_those_of_all_processes_together(tiny_method: MethodUnderTest, monkeypatch) -> None:
    wall = iter([0.1, 0.125, 0.2, 0.2])
    asked = []

    def measured(processes: int, build, name: str, weights: Path, steps: int) -> Duration:
        asked.append(processes)
        assert torch.load(weights, weights_only=True).keys()
        return Duration(next(wall), 1.0)

    monkeypatch.setattr(processes, "_in_processes", measured)
    row = scaling_row(None, tiny_method, rounds=2, steps=3)
    assert asked == [1, 2, 1, 2]
    assert row.samples == pytest.approx([1.6, 2.0])
    assert row.details["rays_per_second"]["2 processes"] == pytest.approx([2048, 1280])
    assert row.holds
    assert not row.target.holds(1.79)


@pytest.mark.slow
def test_two_processes_train_from_given_weights(tiny_build: MethodBuilder, tmp_path: Path) -> None:
    method = tiny_build("part_deformation")
    set_up(method)
    torch.save(method.module.avatar.state_dict(), tmp_path / "avatar.pt")
    task = tiny_build, "part_deformation", tmp_path / "avatar.pt", 2
    step = processes._in_processes(2, *task)
    assert step.wall > 0
    assert step.cpu > 0
