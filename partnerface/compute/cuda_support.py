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
TORCH_CU126 = "pip install torch --index-url https://download.pytorch.org/whl/cu126"

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
        warp_devices: number of devices that Warp can use.
        warp_build: that Warp was built with; None for a CPU build.
        warp_needs: the oldest driver for it.
    """

    driver: Version | None = None
    torch_build: Version | None = None
    torch_devices: int = 0
    capability: Version | None = None
    torch_capabilities: tuple[Version, ...] = ()
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
            torch_capabilities=tuple(
                (int(name[3:-1]), int(name[-1]))
                for name in torch.cuda.get_arch_list()
                if name.startswith("sm_") and name[3:].isdigit()
            ),
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
            return f"torch is a build for CPUs: {TORCH_CU126}"
        if not self.torch_devices:
            if self.driver < self.torch_build:
                return (
                    f"the driver supports CUDA {_text(self.driver)}, torch needs {_text(self.torch_build)}: "
                    f"update the driver, or {TORCH_CU126}"
                )
            return "torch finds no device: see nvidia-smi and CUDA_VISIBLE_DEVICES"
        if self.capability and self.torch_capabilities and self.capability < min(self.torch_capabilities):
            return (
                f"the GPU has compute capability {_text(self.capability)}, torch's build begins at "
                f"{_text(min(self.torch_capabilities))}: {TORCH_CU126}"
            )
        if self.warp_build is None:
            return f"Warp is a build for CPUs: install {WARP_CU12}"
        if self.warp_needs and self.driver < self.warp_needs:
            return (
                f"the driver supports CUDA {_text(self.driver)}, Warp needs {_text(self.warp_needs)}: update "
                f"the driver to R580 or newer, or install {WARP_CU12}"
            )
        if self.capability and self.capability < (7, 5) and self.warp_build >= (13, 0):
            return (
                f"the GPU has compute capability {_text(self.capability)}, Warp's build begins at 7.5: "
                f"install {WARP_CU12}"
            )
        if not self.warp_devices:
            return f"Warp finds no device: install {WARP_CU12}"
        return None


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


def _version(text: str) -> Version:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def _text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"
