"""The command ``benchmark``: how fast, how large and how soon, on this machine."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from partnerface.cli.config_files import CONFIGS, config_arguments
from partnerface.user_error import UserError

if TYPE_CHECKING:
    from partnerface.benchmarks.method_under_test import MethodUnderTest

SUITES = ("speed",)
FRAMES, SIZE, LARGE_SIZE = 24, 128, 512
LONG_FRAMES = 240
"""Of the clip that convergence is measured on: the embedded subject as the demo shows it."""

HEAD_RAYS = (
    '--data.pixel_sampler={"class_path": "partnerface.data.pixel_samplers.RegionWeightedPixels", '
    '"init_args": {"background": 0, "face": 1, "eyes": 1, "mouth": 1, "hair": 1, "neck": 0, "torso": 0, '
    '"uniform_share": 0}}'
)
"""Every ray hits the head: rays that miss cost next to nothing and would flatter the figures."""


def benchmark(
    suite: str,
    json: Path | None = None,
    out: Path = Path("runs/benchmark"),
    quick: bool = False,
    threads: int = 2,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    memory: bool = False,
    quality: bool = False,
    convergence: bool = False,
) -> None:
    """Measure this installation on this machine, on the embedded subject.

    Args:
        suite: what to measure: ``speed``.
        json: file of the results, by default ``OUT/speed.json``.
        out: folder of the figures and of the rendered subject, which a second run reuses.
        quick: fewer repetitions and no growth curves; under a minute on two idle cores.
        threads: CPU threads in training.
        device: ``auto`` measures on a CUDA device too, if there is one; ``cuda`` insists on it.
        memory: weigh a long clip and a large frame too; needs 5 GB of disk and some minutes.
        quality: train three seeds with and without each saving too, a quarter of an hour; interrupted, a
            second run with the same ``json`` goes on with the next training.
        convergence: train every method for 60 and for 600 CPU seconds too; interrupted, a second run
            with the same ``json`` goes on with the next training as well.
    """
    if suite not in SUITES:
        raise UserError(f"benchmark {suite}: there is no such suite; choose {', '.join(SUITES)}")
    if threads < 1:
        raise UserError(f"--threads {threads}: must be 1 or more")
    # Imported here: --help need not wait for torch.
    from partnerface.benchmarks.environment import environment
    from partnerface.benchmarks.speed_report import SpeedReport
    from partnerface.benchmarks.speed_suite import (
        QUICK,
        Effort,
        SpeedOptions,
        SpeedSuite,
        check_device,
        print_report,
    )
    from partnerface.cli.avatar_cli import require_writable

    cuda, out = check_device(device), Path(out)
    require_writable(out)
    report = SpeedReport(Path(json) if json else out / "speed.json", environment())
    options = SpeedOptions(out=out, effort=QUICK if quick else Effort(), threads=threads, cuda=cuda)
    with _without_notices():
        measured = SpeedSuite(subject(out / "subject", FRAMES, SIZE, HEAD_RAYS), options, report)
        measured.run()
        if memory:
            measured.run_memory(_large_subject(out))
        long = subject(out / "long_subject", LONG_FRAMES, SIZE) if quality or convergence else None
        if quality:
            measured.run_quality(long)
        if convergence:
            measured.run_convergence(method_names(), long, _large_subject(out) if cuda else None)
    print_report(report)
    print(f"  {report.path}")


def method_names() -> list[str]:
    """Every method that has a configuration file, ours first."""
    names = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
    return sorted(names, key=lambda name: name != "part_deformation")


def subject(root: Path, frames: int, size: int, *flags: str) -> MethodBuilder:
    """Builds methods on the embedded subject, whose frames are rendered into ``root`` if need be."""
    from partnerface.data.readers.synthetic import SyntheticReader

    SyntheticReader(root, frames=frames, size=size).read()
    return MethodBuilder(root, *flags)


def _large_subject(out: Path) -> MethodBuilder:
    return subject(out / "large_subject", FRAMES, LARGE_SIZE)


class MethodBuilder:
    """Builds methods from the shipped configuration files, as ``partnerface fit`` does.

    Args:
        root: the dataset's folder.
        flags: flags of ``partnerface fit`` for every one.
    """

    def __init__(self, root: Path, *flags: str) -> None:
        self.root, self.flags = root, flags

    def __call__(self, method: str, *flags: str) -> MethodUnderTest:
        from partnerface.benchmarks.method_under_test import MethodUnderTest
        from partnerface.cli.avatar_cli import AvatarCLI
        from partnerface.training.callbacks.refresh_occupancy import RefreshOccupancy

        _silence_notices()
        names = ("base", f"method/{method}", "head_model/anny", "data/partnerface", "scale/demo")
        cli = AvatarCLI(
            [
                "fit",
                *config_arguments(*names),
                f"--data.reader.init_args.root={self.root}",
                "--trainer.accelerator=cpu",
                *self.flags,
                *flags,
            ],
            execute=False,
        )
        refresh = next(c for c in cli.trainer.callbacks if isinstance(c, RefreshOccupancy))
        return MethodUnderTest(method, cli.model, cli.datamodule, refresh)


@contextmanager
def _without_notices() -> Iterator[None]:
    """Lightning announces every one of the many short trainings."""
    with warnings.catch_warnings():
        _silence_notices()
        yield


def _silence_notices() -> None:
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
