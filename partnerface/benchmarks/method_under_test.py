"""MethodUnderTest: a method as `partnerface fit` builds it, with its data, for the benchmarks."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from partnerface.configuration.config_files import CONFIGS, config_arguments
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.training.callbacks.refresh_occupancy import RefreshOccupancy
from partnerface.training.module import AvatarModule

OURS = "part_deformation"
"""The method; its file in ``configs/method``."""

PEER, PEER_RAYS = "nerface", "--data.rays_per_frame=64"
"""NeRFace, and the rays of a frame in its steps: enough for large matrices, and a step takes a second."""


@dataclass
class MethodUnderTest:
    """One method, ready to train.

    Attributes:
        name: name of its file in ``configs/method``.
        module: what is trained.
        data: what it is trained on.
        refresh: how its occupancy is pruned, as configured.
    """

    name: str
    module: AvatarModule
    data: HeadVideoDataModule
    refresh: RefreshOccupancy


class BuildMethod(Protocol):
    """Builds a method from its configuration file.

    Benchmarks stand below the command line, which alone knows how configurations become objects; it
    hands this in.
    """

    def __call__(self, method: str, *flags: str) -> MethodUnderTest:
        """The method of ``configs/method/<method>.yaml``, with further flags of ``partnerface fit``."""


def continue_from(variant: MethodUnderTest, trained: MethodUnderTest) -> None:
    """Give a variant of a trained method all of its state that fits: field, torso and occupancy.

    The variant has to be set up; a variant with other parts then sees the same pruned space.
    """
    state = variant.module.avatar.state_dict()
    source = trained.module.avatar.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            if name in source and source[name].shape == value.shape:
                value.copy_(source[name])


if TYPE_CHECKING:
    from partnerface.benchmarks.method_under_test import MethodUnderTest

HEAD_RAYS = (
    '--data.pixel_sampler={"class_path": "partnerface.data.batches.pixel_samplers.RegionWeightedPixels", '
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
    from partnerface.data.synthetic.reader import SyntheticReader

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
        from partnerface.configuration.avatar_cli import AvatarCLI
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
