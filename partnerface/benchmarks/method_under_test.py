"""MethodUnderTest: a method with its data, built as `partnerface fit` builds it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from partnerface.configuration.config_files import CONFIGS, config_arguments
from partnerface.data.synthetic.reader import SyntheticReader

if TYPE_CHECKING:
    from partnerface.data.datamodule import HeadVideoDataModule
    from partnerface.training.callbacks.refresh_occupancy import RefreshOccupancy
    from partnerface.training.module import AvatarModule

OURS, PEER = "part_deformation", "nerface"
"""Names of our method and of NeRFace, with which its speed is compared."""
ORACLE = "oracle"
"""Name of the yardstick that undoes the true motion: of embedded subjects alone."""
PEER_RAYS = "--data.rays_per_frame=64"
"""Rays of a frame in a step of NeRFace: enough for large matrices, and a step takes a second."""
HEAD_RAYS = (
    '--data.pixel_sampler={"class_path": "partnerface.data.batches.pixel_samplers.RegionWeightedPixels", '
    '"init_args": {"background": 0, "face": 1, "eyes": 1, "mouth": 1, "hair": 1, "neck": 0, "torso": 0, '
    '"uniform_share": 0}}'
)
"""Lets every ray hit the head: rays that miss cost almost nothing and would flatter the speed."""


@dataclass
class MethodUnderTest:
    """One method, ready to train.

    Attributes:
        name: name of its file in ``configs/method``.
        module: the model.
        data: its training data.
        refresh: prunes its occupancy, as configured.
    """

    name: str
    module: AvatarModule
    data: HeadVideoDataModule
    refresh: RefreshOccupancy


class MethodBuilder:
    """Builds methods from the shipped configuration files; can be sent to other processes.

    Args:
        root: folder of the dataset.
        flags: flags of ``partnerface fit`` for every method.
    """

    def __init__(self, root: Path, *flags: str) -> None:
        self.root, self.flags = root, flags

    def __call__(self, method: str, *flags: str, scale: str = "demo") -> MethodUnderTest:
        """Build the method of ``configs/method/<method>.yaml``, with further flags of ``partnerface fit``.

        ``scale`` is the name of a file of ``configs/scale``.
        """
        # Imported here: a command that only starts runs need not wait for Lightning.
        from partnerface.configuration.avatar_cli import AvatarCLI
        from partnerface.training.callbacks.refresh_occupancy import RefreshOccupancy

        _silence_notices()
        names = ("base", f"method/{method}", "head_model/anny", "data/partnerface", f"scale/{scale}")
        reader = f"--data.reader.init_args.root={self.root}"
        words = ["fit", *config_arguments(*names), reader, "--trainer.accelerator=cpu", *self.flags, *flags]
        cli = AvatarCLI(words, execute=False)
        refresh = next(c for c in cli.trainer.callbacks if isinstance(c, RefreshOccupancy))
        return MethodUnderTest(method, cli.model, cli.datamodule, refresh)


def method_names() -> list[str]:
    """Every method with a configuration file that any video can train, ours first: all but the oracle."""
    names = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml") if path.stem != ORACLE)
    return sorted(names, key=lambda name: name != OURS)


def embedded_subject(root: Path, frames: int, size: int, *flags: str) -> MethodBuilder:
    """A builder of methods on a clip of the embedded subject, of ``size`` pixels a side.

    The frames are rendered into ``root`` unless it holds them; ``flags`` are those of `MethodBuilder`.
    """
    SyntheticReader(root, frames=frames, size=size).read()
    return MethodBuilder(root, *flags)


@contextmanager
def without_notices() -> Iterator[None]:
    """Silence Lightning, which prints notices for every one of many short trainings."""
    with warnings.catch_warnings():
        _silence_notices()
        yield


def _silence_notices() -> None:
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
