"""View: what a picture of an avatar shows, whatever drives it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.compute.frame_record import FrameRecord
from partnerface.errors import UserError
from partnerface.head_models.head_parameters import HeadParameters


@dataclass
class View(FrameRecord):
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

    def resized(self, width: int, height: int) -> View:
        """The same views in pictures of another size."""
        return replace(self, camera=self.camera.resized(width, height))
