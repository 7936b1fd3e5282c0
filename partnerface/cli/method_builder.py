"""MethodBuilder: methods for the speed benchmark, as `partnerface fit` builds them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from partnerface.cli.config_files import CONFIGS, config_arguments

if TYPE_CHECKING:
    from partnerface.benchmarks.method_under_test import MethodUnderTest

HEAD_RAYS = (
    '--data.pixel_sampler={"class_path": "partnerface.data.pixel_samplers.RegionWeightedPixels", '
    '"init_args": {"background": 0, "face": 1, "eyes": 1, "mouth": 1, "hair": 1, "neck": 0, "torso": 0, '
    '"uniform_share": 0}}'
)
"""Every ray hits the head: rays that miss cost next to nothing and would flatter the figures."""


def method_names() -> list[str]:
    """Every method that has a configuration file, ours first."""
    names = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
    return sorted(names, key=lambda name: name != "part_deformation")


def subject(root: Path, frames: int, size: int, *flags: str) -> MethodBuilder:
    """Builds methods on the embedded subject, whose frames are rendered into ``root`` if need be."""
    from partnerface.data.readers.synthetic import SyntheticReader

    SyntheticReader(root, frames=frames, size=size).read()
    return MethodBuilder(root, *flags)


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
def without_notices() -> Iterator[None]:
    """Lightning announces every one of the many short trainings."""
    with warnings.catch_warnings():
        _silence_notices()
        yield


def _silence_notices() -> None:
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
