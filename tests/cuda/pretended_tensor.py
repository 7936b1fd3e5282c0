"""DeviceTensor: a tensor that says it lies on ``cuda:0``, is computed on the CPU and refuses to mix.

Torch's C++ takes it for one of the device PrivateUse1, whose operations all come to `run_operation`. What
comes there is what a GPU would have to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._library.custom_ops import OPDEFS
from torch.utils import _pytree as pytree

from tests.cuda.pretended_graphs import capturing
from tests.cuda.pretended_report import REPORT, place
from tests.cuda.pretended_streams import CUDA, Work, new_work, use, wait

aten = torch.ops.aten

BACKEND = "pretended"
"""What PrivateUse1 is called."""

device_generator = torch.Generator().manual_seed(0)
"""The device's own source of random numbers."""

saved_storages: dict[int, Tensor] = {}
"""Copies on the way to a file, by the address of their memory: there they are tensors of the device."""


OWN_OPERATORS = "partnerface"
"""Namespace of the package's operators."""


class DeviceTensor(Tensor):
    """A tensor of the pretended device.

    Args:
        host: its values, on the CPU.

    Attributes:
        work: what it was last written by.
    """

    host: Tensor
    work: Work | None

    @staticmethod
    def __new__(cls, host: Tensor) -> DeviceTensor:
        return Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            layout=host.layout,
            device=torch.device(BACKEND, 0),
        )

    def __init__(self, host: Tensor) -> None:
        assert type(host) is Tensor, type(host)
        self.host, self.work = host, new_work()

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == OWN_OPERATORS:
            # An operator that launches kernels: its function runs on the device, as it is on every device.
            return OPDEFS[func.name()]._init_fn(*args, **kwargs)
        return run_operation(func, *args, **kwargs)

    def __repr__(self, **_: Any) -> str:
        return f"DeviceTensor({self.host!r})"

    def numpy(self, **_: Any) -> np.ndarray:
        REPORT.refuse("can't convert cuda:0 device type tensor to numpy", TypeError)
        return self.host.detach().numpy()

    def __array__(self, dtype: Any = None, **_: Any) -> np.ndarray:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def tolist(self) -> Any:
        wait("tolist")
        return self.host.tolist()

    def data_ptr(self) -> int:
        REPORT.refuse("a pointer of the device is taken for one of the host")
        return self.host.data_ptr()

    def __deepcopy__(self, memo: dict) -> Tensor:
        copied: Tensor = DeviceTensor(self.host.detach().clone()).requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        wait("saved to a file")
        copied = self.host.detach().clone().requires_grad_(self.requires_grad)
        saved_storages[copied.untyped_storage().data_ptr()] = copied
        return copied.__reduce_ex__(protocol)


# ------------------------------------------------------------------------- what is known of an operation

_COPIES = {aten.copy_.default, aten._to_copy.default}
_INDEXING = {
    *(aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default),
}
_WITHOUT_KERNEL = {
    *(aten.empty.memory_format, aten.empty_strided.default, aten.empty_like.default, aten.detach.default),
    *(aten.new_empty.default, aten.new_empty_strided.default, aten._local_scalar_dense.default),
    *(aten.lift_fresh.default, aten.set_.source_Storage, aten.is_same_size.default),
}
_WAITS = {
    "_local_scalar_dense": ["item"],
    "nonzero": ["nonzero"],
    "masked_select": ["masked_select"],
    "_unique2": ["unique"],
    "unique_dim": ["unique"],
    "unique_consecutive": ["unique"],
    "equal": ["equal"],
    "_linalg_check_errors": ["linalg looks for errors"],
    # CUDA's looks at the least and the largest value.
    "bincount": ["bincount: least", "bincount: largest"],
}
"""Operations in which CUDA makes the host wait: their sizes or results follow from values."""


class _Written(NamedTuple):
    """An argument that an operation writes to, or a returned value that is such an argument."""

    position: int
    name: str
    alias: frozenset[str]


class _Facts(NamedTuple):
    """What an operation's schema says.

    Attributes:
        name: without namespace and overload.
        composite: torch has it as a combination of others, on every device.
        view: it computes nothing, its result shares memory with an argument.
        draws: it takes a generator.
        pointwise: it takes numbers in tensors of the CPU.
        written: arguments that it writes to.
        returned: by returned value, the aliases that make it one of ``written``, or None.
    """

    name: str
    composite: bool
    view: bool
    draws: bool
    pointwise: bool
    written: tuple[_Written, ...]
    returned: tuple[frozenset[str] | None, ...]


@cache
def _facts(func: Any) -> _Facts:
    schema = func._schema
    name = schema.name.partition("::")[2]
    aliases = [argument.alias_info for argument in schema.arguments]
    results = [result.alias_info for result in schema.returns]
    return _Facts(
        name=name,
        composite=torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"),
        view=any(alias is not None and not alias.is_write for alias in results),
        draws=any(argument.name == "generator" for argument in schema.arguments),
        pointwise=torch.Tag.pointwise in func.tags or "fused" in name,
        written=tuple(
            _Written(position, argument.name, frozenset(alias.before_set))
            for position, (argument, alias) in enumerate(zip(schema.arguments, aliases, strict=True))
            if alias is not None and alias.is_write
        ),
        returned=tuple(
            frozenset(alias.before_set) if alias is not None and alias.is_write else None for alias in results
        ),
    )


def is_device(device: Any) -> bool:
    """Whether a device, or its name, is the pretended one."""
    return torch.device(device).type in ("cuda", BACKEND)


def on_host(value: Any) -> Any:
    """A tensor of the device as that of the CPU which holds its values; all else as it is."""
    if isinstance(value, DeviceTensor):
        return value.host
    return torch.device("cpu") if isinstance(value, torch.device) else value


