"""LPIPS on AlexNet: the network of metric and loss, and where its weights come from.

Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018),
version 0.1: the linear heads that torchmetrics ships on torchvision's AlexNet, which is rebuilt here so that
torchvision need not be installed.
"""

from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.nn import functional

from partnerface.files.downloads import ASSETS_VARIABLE, cache_folder, download, stored_file
from partnerface.files.whole_files import whole_file

CONVOLUTIONS = {
    # torchvision's number in `features`: output channels, input channels, kernel, stride, padding
    0: (64, 3, 11, 4, 2),
    3: (192, 64, 5, 1, 2),
    6: (384, 192, 3, 1, 1),
    8: (256, 384, 3, 1, 1),
    10: (256, 256, 3, 1, 1),
}
POOLED_BEFORE = (3, 6)


class LPIPSNetwork(nn.Module):
    """The distance itself. Its weights are fixed and are not written into checkpoints.

    Args:
        features: AlexNet's convolutions by torchvision's names, ``features.0.weight`` and so on.
        heads: five tensors ``[1, C, 1, 1]``; by default those that torchmetrics ships.

    Raises:
        ValueError: a weight is missing or has another shape.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, features: dict[str, Tensor], heads: list[Tensor] | None = None) -> None:
        super().__init__()
        for number, (out, inputs, kernel, _, _) in CONVOLUTIONS.items():
            for kind, shape in (("weight", (out, inputs, kernel, kernel)), ("bias", (out,))):
                value = features.get(f"features.{number}.{kind}")
                if value is None or value.shape != shape:
                    raise ValueError(f"features.{number}.{kind} is not a tensor of shape {shape}")
                self.register_buffer(f"{kind}_{number}", value.float(), persistent=False)
        for number, head in zip(CONVOLUTIONS, torchmetrics_heads() if heads is None else heads, strict=True):
            self.register_buffer(f"head_{number}", head.float(), persistent=False)
        # The mean and deviation of ImageNet, for images in [-1, 1].
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        self.register_buffer("shift", shift.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)

    def on(self, device: torch.device) -> LPIPSNetwork:
        """Move the network, which loss and metric share."""
        # Training cannot use tensors that were made in a test's inference mode.
        with torch.inference_mode(False):
            return self.to(device)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """``[B]`` distances of images ``[B, 3, H, W]`` in [0, 1], H and W at least 31 (one last feature)."""
        distance = torch.zeros(len(first), device=first.device)
        pairs = zip(self._unit_features(first), self._unit_features(second), strict=True)
        for number, (one, other) in zip(CONVOLUTIONS, pairs, strict=True):
            difference = (one - other).pow(2) * getattr(self, f"head_{number}")
            distance = distance + difference.sum(1).mean((1, 2))
        return distance

    def _unit_features(self, images: Tensor) -> list[Tensor]:
        """``[B, C, h, w]`` features of each convolution, divided by their length over the channels."""
        values = (images.float() * 2 - 1 - self.shift) / self.scale
        features = []
        for number, (_, _, _, stride, padding) in CONVOLUTIONS.items():
            if number in POOLED_BEFORE:
                values = functional.max_pool2d(values, 3, 2)
            weight, bias = getattr(self, f"weight_{number}"), getattr(self, f"bias_{number}")
            values = functional.relu(functional.conv2d(values, weight, bias, stride, padding))
            # Where all are 0 this norm has gradient 0; that of a square root is not finite.
            features.append(values / (torch.linalg.vector_norm(values, dim=1, keepdim=True) + 1e-8))
        return features


def torchmetrics_heads() -> list[Tensor]:
    """The five linear heads ``[1, C, 1, 1]`` that torchmetrics ships with its LPIPS."""
    source = resources.files("torchmetrics") / "functional" / "image" / "lpips_models" / "alex.pth"
    with resources.as_file(source) as path:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    return [weights[f"lin{level}.model.1.weight"] for level in range(len(CONVOLUTIONS))]


FILE_NAME = "alexnet_features.pt"
URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
SHA256_PREFIX = "7be5be79"
LOAD_ERRORS = (
    *(OSError, EOFError, ValueError, RuntimeError, pickle.UnpicklingError),
    # torch's unpickler runs into these in files that are not its own.
    *(AttributeError, LookupError, TypeError),
)

logger = logging.getLogger(__name__)


@dataclass
class LoadedLPIPS:
    """The network, or the reason why there is none.

    Attributes:
        network: in evaluation mode; None where its weights can't be had.
        missing: the reason, empty where there is a network.
    """

    network: LPIPSNetwork | None
    missing: str = ""


@cache
def load_lpips(fetch: bool = True) -> LoadedLPIPS:
    """The network, its weights from ``PARTNERFACE_ASSETS``, else ``~/.cache/partnerface``, else a download.

    A download (once, 230 MB, of which 10 MB are kept) is checked by its hash. Failure is logged once
    and is no error: a test continues without LPIPS, and so does training, which does not ``fetch`` them.
    """
    path = stored_file(FILE_NAME)
    if not fetch:
        where = f"{FILE_NAME} is not in {ASSETS_VARIABLE} nor in {cache_folder()}"
        # One network serves the loss and the metric.
        return load_lpips() if path else LoadedLPIPS(None, f"{where}; partnerface test fetches it")
    try:
        # A test, which may be the first to load it, is in inference mode, whose tensors training cannot use.
        with torch.inference_mode(False):
            features = torch.load(path or _download(), map_location="cpu", weights_only=True)
            return LoadedLPIPS(LPIPSNetwork(features).eval())
    except LOAD_ERRORS as error:
        where = f"{path} is not usable" if path else f"{FILE_NAME} is not in {ASSETS_VARIABLE}"
        missing = f"{where} ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        logger.warning("LPIPS is missing: %s", missing)
        return LoadedLPIPS(None, missing)


def _download() -> Path:
    """Fetch torchvision's AlexNet, check it and keep its convolutions in the cache."""
    logger.info("fetching AlexNet for LPIPS from %s", URL)
    target = cache_folder() / FILE_NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".alexnet", dir=target.parent) as folder, whole_file(target) as partial:
        whole = Path(folder) / "alexnet.pth"
        download(URL, whole, SHA256_PREFIX)
        weights = torch.load(whole, map_location="cpu", weights_only=True)
        torch.save({k: v for k, v in weights.items() if k.startswith("features.")}, partial)
    return target
