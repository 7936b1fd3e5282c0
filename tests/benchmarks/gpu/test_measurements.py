"""What the sections count and compare, against counts and differences that are known."""

import shutil
import types
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from partnerface.benchmarks.gpu import equality as equality_section
from partnerface.benchmarks.gpu import throughput, waits
from partnerface.benchmarks.gpu.bench import REHEARSAL, WEIGHTS_FILE, GpuBench
from partnerface.benchmarks.gpu.checkout_tests import junit_rows
from partnerface.benchmarks.gpu.equality import equality, relative
from partnerface.benchmarks.gpu.sections import RESULT_FILE, SECTIONS, Section, measure
from partnerface.benchmarks.gpu.throughput import convergence, convergence_row, training
from partnerface.benchmarks.speed.measurement import ResultRow
from partnerface.errors import UserError
from partnerface.files.plain_values import read_json_table

TINY = replace(REHEARSAL, rounds=1, steps=1)


@pytest.fixture(scope="module")
def bench(synthetic_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> GpuBench:
    out = tmp_path_factory.mktemp("gpu")
    shutil.copytree(synthetic_dataset, out / "subject")
    return GpuBench(out, "cpu", TINY)


def test_the_same_device_is_equal_to_itself_to_the_bit(bench) -> None:
    rows = {row.name: row for row in equality(bench)}
    assert len(rows) == 5
    assert {row.value for row in rows.values()} == {0.0}
    gradients = rows["equality_gradients"].details
    assert len(gradients) > 10
    assert not any(np.isnan(value) for row in rows.values() for value in row.details.values())


def test_a_device_that_computes_otherwise_is_seen(bench, monkeypatch) -> None:
    """The second of both is off by 1 % in its gradients and by 0.5 in a quarter of its colours."""
    real, calls = equality_section.step_values, []

    def step_values(method, batch, device: str) -> dict[str, torch.Tensor]:
        values = real(method, batch, device)
        if calls:
            values = {k: 1.01 * v if k.startswith("gradients") else v for k, v in values.items()}
            values["colours"][:, ::4] += 0.5
        calls.append(device)
        return values

    monkeypatch.setattr(equality_section, "step_values", step_values)
    rows = {row.name: row for row in equality(GpuBench(bench.out, "cpu", TINY))}
    assert rows["equality_gradients"].value == pytest.approx(0.01, rel=1e-3)
    assert rows["equality_colours"].value == pytest.approx(0.125, rel=1e-4)
    assert rows["equality_colours"].details["largest"] == pytest.approx(0.5, rel=1e-4)
    assert rows["equality_statistics"].value == 0


def test_relative_differences_against_numpy() -> None:
    found, expected = np.random.default_rng(0).normal(size=(2, 50))
    known = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert relative(torch.from_numpy(found), torch.from_numpy(expected)) == pytest.approx(known)
    assert relative(torch.zeros(3), torch.zeros(3)) == 0
    assert relative(torch.ones(3), torch.zeros(3)) == 1


def test_the_profiler_counts_the_operations_of_one_repetition() -> None:
    """Two of them, of which one calls others; what happens once, before and after, does not count."""

    def work(count: int, watch) -> None:
        values = torch.ones(3, 3)
        with watch:
            values.exp()
            for _ in range(count):
                torch.nn.functional.linear(values, values)
                values.mul(2)

    assert waits.counts_of_one(work)[waits.OPERATIONS] == 2


def _event(name: str, on_device: bool = False, parent: str | None = None, annotation: bool = False):
    kinds = torch.autograd.DeviceType
    return types.SimpleNamespace(
        name=name,
        device_type=kinds.CUDA if on_device else kinds.CPU,
        cpu_parent=parent and types.SimpleNamespace(name=parent),
        is_user_annotation=annotation,
    )


def test_events_of_a_gpu() -> None:
    """As torch.profiler names them on one."""
    events = [
        _event("aten::item"),
        _event("aten::_local_scalar_dense", parent="aten::item"),
        _event("cudaMemcpyAsync", parent="aten::_local_scalar_dense"),
        _event("cudaStreamSynchronize", parent="aten::_local_scalar_dense"),
        _event("Memcpy DtoH (Device -> Pageable)", on_device=True),
        _event("Memcpy HtoD (Pinned -> Device)", on_device=True),
        _event("Memset (Device)", on_device=True),
        _event("aten::mul", parent="MulBackward0"),
        _event("cudaLaunchKernel", parent="aten::mul"),
        _event("void at::native::vectorized_elementwise_kernel<4>", on_device=True),
        _event("_sample_cuda_kernel_forward", on_device=True),
        _event("Optimizer.step#AdamW.step", on_device=True, annotation=True),
        _event("cudaDeviceSynchronize"),
    ]
    assert waits.count_events(events) == {
        "cudaStreamSynchronize": 1,
        "cudaDeviceSynchronize": 1,
        waits.COPY_TO_HOST: 1,
        waits.KERNELS: 2,
        waits.OPERATIONS: 2,
    }


def test_lines_that_wait_are_those_that_torch_warns_of(monkeypatch) -> None:
    modes = ["default"]
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def work(count: int, watch) -> None:
        def read() -> None:
            if modes[-1] == "warn":
                warnings.warn("called a synchronizing CUDA operation", stacklevel=2)

        read()
        with watch:
            read()
            for _ in range(count):
                warnings.warn("something else", stacklevel=1)
                read()
                read()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = waits.waiting_lines(work)
    assert list(found.values()) == [1.0, 1.0]
    assert all("test_measurements.py:" in place for place in found)
    assert modes[-1] == "default"


def test_seconds_until_the_score_is_near_its_end(bench) -> None:
    """Between 10 and 40 s it gains 2 dB; at 29.9, half of the way in the logarithm, it is at 20 s."""
    curve = [(10.0, 28.9), (40.0, 30.9), (160.0, 30.0)]
    row = convergence_row("convergence", curve, bench, 512, "")
    assert row.value == pytest.approx(20.0)
    assert row.details["curve"][-1] == [160.0, 30.0]
    assert convergence_row("convergence", curve[:1], bench, 512, "").value == 10.0


def test_without_time_for_a_training_it_says_so(bench) -> None:
    with pytest.raises(UserError, match="too little of --minutes"):
        next(convergence(replace(bench, deadline=0.0), "gpu"))


def test_full_memory_costs_one_batch_size(bench, monkeypatch) -> None:
    real = throughput.train_steps

    def train_steps(method, *arguments, **options) -> None:
        if method.data.rays_per_frame == 64:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")
        real(method, *arguments, **options)

    monkeypatch.setattr(throughput, "train_steps", train_steps)
    rows = [(row.name, row.value is None) for row in training(bench)]
    assert ("training_step_2x32", False) in rows
    assert ("training_rays_per_second_2x64", True) in rows
    assert rows[-1] == ("pruning_of_a_step", False)
    # Later sections measure with its weights.
    assert (bench.out / WEIGHTS_FILE).is_file()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate"),
            "OutOfMemoryError: CUDA out of memory. Tried",
        ),
        (
            RuntimeError("CUDA error: an illegal memory access\n\nCompile with"),
            "RuntimeError: CUDA error: an illegal memory access",
        ),
        (UserError("too little time"), "too little time"),
        (KeyError(), "KeyError: "),
    ],
)
def test_a_section_that_fails_is_a_line_and_keeps_its_rows(
    tmp_path, monkeypatch, capsys, error, line
) -> None:
    def section(bench: GpuBench):
        yield ResultRow("first", 1.0, "x")
        raise error

    monkeypatch.setitem(SECTIONS, "training", Section(section, 1.0))
    (tmp_path / "training").mkdir()
    assert measure("training", GpuBench(tmp_path, "cpu", TINY)) == line
    found = read_json_table(tmp_path / "training" / RESULT_FILE, "")
    assert [row["name"] for row in found["rows"]] == ["first"]
    assert found["done"] is False
    assert ("Traceback" in capsys.readouterr().err) is not isinstance(error, UserError)


JUNIT = """<testsuites><testsuite>
<testcase classname="tests.a" name="fine"/>
<testcase classname="tests.a" name="other"/>
<testcase classname="tests.a" name="none"><skipped message="no device"/></testcase>
<testcase classname="tests.b" name="wrong"><failure message="assert 1 == 2&#10; and more"/></testcase>
<testcase classname="tests.b" name="broken"><error message="no fixture"/></testcase>
</testsuite></testsuites>"""


def test_rows_of_a_test_report() -> None:
    failed, passed, left_out = junit_rows(JUNIT)
    assert (failed.value, passed.value, left_out.value) == (2, 2, 1)
    assert failed.holds is False
    assert failed.note == "pytest -m gpu; first: tests.b.wrong: assert 1 == 2 and more"
    assert junit_rows("<testsuites/>")[1].holds is False
