"""The command ``benchmark``: how fast, how large and how soon, on this machine."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from partnerface.cli.config_files import config_arguments
from partnerface.user_error import UserError

if TYPE_CHECKING:
    from partnerface.benchmarks.method_under_test import MethodUnderTest

SUITES = ("speed",)
FRAMES, SIZE = 24, 128
HEAD_RAYS = (
    '{"class_path": "partnerface.data.pixel_samplers.RegionWeightedPixels", "init_args": {"background": 0, '
    '"face": 1, "eyes": 1, "mouth": 1, "hair": 1, "neck": 0, "torso": 0, "uniform_share": 0}}'
)
"""Every ray hits the head: rays that miss cost next to nothing and would flatter the figures."""


def benchmark(
    suite: str,
    json: Path | None = None,
    out: Path = Path("runs/benchmark"),
    quick: bool = False,
    threads: int = 2,
) -> None:
    """Measure this installation on this machine, on the embedded subject.

    Args:
        suite: what to measure: ``speed``.
        json: file of the results, by default ``OUT/speed.json``.
        out: folder of the figures and of the rendered subject, which a second run reuses.
        quick: fewer repetitions and no growth curves; under a minute on two idle cores.
        threads: CPU threads in training.
    """
    if suite not in SUITES:
        raise UserError(f"benchmark {suite}: there is no such suite; choose {', '.join(SUITES)}")
    if threads < 1:
        raise UserError(f"--threads {threads}: must be 1 or more")
    # Imported here: --help need not wait for torch.
    from partnerface.benchmarks.environment import environment
    from partnerface.benchmarks.speed_report import SpeedReport
    from partnerface.benchmarks.speed_suite import QUICK, Effort, SpeedOptions, print_report, run_speed
    from partnerface.cli.avatar_cli import require_writable

    out = Path(out)
    require_writable(out)
    report = SpeedReport(Path(json) if json else out / "speed.json", environment())
    options = SpeedOptions(out=out, effort=QUICK if quick else Effort(), quick=quick, threads=threads)
    with _without_notices():
        run_speed(MethodBuilder(rendered_subject(out)), options, report)
    print_report(report)
    print(f"  {report.path}")


def rendered_subject(out: Path) -> Path:
    """Folder of the embedded subject's frames, rendered if need be."""
    from partnerface.data.readers.synthetic import SyntheticReader

    root = out / "subject"
    SyntheticReader(root, frames=FRAMES, size=SIZE).read()
    return root


class MethodBuilder:
    """Builds methods from the shipped configuration files, as ``partnerface fit`` does.

    Args:
        root: the dataset's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, method: str, *flags: str) -> MethodUnderTest:
        from partnerface.benchmarks.method_under_test import MethodUnderTest
        from partnerface.cli.avatar_cli import AvatarCLI
        from partnerface.training.callbacks.refresh_occupancy import RefreshOccupancy

        names = ("base", f"method/{method}", "head_model/anny", "data/partnerface", "scale/demo")
        cli = AvatarCLI(
            [
                "fit",
                *config_arguments(*names),
                f"--data.reader.init_args.root={self.root}",
                f"--data.pixel_sampler={HEAD_RAYS}",
                "--trainer.accelerator=cpu",
                *flags,
            ],
            execute=False,
        )
        refresh = next(c for c in cli.trainer.callbacks if isinstance(c, RefreshOccupancy))
        return MethodUnderTest(method, cli.model, cli.datamodule, refresh)


class _without_notices(warnings.catch_warnings):
    """Lightning announces every one of the many short trainings."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)
