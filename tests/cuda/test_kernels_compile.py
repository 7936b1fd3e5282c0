"""Every Warp kernel compiles for GPUs, by NVRTC alone: neither a GPU nor a driver is needed."""

import importlib
import re
from pathlib import Path

import pytest
import warp as wp

import partnerface

PACKAGE = Path(partnerface.__file__).parent
FILES = [path for path in PACKAGE.rglob("*.py") if re.search(r"^@wp\.kernel", path.read_text(), re.M)]
MODULES = sorted(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in FILES)
"""Those that define a kernel."""

ARCHITECTURES = {"Turing": 75, "Hopper": 90, "Blackwell": 120}
"""From the oldest that Warp's builds with CUDA 13 know to a new one."""


def test_the_kernels_are_found():
    assert MODULES
    for name in MODULES:
        kernels = [v for v in vars(importlib.import_module(name)).values() if isinstance(v, wp.Kernel)]
        assert kernels
        assert all(kernel.module.name == name for kernel in kernels)


@pytest.mark.skipif(wp.get_cuda_toolkit_version() is None, reason="Warp is a build for CPUs")
@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_every_kernel_compiles(architecture, tmp_path):
    for name in MODULES:
        (compiled,) = wp.compile_aot_module(
            importlib.import_module(name), arch=architecture, module_dir=tmp_path, use_ptx=True
        )
        text = compiled.read_text()
        assert f".target sm_{architecture}" in text
        assert ".entry" in text
