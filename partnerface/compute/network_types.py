"""Number types that networks are evaluated in; points, rays and compositing are float32 with each of them."""

from __future__ import annotations

import torch

from partnerface.errors import UserError

LOSS_SCALE = 2.0**14
"""Factor on the loss for networks in float16, whose smallest number is 6e-8: gradients of single samples are
smaller, those of whole layers, with this factor, still below its largest, 65504 (Micikevicius et al. 2018,
"Mixed Precision Training", section 3.2)."""


def network_type(bfloat16: bool, float16: bool) -> torch.dtype:
    """The type that two switches choose: float32 if both are off.

    Raises:
        UserError: both are on.
    """
    if bfloat16 and float16:
        raise UserError("bfloat16 and float16: networks are evaluated in one type; choose one of them")
    return torch.bfloat16 if bfloat16 else torch.float16 if float16 else torch.float32


def evaluated_in(kind: torch.dtype, device: torch.device) -> torch.autocast:
    """Inside, matrix products take their inputs in a type; float32 leaves everything as it is."""
    half = kind if kind is not torch.float32 else torch.bfloat16
    return torch.autocast(device.type, half, enabled=kind is not torch.float32)
