"""The pretended device, tiny runs on it, and tables of what it counted, printed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from partnerface.benchmarks.method_under_test import OURS
from partnerface.cli.main import main
from partnerface.configuration.config_files import config_arguments
from tests.cuda.pretended_device import pretended_cuda, unavailable
from tests.cuda.pretended_report import DeviceReport

_TABLES = pytest.StashKey[dict[str, str]]()

SMALL_PARTS = {
    "nerface": (
        "--model.avatar.init_args.layers=2",
        "--model.avatar.init_args.hidden_width=16",
        "--model.avatar.sampler.init_args.samples=8",
        "--model.avatar.init_args.importance=8",
    ),
}
SMALL_GRIDS = (
    "--model.avatar.sampler.init_args.cells=32",
    "--model.avatar.field.init_args.log2_table_size=12",
)
TWO_TEST_FRAMES, ONE_TEST_FRAME = 0.34, 0.2
"""Of six. As a share: whether 1 is a number of batches or all of them, depends on what was imported first."""

PRUNING = (
    "--trainer.callbacks+={class_path: partnerface.training.callbacks.refresh_occupancy.RefreshOccupancy, "
    "init_args: {start_step: 1, every_steps: 1, visits: 512}}"
)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLES] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (reason := unavailable()) is not None:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"no pretended device: {reason}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for title, text in config.stash[_TABLES].items():
        terminalreporter.write_line(f"{title}: {text}\n")


@pytest.fixture(scope="session")
def show(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """Prints a titled text at the end."""
    return pytestconfig.stash[_TABLES].__setitem__


@pytest.fixture
def cuda() -> Iterator[DeviceReport]:
    """The device, which raises at what CUDA would refuse."""
    with pretended_cuda() as report:
        yield report
        assert not report.mixing
        assert not report.races


@pytest.fixture
def noting_cuda() -> Iterator[DeviceReport]:
    """The device, which only notes what CUDA would refuse."""
    with pretended_cuda(strict=False) as report:
        yield report


@pytest.fixture(scope="session")
def arguments(synthetic_dataset: Path) -> Callable[..., list[str]]:
    """A command line of a tiny run of a method on the device, without its command."""

    def of_method(method: str, run: Path, *flags: str) -> list[str]:
        reader = "--data.reader.init_args"
        return [
            *config_arguments("base", f"method/{method}", "head_model/anny", "data/synthetic", "scale/smoke"),
            *(f"{reader}.root={synthetic_dataset}", f"{reader}.frames=24", f"{reader}.size=32"),
            *("--data.rays_per_frame=48", f"--trainer.limit_test_batches={TWO_TEST_FRAMES}"),
            "--data.predict_frames=val",
            *SMALL_PARTS.get(method, SMALL_GRIDS),
            *("--trainer.accelerator=cuda", "--result_page=false", f"--run_dir={run}", *flags),
        ]

    return of_method


@pytest.fixture(scope="session")
def fitted(
    arguments: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The checkpoint of a run of a method, fitted on the device when it is first asked for."""
    runs: dict[str, Path] = {}

    def run_of(method: str = OURS) -> Path:
        if method not in runs:
            run = tmp_path_factory.mktemp(method) / "run"
            flags = PRUNING, "--trainer.max_steps=4", "--trainer.val_check_interval=4"
            with pretended_cuda() as report:
                assert main(["fit", *arguments(method, run, *flags)]) == 0
                assert not report.races
            runs[method] = run / "checkpoints" / "last.ckpt"
        return runs[method]

    return run_of
