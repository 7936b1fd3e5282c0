"""Where a run computes: whether torch and Warp can both use a CUDA device, and if not, what to install.

Warp's wheels of PyPI are built with CUDA 13: they need a driver of the R580 series or newer and compute
capability 7.5 (Turing) or newer, where torch runs on older ones. A run that only asked torch would find out
in its first training step.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache

import torch
import warp as wp

import partnerface.compute.warp_launch  # noqa: F401 (starts Warp)
from partnerface.errors import UserError

WARP_CU12 = "the wheel of Warp with +cu12 in its name from https://github.com/NVIDIA/warp/releases"
TORCH_CU126 = "pip uninstall torch and pip install torch --index-url https://download.pytorch.org/whl/cu126"
CU126_IF_OLDER = f"or, for a GPU older than Blackwell (RTX 50, B200), {TORCH_CU126}"
"""Torch for CUDA 12.6 has no kernels for Blackwell."""
CU126_IF_BEFORE_TURING = f"or, for a GPU older than Turing (GTX 10, V100), {TORCH_CU126}"
"""Torch of PyPI has no kernels for those."""
TORCH_OF_PYPI = "pip uninstall torch and pip install torch"
CUDA_OF_PYPI = (13, 0)
"""What torch and Warp of PyPI are built with."""
NEW_DRIVER = "update the driver to R580 or newer"

Version = tuple[int, int]


@dataclass(frozen=True)
class CudaFacts:
    """What the libraries say of CUDA on this machine. Versions are (major, minor).

    Attributes:
        driver: the newest that the driver supports; None without an NVIDIA driver.
        torch_build: that torch was built with; None for a CPU build.
        torch_devices: number of devices that torch can use.
        capability: compute capability of the first of them.
        torch_capabilities: those that torch's build has kernels for.
        torch_portable: those that it has PTX for, which the driver compiles for any newer one.
        warp_devices: number of devices that Warp can use.
        warp_build: that Warp was built with; None for a CPU build.
        warp_needs: the oldest driver for it.
    """

    driver: Version | None = None
    torch_build: Version | None = None
    torch_devices: int = 0
    capability: Version | None = None
    torch_capabilities: tuple[Version, ...] = ()
    torch_portable: tuple[Version, ...] = ()
    warp_devices: int = 0
    warp_build: Version | None = None
    warp_needs: Version | None = None

    @classmethod
    @cache
    def found(cls) -> CudaFacts:
        """Those of this machine."""
        devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return cls(
            driver=wp.get_cuda_driver_version(),
            torch_build=None if torch.version.cuda is None else _version(torch.version.cuda),
            torch_devices=devices,
            capability=torch.cuda.get_device_capability(0) if devices else None,
            torch_capabilities=_capabilities("sm_"),
            torch_portable=_capabilities("compute_"),
            warp_devices=wp.get_cuda_device_count(),
            warp_build=wp.get_cuda_toolkit_version(),
            # There is no public name for it.
            warp_needs=wp._src.context.runtime.min_driver_version,
        )

    def obstacle(self) -> str | None:
        """What keeps runs from CUDA, and what to do about it; None if nothing does."""
        if self.driver is None:
            return "no NVIDIA driver was found"
        if self.torch_build is None:
            older = CU126_IF_BEFORE_TURING if self.driver >= CUDA_OF_PYPI else CU126_IF_OLDER
            return f"torch is a build for CPUs: {self._torch_of_pypi(self.driver)}, {older}"
        if not self.torch_devices:
            if self.driver < self.torch_build:
                return (
                    f"the driver supports CUDA {_text(self.driver)}, torch needs {_text(self.torch_build)}: "
                    f"update the driver, {CU126_IF_OLDER}"
                )
            return "torch finds no device: see nvidia-smi and CUDA_VISIBLE_DEVICES"
        if self.capability and self.torch_capabilities and not self._has_kernels(self.capability):
            known = ", ".join(map(_text, sorted(self.torch_capabilities)))
            newer = self.capability > max(self.torch_capabilities)
            advice = self._torch_of_pypi(self.driver) if newer else TORCH_CU126
            return (
                f"the GPU has compute capability {_text(self.capability)}, torch's build has kernels for "
                f"{known}: {advice}"
            )
        if self.warp_build is None:
            return f"Warp is a build for CPUs: install {WARP_CU12}"
        if self.warp_needs and self.driver < self.warp_needs:
            return (
                f"the driver supports CUDA {_text(self.driver)}, Warp needs {_text(self.warp_needs)}: "
                f"{NEW_DRIVER}, or install {WARP_CU12}"
            )
        if self.capability and self.capability < (7, 5) and self.warp_build >= CUDA_OF_PYPI:
            return (
                f"the GPU has compute capability {_text(self.capability)}, Warp's build begins at 7.5: "
                f"install {WARP_CU12}"
            )
        if not self.warp_devices:
            return f"Warp finds no device: install {WARP_CU12}"
        return None

    @staticmethod
    def _torch_of_pypi(driver: Version) -> str:
        """What to do for torch of PyPI, with a driver that may be too old for it."""
        return TORCH_OF_PYPI if driver >= CUDA_OF_PYPI else f"{NEW_DRIVER}, then {TORCH_OF_PYPI}"

    def _has_kernels(self, capability: Version) -> bool:
        """Whether torch's build serves a device: a binary from its own minor version on, within its major."""
        major, minor = capability
        binary = any(own == major and least <= minor for own, least in self.torch_capabilities)
        return binary or any(least <= capability for least in self.torch_portable)


def chosen_accelerator(asked: str, facts: CudaFacts | None = None, apple: bool | None = None) -> str:
    """The accelerator of the trainer: ``cpu`` or ``cuda``.

    Args:
        asked: that of the configuration: ``auto``, ``cpu``, ``gpu``, ``cuda`` or ``mps``.
        facts: what is known of the machine, by default what is found.
        apple: whether there is an Apple GPU, by default as found.

    Raises:
        UserError: ``asked`` names CUDA, which is not usable here, or an accelerator that is not supported.
    """
    if asked == "cpu":
        return "cpu"
    if asked not in ("auto", "gpu", "cuda", "mps"):
        raise UserError(f"--trainer.accelerator {asked}: choose auto, cpu or cuda")
    facts = facts or CudaFacts.found()
    obstacle = facts.obstacle()
    if asked != "mps" and obstacle is None:
        return "cuda"
    if asked in ("gpu", "cuda"):
        raise UserError(f"--trainer.accelerator {asked}: {obstacle}; or choose cpu")
    if apple if apple is not None else torch.backends.mps.is_available():
        _say("Apple GPUs are not supported, this runs on the CPU")
    elif asked == "mps":
        raise UserError("--trainer.accelerator mps: choose cpu or cuda")
    elif facts.driver is not None:
        _say(f"the GPU is not used, this runs on the CPU: {obstacle}")
    return "cpu"


def use_exact_float32() -> None:
    """Keep matrix products and convolutions of a GPU from rounding to TF32, for the whole process.

    Its 10 bits would move vertices by up to 0.7 mm, and scores away from those of a CPU.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


@cache
def _say(line: str) -> None:
    """Once a process."""
    print(f"partnerface: {line}", file=sys.stderr)


def _capabilities(prefix: str) -> tuple[Version, ...]:
    """Those of torch's build whose name begins so: ``sm_`` for binaries, ``compute_`` for PTX."""
    names = [name.removeprefix(prefix) for name in torch.cuda.get_arch_list() if name.startswith(prefix)]
    return tuple((int(name[:-1]), int(name[-1])) for name in names if name.isdigit())


def _version(text: str) -> Version:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def _text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"
