"""Two processes against one: what is worked out from the steps, and that processes do train together."""

from pathlib import Path

import pytest
import torch

from partnerface.benchmarks.method_under_test import MethodBuilder, MethodUnderTest
from partnerface.benchmarks.speed import process_scaling
from partnerface.benchmarks.speed.interleaving import Duration
from partnerface.benchmarks.speed.process_scaling import ProcessTask, scaling_row
from partnerface.benchmarks.speed.training_slices import set_up


@pytest.fixture
def tiny_build(synthetic_dataset: Path) -> MethodBuilder:
    """One that other processes can be handed."""
    grids = ("--model.avatar.sampler.init_args.cells=32", "--model.avatar.field.init_args.log2_table_size=12")
    return MethodBuilder(synthetic_dataset, "--data.rays_per_frame=64", "--data.image_size=32", *grids)


def test_rates_are_those_of_all_processes_together(tiny_method: MethodUnderTest, monkeypatch) -> None:
    wall = iter([0.1, 0.125, 0.2, 0.2])
    asked = []

    def measured(task: ProcessTask, processes: int) -> Duration:
        asked.append(processes)
        assert torch.load(task.weights, weights_only=True).keys()
        return Duration(next(wall), 1.0)

    monkeypatch.setattr(process_scaling, "_in_processes", measured)
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
    port = process_scaling._free_port()
    task = ProcessTask(tiny_build, "part_deformation", tmp_path / "avatar.pt", 2, port)
    step = process_scaling._in_processes(task, 2)
    assert step.wall > 0
    assert step.cpu > 0
