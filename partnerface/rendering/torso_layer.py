"""The torso layer: shoulders and clothes as an image with opacity, behind the head.

The head model's bust is narrower than real shoulders and must not turn with the head. A plate in image
space with its own motion per frame was worth 7.6 dB (full frame) over letting the bust follow. A collar
also gives way to the head, which no rigid motion of the plate shows: it is learned as a displacement
that is linear in the head's pose.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from partnerface.compute.ranges import Between

POSE_WIDTH = 6

MOST_AROUND = 0.5
"""Image widths and heights around the reference image that the layer may cover."""

YIELDING_SCALE = 0.1
"""Image widths of displacement for a radian or decimetre and a parameter of one. With parameters in image
widths the optimizer's first steps threw the collar about: 3 to 6 dB at the neck in the worse trainings.
"""


class TorsoLayer(nn.Module):
    """Feature planes over the reference torso image, decoded to rgb and opacity.

    Args:
        resolutions: cells of the planes along an axis.
        channels: features of each plane.
        margin: how far above the neck line the layer fades out, as a share of the image height, above 0.
        yielding_cells: control points of the displacement along an axis.
    """

    neck_line: Tensor
    grid_scale: Tensor
    grid_shift: Tensor

    def __init__(
        self,
        resolutions: tuple[Between[int, 1, 4096], ...] = (32, 128, 256),
        channels: Between[int, 1, 256] = 8,
        margin: Between[float, 1e-4, 10] = 0.03,
        yielding_cells: Between[int, 1, 4096] = 8,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.planes = nn.ParameterList(
            [nn.Parameter(0.05 * torch.randn(1, channels, r, r)) for r in resolutions]
        )
        # With ReLU about half of the units would be inactive for features this small, and with some seeds
        # the skin at the collar stayed purple.
        self.decoder = nn.Sequential(nn.Linear(channels * len(resolutions), 32), nn.SiLU(), nn.Linear(32, 4))
        self.yielding = nn.Parameter(torch.zeros(POSE_WIDTH, 2, yielding_cells, yielding_cells))
        self.register_buffer("neck_line", torch.ones(()))
        # From places of the reference image to [-1, 1] of the planes.
        self.register_buffer("grid_scale", torch.full((2,), 2.0))
        self.register_buffer("grid_shift", torch.full((2,), -1.0))
        self.register_load_state_dict_pre_hook(_cover_reference_image)

    def cover(self, motion: Tensor, neck_line: float) -> None:
        """Cover the reference image and whatever frames of these motions ``[F, 2, 3]`` show around it.

        Of a torso that moves up in a frame more is seen at the picture's lower edge than in the reference.
        """
        corners = motion.new_tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
        seen = torch.cat([corners[:, :2], (corners @ motion.transpose(1, 2)).flatten(0, 1)])
        seen = seen.clamp(-MOST_AROUND, 1 + MOST_AROUND)
        low, high = seen.amin(0), seen.amax(0)
        self.grid_scale.copy_(2 / (high - low))
        self.grid_shift.copy_(-1 - self.grid_scale * low)
        self.neck_line.fill_(neck_line)

    def forward(self, pixels: Tensor, motion: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Colour ``[F, R, 3]`` and opacity ``[F, R]`` of the torso in F frames.

        Args:
            pixels: ``[F, R, 2]`` image coordinates in [0, 1].
            motion: ``[F, 2, 3]`` maps them to those of the reference torso image.
            pose: ``[F, POSE_WIDTH]`` the head's rotation in radians and translation in decimetres, relative
                to the mean of training.
        """
        still = torch.baddbmm(motion[:, None, :, 2], pixels, motion[:, :, :2].transpose(1, 2))
        displacement = (pose @ self.yielding.flatten(1)).view(-1, *self.yielding.shape[1:])
        away = _sampled(displacement, self._on_grid(still))
        place = torch.add(still, away, alpha=YIELDING_SCALE).flatten(0, 1)
        still, shape = still.flatten(0, 1), pixels.shape[:2]
        if still.device.type != "cpu":
            # Decoding all is cheaper than asking the device how many there are.
            rgb, opacity = self._decoded(place, still)
            return rgb.view(*shape, 3), opacity.view(shape)
        # Nothing is decoded where the layer has faded out.
        reached = (still[:, 1] > self.neck_line - self.margin).nonzero()[:, 0]
        rgb, opacity = self._decoded(place[reached], still[reached])
        return (
            rgb.new_zeros(len(still), 3).index_copy(0, reached, rgb).view(*shape, 3),
            opacity.new_zeros(len(still)).index_copy(0, reached, opacity).view(shape),
        )

    def _decoded(self, place: Tensor, still: Tensor) -> tuple[Tensor, Tensor]:
        """Colour and opacity at places ``[N, 2]`` of the reference image, ``still`` without the yielding."""
        # The gradient of grid_sample on a CPU reads anywhere in memory at a place that is no number. The
        # opacity below stays none, so that training notices.
        somewhere = self._on_grid(place.nan_to_num(0.0)[None])
        features = torch.cat([_sampled(plane, somewhere) for plane in self.planes], 2)
        decoded = self.decoder(features.flatten(0, 1))
        # Both: in a pose beyond those of training the displacement could pull the collar over the head.
        height = torch.minimum(place[:, 1], still[:, 1])
        below = ((height - self.neck_line) / self.margin + 1).clamp(0, 1)
        rgb, opacity = decoded.split([3, 1], 1)
        return rgb.sigmoid(), (2 * opacity).sigmoid().view(-1) * below

    def _on_grid(self, place: Tensor) -> Tensor:
        """Places ``[F, R, 2]`` of the reference image as ``[F, R, 1, 2]`` in [-1, 1] of `grid_sample`."""
        return torch.addcmul(self.grid_shift, place, self.grid_scale)[:, :, None]


def _sampled(plane: Tensor, grid: Tensor) -> Tensor:
    """Planes ``[F, C, H, W]`` at places ``[F, R, 1, 2]`` of `grid_sample`, as ``[F, R, C]``."""
    found = functional.grid_sample(plane, grid, align_corners=False, padding_mode="border")
    return found.flatten(2).transpose(1, 2)


def _cover_reference_image(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Give a checkpoint of before the cover was kept the reference image alone.

    One of when it was kept as its corner ``low`` and its ``extent`` keeps its cover.
    """
    if prefix + "neck_line" in state:
        low = state.pop(prefix + "low", torch.zeros(2))
        scale = 2 / state.pop(prefix + "extent", torch.ones(2))
        state.setdefault(prefix + "grid_scale", scale)
        state.setdefault(prefix + "grid_shift", -1 - scale * low)
