"""The pretended device in torch and Lightning: what makes them take ``cuda:0`` for a device that is there."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.fabric.accelerators.cuda as fabric_cuda
import lightning.pytorch.accelerators.cuda as pytorch_cuda
import torch
from torch.optim import optimizer as torch_optimizer
from torch.utils import _foreach_utils, backend_registration

from tests.cuda.pretended_graphs import PretendedGraph, capture
from tests.cuda.pretended_streams import CUDA, PretendedStream, current_stream, on_stream, wait
from tests.cuda.pretended_tensor import (
    BACKEND,
    DeviceTensor,
    aten,
    bound,
    device_generator,
    run_operation,
    saved_storages,
)

FREE_MEMORY = 8 << 30
"""Bytes: a picture of 512x512 pixels is rendered in several chunks."""

_GUARDS = "_ZN3c104impl26device_guard_impl_registryE"
"""libc10's table of device guards, by the number of the device type."""

_GUARD_OF_CUDA, _GUARD_OF_PRIVATE_USE, _DEVICE_TYPES = 1, 20, 21

# Torch's own versions of these make an empty tensor and let it grow, which a wrapper cannot do.
_FACTORIES = (
    *("eye", "eye.m", "arange", "arange.start", "arange.start_step", "linspace", "logspace"),
    *("randperm", "randperm.generator", "range", "range.step", "tril_indices", "triu_indices"),
)

_libraries: list[torch.library.Library] = []

Patch = tuple[Any, str, Any]
"""Owner, name and the new value of an attribute."""


def missing_parts() -> str | None:
    """Why this torch cannot have the pretended device; None if it can."""
    if torch.version.cuda is not None or torch.version.hip is not None:
        return "torch is a build for GPUs, whose own kernels would be called; a build for CPUs is needed"
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        return "this torch registers no device from Python"
    if not sys.platform.startswith("linux") or not hasattr(_libc10(), _GUARDS):
        return "this torch's table of device guards is not where it was"
    return None


def _libc10() -> ctypes.CDLL:
    return ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))


def install() -> None:
    """Register the device with torch, once and for good."""
    if _libraries:
        return

    class Backend(backend_registration._DummyBackendModule):
        """Answers `torch.random.fork_rng`."""

        get_rng_state = staticmethod(lambda *_: device_generator.get_state())
        set_rng_state = staticmethod(lambda state, *_: device_generator.set_state(state))

    backend_registration._setup_privateuseone_for_python_backend(BACKEND, Backend())
    guards = (ctypes.c_void_p * _DEVICE_TYPES).in_dll(_libc10(), _GUARDS)
    guards[_GUARD_OF_CUDA] = guards[_GUARD_OF_PRIVATE_USE]
    torch._C._set_only_lift_cpu_tensors(True)
    fallback = torch.library.Library("_", "IMPL")
    factories = torch.library.Library("aten", "IMPL")
    for key in ("CUDA", "PrivateUse1"):
        fallback.fallback(run_operation, key)
        for name in _FACTORIES:
            packet, _, overload = name.partition(".")
            factories.impl(name, bound(getattr(getattr(aten, packet), overload or "default")), key)
    _libraries.extend([fallback, factories])
    torch.serialization.register_package(5, _name_in_a_file, _refuse_to_restore)


def _name_in_a_file(storage: Any) -> str | None:
    return str(CUDA) if storage.data_ptr() in saved_storages else None


def _refuse_to_restore(storage: Any, location: str) -> None:
    if location.startswith("cuda"):
        raise NotImplementedError("the pretended device: give torch.load a map_location of the CPU")


def torch_patches() -> Iterator[Patch]:
    """Names of torch that ask for the device, or for its properties."""
    for module in (torch_optimizer, _foreach_utils):
        # Types of which a device updates many in one kernel.
        yield module, "_foreach_supported_types", [*module._foreach_supported_types, DeviceTensor]
    yield torch.Tensor, "pin_memory", lambda tensor, *_: tensor
    answers = {
        "_lazy_init": None,
        "is_available": True,
        "is_initialized": False,
        "device_count": 1,
        "current_device": 0,
        "set_device": None,
        "get_device_name": "a pretended GPU",
        "get_device_capability": (9, 0),
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "mem_get_info": (FREE_MEMORY, FREE_MEMORY),
        "reset_peak_memory_stats": None,
    }
    yield from ((torch.cuda, name, functools.partial(_answer, value)) for name, value in answers.items())
    functions = {
        "Stream": PretendedStream,
        "stream": on_stream,
        "CUDAGraph": PretendedGraph,
        "graph": capture,
        "current_stream": current_stream,
        "synchronize": lambda *_: wait("synchronize"),
        "manual_seed": device_generator.manual_seed,
        "manual_seed_all": device_generator.manual_seed,
        "get_rng_state": lambda *_: device_generator.get_state(),
        "set_rng_state": lambda state, *_: device_generator.set_state(state),
        "get_rng_state_all": lambda: [device_generator.get_state()],
        "set_rng_state_all": lambda states: device_generator.set_state(states[0]),
    }
    yield from ((torch.cuda, name, function) for name, function in functions.items())


def lightning_patches() -> Iterator[Patch]:
    """Names of Lightning that look for a GPU by themselves."""
    for module in (fabric_cuda, pytorch_cuda):
        yield module, "_check_cuda_matmul_precision", functools.partial(_answer, None)
        yield module, "num_cuda_devices", functools.partial(_answer, 1)
    accelerator = pytorch_cuda.CUDAAccelerator
    for name, value in (
        ("is_available", True),
        ("parse_devices", [0]),
        ("setup", None),
        ("set_nvidia_flags", None),
    ):
        yield accelerator, name, staticmethod(functools.partial(_answer, value))


def _answer(value: Any, *_: Any, **__: Any) -> Any:
    return value
