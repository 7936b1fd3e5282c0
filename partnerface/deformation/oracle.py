"""OracleDeformation: undoes the true fine motion of an embedded subject. A yardstick, not a method."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from partnerface.data.sequence import TrueMotion
from partnerface.deformation.deformation import CanonicalCube, CanonicalHead, Deformation, DeformedPoints
from partnerface.head_models.head_model import PosedHead
from partnerface.skinning.nearest_surface import NearestSurface

REACH = 0.05
"""Metres from the true surface beyond which a point is not moved; hair lies within."""


class OracleDeformation(Deformation):
    """Offsets that carry every point back by the true motion of the closest point of the true surface.

    The best that offsets can do: what an avatar with them does not gain, no learned deformation gains by
    its offsets. It recognises a frame of the video by its driving signal, which therefore has to come without
    noise (``driving_noise: 0``), and knows nothing between frames. It gives no appearance code.

    Args:
        driving_width: length D of the driving signal.
    """

    driving: Tensor
    points: Tensor
    faces: Tensor
    shapes: Tensor
    weights: Tensor

    def __init__(self, driving_width: int) -> None:
        super().__init__()
        self.driving_width = driving_width
        self.cube, self.search = CanonicalCube(), NearestSurface()
        empty = {
            "driving": torch.zeros(0, driving_width),
            "points": torch.zeros(0, 3),
            "faces": torch.zeros(0, 3, dtype=torch.long),
            "shapes": torch.zeros(0, 0, 3),
            "weights": torch.zeros(0, 0),
        }
        for name, tensor in empty.items():
            self.register_buffer(name, tensor)
        self.register_load_state_dict_post_hook(_place_truth_after_loading)

    def adapt_to(self, head: CanonicalHead) -> None:
        self.cube.low.copy_(head.in_cube.low)
        self.cube.extent.copy_(head.in_cube.extent)

    def set_truth(self, truth: TrueMotion, driving: Tensor) -> None:
        """Learn the motion of the T frames of the video and their driving signals ``[T, D]``."""
        device = self.driving.device
        self.driving = driving.detach().to(device)
        for name in ("points", "faces", "shapes", "weights"):
            setattr(self, name, getattr(truth, name).to(device))
        self.place_truth()

    def place_truth(self) -> None:
        """Prepare the search of the closest point, after the motion is set or loaded."""
        if len(self.faces):
            self.search.set_surface(self.faces, torch.full_like(self.points[:, 0], REACH))

    @torch.no_grad()
    def forward(self, positions: Tensor, driving: Tensor, frame: Tensor) -> DeformedPoints:
        one = positions.new_ones(len(positions), 1)
        offsets = torch.zeros_like(positions)
        if len(self.faces):
            number = torch.cdist(driving, self.driving).argmin(1)
            motion = torch.einsum("fk,kvc->fvc", self.weights[number], self.shapes)
            places = positions * self.cube.extent + self.cube.low
            found = self.search(places, frame, self.search.posed_surface(self._moved(motion)))
            back = (found.points - places) / self.cube.extent
            offsets = torch.where(found.faces[:, None] >= 0, back, 0.0)
        return DeformedPoints(offsets, None, one, one.long() - 1)

    def _moved(self, motion: Tensor) -> PosedHead:
        """The true surface after motions ``[F, V, 3]`` in canonical space: a pose without joints."""
        frames, vertices, _ = motion.shape
        still = torch.eye(3, 4, device=motion.device)
        return PosedHead(
            vertices=self.points + motion,
            canonical_vertices=self.points,
            displacements=motion,
            vertex_transforms=still.expand(frames, vertices, 3, 4),
            joints=motion.new_zeros(frames, 0, 3),
            head_rotation=still[:, :3].expand(frames, 3, 3),
        )

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *arguments: Any) -> None:
        """Take the sizes of the buffers from what is loaded: they depend on the video."""
        for name in ("driving", "points", "faces", "shapes", "weights"):
            if (stored := state_dict.get(prefix + name)) is not None:
                setattr(self, name, getattr(self, name).new_zeros(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _place_truth_after_loading(oracle: OracleDeformation, incompatible_keys: object) -> None:
    # torch takes a hook's return value for a mistake.
    oracle.place_truth()
