"""A CUDA device that is not there: `pretended_cuda` makes ``cuda:0`` exist for torch, Lightning and Warp.

Its tensors are computed on the CPU, say that they lie on ``cuda:0`` and refuse to mix with others. So the
package runs as it is, with ``--trainer.accelerator=cuda``, on a machine without a GPU, and a report tells

- what CUDA would refuse: tensors or Warp arrays of two devices, `numpy()`, generators of the CPU;
- how often the host waits for the device, and where: `item`, `nonzero`, masks, copies that block;
- which torch operations need a kernel, and which Warp kernels are launched;
- work of one stream that another one uses without a wait.

As on CUDA, backward runs in a thread of autograd's own. Not seen are autocast, memory that runs out,
several devices, races within a kernel, the rounding and the errors of CUDA's own kernels, and time.

Torch knows the device for the rest of the process, so that tests of it run in one of their own:
`tests/cuda/test_pretended_device.py` starts those of `tests/cuda/pretended`. It rests on private parts of
torch (see `pretended_torch`); `unavailable` says where they are missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from partnerface.compute.cuda_support import CudaFacts
from tests.cuda.pretended_report import REPORT, DeviceReport
from tests.cuda.pretended_tensor import saved_storages
from tests.cuda.pretended_torch import install, lightning_patches, missing_parts, torch_patches
from tests.cuda.pretended_warp import warp_patches

FACTS = CudaFacts(
    driver=(13, 0),
    torch_build=(13, 0),
    torch_devices=1,
    capability=(9, 0),
    torch_capabilities=((9, 0),),
    warp_devices=1,
    warp_build=(13, 0),
    warp_needs=(13, 0),
)
"""What the package finds out about the device."""


def unavailable() -> str | None:
    """Why there can be no pretended device in this process; None if there can."""
    if torch.cuda.is_available() and not _active():
        return "there is a GPU"
    return missing_parts()


def _active() -> bool:
    return CudaFacts.found() is FACTS


@contextmanager
def pretended_cuda(strict: bool = True) -> Iterator[DeviceReport]:
    """Inside, ``cuda:0`` is there; a block within another one begins a report of its own.

    Args:
        strict: raise at what CUDA would refuse, rather than only report it.

    Yields:
        What was seen so far.
    """
    install()
    REPORT.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(REPORT, "strict", strict)
        if not _active():
            patch.setattr(CudaFacts, "found", classmethod(lambda cls: FACTS))
            for owner, name, value in (*torch_patches(), *lightning_patches(), *warp_patches()):
                patch.setattr(owner, name, value)
        try:
            yield REPORT
        finally:
            saved_storages.clear()
