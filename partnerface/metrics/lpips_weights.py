"""Where the AlexNet weights of LPIPS come from, and what happens when they can't be had."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from partnerface.metrics.lpips import LPIPS

FILE_NAME = "alexnet_features.pt"
URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
SHA256_PREFIX = "7be5be79"
TIMEOUT_SECONDS = 20
LOAD_ERRORS = (
    *(OSError, EOFError, ValueError, RuntimeError, pickle.UnpicklingError),
    # torch's unpickler runs into these in files that are not its own.
    *(AttributeError, LookupError, TypeError),
)

logger = logging.getLogger(__name__)


@dataclass
class LPIPSNetwork:
    """The metric, or why there is none.

    Attributes:
        metric: None where the weights can't be had; LPIPS is then reported as missing.
        missing: the reason, empty where there is a metric.
    """

    metric: LPIPS | None
    missing: str = ""


@cache
def load_lpips() -> LPIPSNetwork:
    """LPIPS with weights from the first of: ``PARTNERFACE_ASSETS``, ``~/.cache/partnerface``, a download.

    A download (once, 230 MB, of which 10 MB are kept) is checked by its hash. Failure is logged once
    and is no error: a test goes on without LPIPS.
    """
    stored = Path.home() / ".cache" / "partnerface" / FILE_NAME
    assets = os.environ.get("PARTNERFACE_ASSETS")
    candidates = [Path(assets) / FILE_NAME] if assets else []
    path = next((p for p in (*candidates, stored) if p.is_file()), None)
    try:
        if path is None:
            path = _download(stored)
        features = torch.load(path, map_location="cpu", weights_only=True)
        return LPIPSNetwork(LPIPS(features))
    except LOAD_ERRORS as error:
        where = (
            f"{path} is not usable" if path else f"{FILE_NAME} is not in PARTNERFACE_ASSETS and {URL} failed"
        )
        missing = f"{where} ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        logger.warning("LPIPS is reported as missing: %s", missing)
        return LPIPSNetwork(None, missing)


def _download(target: Path) -> Path:
    """Fetch torchvision's AlexNet, check it and keep its convolutions."""
    logger.info("fetching AlexNet for LPIPS from %s", URL)
    target.parent.mkdir(parents=True, exist_ok=True)
    whole = target.with_name(f".{target.name}.{os.getpid()}.download")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(URL, timeout=TIMEOUT_SECONDS) as response, whole.open("wb") as file:
            while block := response.read(1 << 20):
                digest.update(block)
                file.write(block)
        if not digest.hexdigest().startswith(SHA256_PREFIX):
            raise OSError("the downloaded file has another hash")
        weights = torch.load(whole, map_location="cpu", weights_only=True)
        torch.save({k: v for k, v in weights.items() if k.startswith("features.")}, partial)
        os.replace(partial, target)
    finally:
        whole.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
    return target
