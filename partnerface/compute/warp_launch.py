"""Launching Warp kernels on torch tensors: device, stream and array views in one place."""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager, nullcontext

import torch
import warp as wp
from torch import Tensor

from partnerface.compute.process_settings import runs_command

# Warp prints a greeting, and a line for every module of kernels that it loads.
wp.config.log_level = logging.ERROR


def _start() -> None:
    """Start Warp; in a command without a GPU, drop the line that its library prints about the driver.

    It is printed by native code: file descriptor 2 leads nowhere meanwhile.
    """
    if torch.cuda.is_available() or not runs_command():
        wp.init()
        return
    shown = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            wp.init()
        finally:
            os.dup2(shown, 2)
            os.close(shown)


_start()


def torch_stream(device: torch.device) -> AbstractContextManager:
    """Run Warp on torch's current CUDA stream, so that neither has to wait for the other."""
    if device.type != "cuda":
        return nullcontext()
    return wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device)))


def launch(kernel: wp.Kernel, dim: int | tuple[int, ...], inputs: list, device: torch.device) -> None:
    """Launch a kernel on torch's device and stream; tensors among the inputs are passed as views."""
    arrays = [wp.from_torch(i.detach()) if isinstance(i, Tensor) else i for i in inputs]
    with torch_stream(device):
        wp.launch(kernel, dim=dim, inputs=arrays, device=wp.device_from_torch(device), record_tape=False)


def as_vec3(tensor: Tensor) -> wp.array:
    """A contiguous float tensor ``[..., 3]`` as a flat array of vectors that shares its memory."""
    return wp.from_torch(tensor.detach().view(-1, 3), dtype=wp.vec3)


def as_vec4(tensor: Tensor) -> wp.array:
    """A contiguous float tensor ``[..., 4]`` as a flat array of vectors that shares its memory."""
    return wp.from_torch(tensor.detach().view(-1, 4), dtype=wp.vec4)
