"""Background: what stands behind the person in a finished picture."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageColor, ImageOps
from torch import Tensor

from partnerface.avatar.picture import Picture, image_bytes
from partnerface.errors import UserError
from partnerface.files.images import read_shown

TRANSPARENT = "transparent"


@dataclass(frozen=True)
class Background:
    """A colour, an image, or nothing.

    Attributes:
        name: as the user gave it.
        colour: ``[3]`` in [0, 1], or None.
        image: ``[H, W, 3]`` uint8, of any size, or None. Neither of the two: transparent.
    """

    name: str
    colour: Tensor | None = None
    image: np.ndarray | None = None

    @classmethod
    def named(cls, text: str) -> Background:
        """The background of ``transparent``, ``#rrggbb``, a colour's CSS name, or a PNG or JPEG file.

        An image is turned upright; where it is transparent, it is white.

        Raises:
            UserError: it is none of these.
        """
        if text == TRANSPARENT:
            return cls(text)
        if Path(text).suffix.lower() in (".png", ".jpg", ".jpeg"):
            return cls(text, image=read_shown(Path(text)))
        try:
            colour = ImageColor.getrgb(text)
        except ValueError as error:
            nearest = difflib.get_close_matches(text.lower(), [TRANSPARENT, *ImageColor.colormap], 1)
            meant = f"; did you mean {nearest[0]}?" if nearest else ""
            raise UserError(
                f"--background {text}: choose transparent, #rrggbb, a colour's name or a .png or .jpg{meant}"
            ) from error
        if colour[3:] not in ((), (255,)):
            raise UserError(f"--background {text}: is seen through; choose a colour without alpha, #rrggbb")
        return cls(text, torch.tensor(colour[:3]) / 255)

    @property
    def transparent(self) -> bool:
        return self.colour is None and self.image is None

    def digest(self) -> str:
        """Its name; that of an image with a checksum of its pixels."""
        if self.image is None:
            return self.name
        return f"{self.name} {hashlib.sha256(self.image.tobytes()).hexdigest()}"

    def behind(self, picture: Picture) -> np.ndarray:
        """A picture before it: ``[H, W, 3]`` uint8, or ``[H, W, 4]`` with straight alpha if transparent.

        An image is scaled to cover the picture, and cut at its sides.
        """
        if self.transparent:
            return picture.to_rgba()
        if self.image is None:
            assert self.colour is not None
            return image_bytes(picture.over(self.colour.to(picture.rgb)))
        height, width = picture.alpha.shape
        fitted = ImageOps.fit(Image.fromarray(self.image), (width, height))
        pixels = torch.from_numpy(np.array(fitted)).to(picture.rgb.device).permute(2, 0, 1) / 255
        return image_bytes(picture.over(pixels))
