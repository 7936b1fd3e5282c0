"""Number types that networks are evaluated in; points, rays and compositing are float32 with each of them."""

from __future__ import annotations

import sys

import torch
from torch import nn

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


def spare_emulation(module: nn.Module, device: torch.device, say: bool = True) -> None:
    """Evaluate networks of a module in float32 after all where a GPU, one before Ampere, emulates bfloat16.

    Args:
        module: its modules with a `network_type` are changed in place.
        device: where they are evaluated.
        say: print one line if one is changed.
    """
    if device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False):
        return
    emulated = [one for one in module.modules() if getattr(one, "network_type", None) is torch.bfloat16]
    for one in emulated:
        one.network_type = torch.float32
    if emulated and say:
        print(
            "partnerface: the GPU only emulates bfloat16: networks are evaluated in float32; to train them "
            "in float16 give --trainer.precision 16-mixed",
            file=sys.stderr,
        )


def evaluated_in(kind: torch.dtype, device: torch.device) -> torch.autocast:
    """Inside, matrix products take their inputs in a type; float32 leaves everything as it is."""
    half = kind if kind is not torch.float32 else torch.bfloat16
    return torch.autocast(device.type, half, enabled=kind is not torch.float32)
