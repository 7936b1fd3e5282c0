"""Launching Warp kernels on torch tensors: device, stream and array views in one place."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

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
    """Run Warp on torch's current CUDA stream, so that neither has to wait for the other.

    It does not wait for Warp's own stream either, in which nothing runs: that
    is forbidden while a graph is captured.
    """
    if device.type != "cuda":
        return nullcontext()
    return wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device)), sync_enter=False)


def launch(kernel: wp.Kernel, dim: int | tuple[int, ...], inputs: list, device: torch.device) -> None:
    """Launch a kernel on torch's device and stream; tensors among the inputs are passed as views.

    Raises:
        RuntimeError: an array lies on another device.
    """
    arrays = [wp.from_torch(i.detach()) if isinstance(i, Tensor) else i for i in inputs]
    place = wp.device_from_torch(device)
    check_devices(kernel, arrays, place)
    if compiles(kernel.module.name, place.is_cpu):
        _announce(str(place))
    with torch_stream(device):
        wp.launch(kernel, dim=dim, inputs=arrays, device=place, record_tape=False)


def operator(name: str) -> Callable[[Callable], torch.library.CustomOpDef]:
    """Make a function that launches kernels an operator ``partnerface::name`` of torch.

    The function takes and returns tensors and numbers and changes none of its arguments. As an operator it
    is one step for torch's compiler and autograd, and has its own name in profiles.
    """

    def made(function: Callable) -> torch.library.CustomOpDef:
        definition = torch.library.custom_op(f"partnerface::{name}", mutates_args=())(function)
        for kernel in definition._backend_fns.values():
            _import_no_compiler(getattr(kernel, "__wrapped__", None))
        return definition

    return made


def _import_no_compiler(kernel: Callable | None) -> None:
    """Keep the first call of an operator's kernel from importing torch's compiler, which takes 1.3 s.

    Torch imports it to say that the kernel is not to be compiled, and notes on the kernel what to call
    instead; where nothing else has imported it, nothing would be compiled.
    """
    if kernel is None:
        return

    def run(*arguments, **named):
        if "torch._dynamo" not in sys.modules:
            return kernel(*arguments, **named)
        kernel.__dynamo_disable = torch._dynamo.disable(kernel, wrapping=False)
        return kernel.__dynamo_disable(*arguments, **named)

    kernel.__dynamo_disable = run


def check_devices(kernel: wp.Kernel, arguments: list, place: wp.Device) -> None:
    """Warp itself does not look: a GPU would read an address of the host.

    Raises:
        RuntimeError: an array lies on another device than ``place``.
    """
    for number, array in enumerate(arguments):
        if isinstance(array, wp.array) and array.device != place:
            raise RuntimeError(f"{kernel.key}: argument {number} is on {array.device}, not on {place}")


@cache
def compiles(module: str, cpu: bool) -> bool:
    """Whether a module of kernels is going to be compiled: Warp's cache on this machine holds none of it."""
    endings = ("*.o",) if cpu else ("*.cubin", "*.ptx")
    folders = list(Path(wp.config.kernel_cache_dir).glob(f"wp_{module}_*"))
    return not any(any(folder.glob(ending)) for folder in folders for ending in endings)


@cache
def _announce(place: str) -> None:
    """On a terminal, once a process."""
    if sys.stderr.isatty():
        print(f"Compiling kernels for {place}: this happens once", file=sys.stderr)


def as_vec3(tensor: Tensor) -> wp.array:
    """A contiguous float tensor ``[..., 3]`` as an array ``[...]`` of vectors that shares its memory."""
    return wp.from_torch(tensor.detach(), dtype=wp.vec3)


AT_ONCE = 8
"""Numbers that are computed at once: what a vector register of a CPU holds."""

vec8 = wp.types.vector(length=AT_ONCE, dtype=wp.float32)


def as_vec8(tensor: Tensor) -> wp.array:
    """A contiguous float tensor ``[..., 8 n]`` as an array ``[..., n]`` of vectors that shares its memory."""
    return wp.from_torch(tensor.detach().unflatten(-1, (-1, AT_ONCE)), dtype=vec8)


def as_vec3i(tensor: Tensor) -> wp.array:
    """A contiguous int32 tensor ``[..., 3]`` as an array ``[...]`` of vectors that shares its memory."""
    return wp.from_torch(tensor, dtype=wp.vec3i)


def as_vec4(tensor: Tensor) -> wp.array:
    """A contiguous float tensor ``[..., 4]`` as a flat array of vectors that shares its memory."""
    return wp.from_torch(tensor.detach().view(-1, 4), dtype=wp.vec4)


def as_mat33(tensor: Tensor) -> wp.array:
    """A contiguous float tensor ``[..., 3, 3]`` as an array ``[...]`` of matrices that shares its memory."""
    return wp.from_torch(tensor.detach(), dtype=wp.mat33)


def as_ids(tensor: Tensor) -> wp.array:
    """An int64 tensor ``[F]`` of mesh ids as the unsigned array that kernels query meshes by."""
    return wp.from_torch(tensor, dtype=wp.uint64)


def as_bits(tensor: Tensor) -> wp.array:
    """A contiguous int32 tensor as an unsigned array, for shifts that bring in zeros."""
    return wp.from_torch(tensor, dtype=wp.uint32)


def run_length(device: torch.device) -> int:
    """Consecutive points that one thread takes.

    On a CPU what they have in common is worked out once; on a GPU points must run side by side.
    """
    return 16 if device.type == "cpu" else 1


def keep_inputs(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Context of an operator whose backward takes all of its inputs (`torch.library.register_autograd`)."""
    ctx.save_for_backward(*inputs)
