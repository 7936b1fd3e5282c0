"""Where the forehead of a posed head lies in a picture."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.head_parts import landmark_points

FOREHEAD_RING = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(284, 332, 297, 338, 10, 109, 67, 103, 54),
)
"""MediaPipe's landmarks round the forehead: along the upper edge of the brows, back along the hairline."""


@torch.no_grad()
def forehead_mask(head_model: HeadModel, head: HeadParameters, camera: Camera) -> Tensor:
    """``[H, W]`` bool: the forehead of one frame, by the head model's embedded landmarks.

    Nothing is known about hair over it, and what a turned head hides is not left out: label images tell
    both. A head model without a landmark embedding has no forehead.

    Args:
        head_model: whose landmarks.
        head: parameters of one frame.
        camera: camera of that frame.
    """
    height, width = camera.height, camera.width
    if not len(head_model.asset.landmark_faces):
        return torch.zeros(height, width, dtype=torch.bool, device=head.rotation.device)
    landmarks = landmark_points(head_model, head_model(head).vertices[0])
    pixels, depth = camera.project(landmarks[None, list(FOREHEAD_RING)])
    image = Image.new("1", (width, height))
    if (depth > 0).all():
        # Pillow's pixels have their centres at whole numbers.
        ImageDraw.Draw(image).polygon([(x - 0.5, y - 0.5) for x, y in pixels[0].tolist()], fill=1)
    return torch.from_numpy(np.array(image)).to(head.rotation.device)