# ------------------------------------------------------------------------------------------ running one


def run_operation(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operation with a tensor of the device among its arguments, or one that makes such a tensor."""
    if _facts(func).composite:
        # Inference mode hands over combinations as a whole.
        result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
    return _Operation(func, args, kwargs).run()


class _Operation:
    """One operation and its arguments.

    Attributes:
        to_device: its results lie on the device.
    """

    def __init__(self, func: Any, args: tuple, kwargs: dict) -> None:
        self.func, self.args, self.kwargs, self.facts = func, args, kwargs, _facts(func)
        tensors = [value for value in pytree.tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        self.on_device = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
        self.on_cpu = [tensor for tensor in tensors if not isinstance(tensor, DeviceTensor)]
        device = kwargs.get("device")
        self.to_device = bool(self.on_device) if device is None else is_device(device)

    def run(self) -> Any:
        if self._mixes():
            REPORT.refuse(f"tensors of cuda:0 and cpu in {self.func}")
        for kind in self._waits():
            if capturing() is not None:
                raise RuntimeError(f"operation not permitted when stream is capturing: {kind}")
            wait(kind)
        result = self._compute()
        if self.to_device and not self.facts.view and self.func not in _WITHOUT_KERNEL:
            REPORT.operations[self.facts.name, place()] += 1
        for tensor in self.on_device:
            use(tensor.work)
        if not self.facts.written:
            return self._wrapped(result)
        return self._after_writing(result)

    def _mixes(self) -> bool:
        """Whether CUDA refuses these arguments."""
        if not self.on_device or not self.on_cpu or self.func in _COPIES:
            return False
        if self.func in _INDEXING and isinstance(self.args[0], DeviceTensor):
            # An index of the CPU is copied, and so is a single number.
            value = self.args[2] if len(self.args) > 2 else None
            return isinstance(value, Tensor) and not isinstance(value, DeviceTensor) and value.dim() > 0
        return not (self.facts.pointwise and all(tensor.dim() == 0 for tensor in self.on_cpu))

    def _waits(self) -> list[str]:
        """Why the host waits in this operation, once for each time."""
        if self.func in _COPIES:
            return self._copy_waits()
        if not self.on_device:
            return []
        if self.func is aten.repeat_interleave.Tensor and self.kwargs.get("output_size") is None:
            return ["repeat_interleave"]
        if self.func not in _INDEXING:
            return _WAITS.get(self.facts.name, [])
        index = [some for some in self.args[1] if isinstance(some, Tensor)]
        masks = [some for some in index if some.dtype in (torch.bool, torch.uint8)]
        copied = [some for some in index if not isinstance(some, DeviceTensor)]
        return ["nonzero of a mask"] * len(masks) + ["copy of an index to the device"] * len(copied)

    def _copy_waits(self) -> list[str]:
        if self.func is aten.copy_.default:
            into, source = (isinstance(tensor, DeviceTensor) for tensor in self.args[:2])
            at_once = self.args[2] if len(self.args) > 2 else self.kwargs.get("non_blocking", False)
        else:
            into, source = self.to_device, isinstance(self.args[0], DeviceTensor)
            at_once = self.kwargs.get("non_blocking", False)
        if into == source or at_once:
            return []
        return ["copy to the device" if into else "copy to the host"]

    def _compute(self) -> Any:
        """The result on the CPU."""
        options = dict(self.kwargs)
        if self.facts.draws and self.to_device:
            given = options.get("generator")
            if given is None or given is device_generator:
                options["generator"] = device_generator
            else:
                REPORT.refuse("a generator of the CPU draws for cuda:0")
        args, options = pytree.tree_map(on_host, (self.args, options))
        # An inference tensor of the device need not be one on the CPU.
        with torch.inference_mode(False), torch.no_grad():
            result = self.func(*args, **options)
        if self.to_device and (graph := capturing()) is not None:
            graph.add(self.func, args, options, result)
        return result

    def _after_writing(self, result: Any) -> Any:
        """What an operation returns that writes to some of its arguments: those very arguments."""
        values: dict[frozenset[str], Any] = {}
        for position, name, alias in self.facts.written:
            given = self.args[position] if position < len(self.args) else self.kwargs.get(name)
            values[alias] = given
            for tensor in pytree.tree_leaves(given):
                if isinstance(tensor, DeviceTensor):
                    self._mark_written(tensor)
        returned = [None if alias is None else values.get(alias) for alias in self.facts.returned]
        if not returned:
            return None
        if len(returned) == 1:
            return self._wrapped(result) if returned[0] is None else returned[0]
        pairs = zip(returned, result, strict=True)
        return tuple(self._wrapped(made) if given is None else given for given, made in pairs)

    def _mark_written(self, tensor: DeviceTensor) -> None:
        if torch.Tag.inplace_view in self.func.tags:
            with torch._C._DisableTorchDispatch():
                self.func(*self.args, **self.kwargs)
        if tensor.host.shape != tensor.shape:
            raise NotImplementedError(f"the pretended device: {self.func} changes the shape of its argument")
        tensor.work = new_work()

    def _wrapped(self, result: Any) -> Any:
        """Tensors of the CPU as tensors of the device, if that is where they belong."""
        if not self.to_device:
            return result
        # In inference mode too, a view of a normal tensor is one.
        normal = self.facts.view and any(not tensor.is_inference() for tensor in self.on_device)
        with torch.inference_mode(False) if normal else contextlib.nullcontext():
            return pytree.tree_map_only(Tensor, DeviceTensor, result)


def bound(func: Any) -> Callable[..., Any]:
    """`run_operation` of one operation."""
    return lambda *args, **kwargs: run_operation(func, *args, **kwargs)
