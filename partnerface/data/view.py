"""View: what a picture of an avatar shows, whatever drives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.errors import UserError
from partnerface.head_models.head_parameters import HeadParameters


@dataclass
class View:
    """F pictures to render: from where, of which pose and expression, with which torso.

    Attributes:
        camera: F cameras at the size of the pictures.
        head: head parameters of the F frames.
        torso_motion: ``[F, 2, 3]`` affine map from a picture's image coordinates to those of the reference
            torso image, both divided by width and height.

    Raises:
        UserError: the three have different numbers of frames.
    """

    camera: Camera
    head: HeadParameters
    torso_motion: Float[Tensor, "F 2 3"]

    def __post_init__(self) -> None:
        counts = {"cameras": len(self.camera), "heads": len(self.head), "torsos": len(self.torso_motion)}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise UserError(f"view: {found}; give the same number of frames for each")

    def __len__(self) -> int:
        return len(self.head)

    def select(self, frames: Tensor | slice | Sequence[int]) -> View:
        """The views of some frames."""
        return View(self.camera.select(frames), self.head.select(frames), self.torso_motion[frames])

    def to(self, *args, **kwargs) -> View:
        """Like ``Tensor.to`` for every tensor."""
        camera, head = self.camera.to(*args, **kwargs), self.head.to(*args, **kwargs)
        return View(camera, head, self.torso_motion.to(*args, **kwargs))

    def clone(self) -> View:
        """A copy that shares no memory."""
        return View(self.camera.clone(), self.head.clone(), self.torso_motion.clone())

    def resized(self, width: int, height: int) -> View:
        """The same views in pictures of another size."""
        return replace(self, camera=self.camera.resized(width, height))

    @classmethod
    def concatenate(cls, views: Sequence[View]) -> View:
        """Join the frames of views of one person at one picture size."""
        return cls(
            Camera.concatenate([view.camera for view in views]),
            HeadParameters.concatenate([view.head for view in views]),
            torch.cat([view.torso_motion for view in views]),
        )
