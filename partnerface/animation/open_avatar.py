"""open_avatar: an avatar on the device that this machine offers, and drivers for it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import partnerface
from partnerface.animation.open_driver import DrivingOptions, open_driver
from partnerface.avatar.method import AvatarMethod
from partnerface.compute.cuda_support import chosen_accelerator, use_exact_float32
from partnerface.data.drivers.transfer import TransferredPerformance
from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.runs.run import run_of_checkpoint


@dataclass
class OpenedAvatar:
    """An avatar, and where it came from.

    Attributes:
        avatar: ready to render.
        run: the folder that a driver ``own`` is looked for in, if it came from one.
    """

    avatar: AvatarMethod
    run: Path | None

    def drive(self, driver: str, options: DrivingOptions | None = None) -> TransferredPerformance:
        """The performance that a text names, see `open_driver`; its notes go to standard error."""
        return open_driver(
            driver, self.avatar, options, run=self.run, say=lambda line: print(line, file=sys.stderr)
        )

    def still_view(self, driver: str | None = None, number: int | None = None) -> View:
        """A view (F = 1) of a driver, by default that of the neutral face in the mean pose of training.

        In most videos a head in its mean pose faces the camera.

        Raises:
            UserError: the driver has no view of that number.
        """
        if driver is None or number is None:
            resting = open_driver("idle", self.avatar, DrivingOptions(pose="still"), say=lambda line: None)[0]
            neutral = self.avatar.neutral_view().to("cpu")
            at_rest = neutral.head.expression, neutral.head.joint_rotations
            head = replace(resting.head, expression=at_rest[0], joint_rotations=at_rest[1])
            view = replace(resting, head=head)
        else:
            performance = self.drive(driver)
            if not 0 <= number < len(performance):
                raise UserError(f"--view {number}: {driver} has views 0 to {len(performance) - 1}")
            view = performance[number]
        return replace(view.to(self.avatar.identity.device), rig=self.avatar.rig())


def open_avatar(path: Path, trust: str = "", device: str = "auto") -> OpenedAvatar:
    """Load an avatar.

    Args:
        path: folder of a run or of an avatar, checkpoint or avatar file.
        trust: packages whose classes it may name, with commas between.
        device: ``auto``, the GPU if one is usable and else the CPU, or ``cpu``.

    Raises:
        UserError: there is none.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"avatar {path}: no such file or folder")
    use_exact_float32()
    accelerator = chosen_accelerator(device)
    avatar = partnerface.load_avatar(path, accelerator, trust=[name for name in trust.split(",") if name])
    return OpenedAvatar(avatar, path if path.is_dir() else run_of_checkpoint(path))
