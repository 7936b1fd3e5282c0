"""The pretended device in Warp: kernels run on the CPU, and every array of theirs must be the device's.

Warp itself does not look at where an array lies: a GPU would read the host's pointer.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import warp as wp

from partnerface.compute import warp_launch
from tests.cuda.pretended_graphs import capturing
from tests.cuda.pretended_report import REPORT, place
from tests.cuda.pretended_streams import PretendedStream, new_work, stream_number, use
from tests.cuda.pretended_tensor import DeviceTensor, on_host
from tests.cuda.pretended_torch import Patch

_thread = threading.local()
_meshes: dict[int, bool] = {}
"""By id, whether a mesh is the device's."""


class _WarpDevice:
    """In place of Warp's own ``cuda:0``."""

    is_cuda, is_cpu, alias = True, False, "cuda:0"

    def __str__(self) -> str:
        return self.alias


DEVICE = _WarpDevice()


class ScopedStream:
    """In place of ``wp.ScopedStream``."""

    def __init__(self, stream: PretendedStream | None, **_: Any) -> None:
        self.number = None if stream is None else stream.cuda_stream

    def __enter__(self) -> ScopedStream:
        self.before = getattr(_thread, "stream", None)
        _thread.stream = self.number
        return self

    def __exit__(self, *_: Any) -> None:
        _thread.stream = self.before


def _on_device(value: Any) -> bool | None:
    """Whether an argument of a kernel is the device's; None for one that lies nowhere."""
    return getattr(value, "on_pretended_device", None)


def _foreign_meshes(value: Any, on_device: bool) -> bool:
    """Whether an argument, one id or an array of them, names a mesh that is not on that device."""
    ids: Sequence[int] = [value] if isinstance(value, int) else ()
    if isinstance(value, wp.array) and value.dtype is wp.uint64:
        ids = on_host(value.torch_tensor).flatten().tolist()
    return any(_meshes.get(mesh, on_device) != on_device for mesh in ids)


def warp_patches() -> Iterator[Patch]:
    """Names of Warp that the package uses on a device."""
    real_from_torch, real_device, real_launch, RealMesh = (
        *(wp.from_torch, wp.device_from_torch),
        *(wp.launch, wp.Mesh),
    )

    def from_torch(tensor: torch.Tensor, dtype: Any = None, **options: Any) -> Any:
        array = real_from_torch(on_host(tensor), dtype, **options)
        array.on_pretended_device = isinstance(tensor, DeviceTensor)
        array.torch_tensor = tensor
        return array

    def device_from_torch(device: Any) -> Any:
        return DEVICE if torch.device(device).type == "cuda" else real_device(device)

    def launch(
        kernel: Any,
        dim: Any,
        inputs: Sequence = (),
        outputs: Sequence = (),
        device: Any = None,
        stream: Any = None,
        **options: Any,
    ) -> Any:
        on_device = device is DEVICE or stream is not None
        values = [*inputs, *outputs]
        for argument, value in zip(kernel.adj.args, values, strict=True):
            if _on_device(value) not in (None, on_device) or _foreign_meshes(value, on_device):
                REPORT.refuse(
                    f"Warp kernel {kernel.key} on {device or 'cpu'}: {argument.label} lies elsewhere"
                )
        if on_device:
            number = getattr(_thread, "stream", None) if stream is None else stream.cuda_stream
            if number != stream_number():
                REPORT.refuse(f"Warp kernel {kernel.key} is not launched on torch's current stream")
            REPORT.launches[kernel.key, place()] += 1
            for value in values:
                tensor = getattr(value, "torch_tensor", None)
                if isinstance(tensor, DeviceTensor):
                    use(tensor.work)
                    tensor.work = new_work()
            if (graph := capturing()) is not None:
                again = functools.partial(real_launch, kernel, dim, inputs, outputs, device="cpu", **options)
                graph.launched.append(again)
        return real_launch(kernel, dim, inputs, outputs, device="cpu", **options)

    class Mesh(RealMesh):
        def __init__(self, points: Any, indices: Any, **options: Any) -> None:
            if _on_device(points) != _on_device(indices):
                REPORT.refuse("Warp mesh: points and indices lie on two devices")
            super().__init__(points, indices, **options)
            _meshes[int(self.id)] = bool(_on_device(points))

        def refit(self) -> None:
            if _meshes[int(self.id)]:
                REPORT.launches["refit of a mesh", place()] += 1
                if (graph := capturing()) is not None:
                    graph.launched.append(super().refit)
            super().refit()

    replacements = {
        "from_torch": from_torch,
        "device_from_torch": device_from_torch,
        "launch": launch,
        "Mesh": Mesh,
        "ScopedStream": ScopedStream,
        "stream_from_torch": lambda stream: stream,
    }
    yield from ((wp, name, value) for name, value in replacements.items())
    # `launch` above looks at every argument, and arrays are the host's for Warp.
    yield warp_launch, "check_devices", lambda *_: None
