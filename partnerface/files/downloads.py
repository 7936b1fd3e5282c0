"""Files of trained detectors: found on disk, or downloaded once with their hash checked."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from partnerface.errors import UserError

ASSETS_VARIABLE = "PARTNERFACE_ASSETS"
DOWNLOAD_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class ModelFile:
    """A file that a detector needs.

    Attributes:
        name: file name, the same in every folder.
        url: where it is downloaded from.
        sha256: hex digest; a file with another one is never used.
        purpose: what it is for, used in messages.
    """

    name: str
    url: str
    sha256: str
    purpose: str


FACE_LANDMARKER = ModelFile(
    "face_landmarker.task",
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task",
    "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    "the face landmarks",
)
SELFIE_SEGMENTATION = ModelFile(
    "selfie_segmentation.tflite",
    "https://storage.googleapis.com/mediapipe-assets/selfie_segmentation.tflite",
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    "the foreground matte",
)
"""The general 256x256 model, as shipped inside older MediaPipe packages."""


def cache_folder() -> Path:
    """Where downloaded files are kept."""
    return Path.home() / ".cache" / "partnerface"


def model_file(model: ModelFile) -> Path:
    """Path of a model file: in the folder PARTNERFACE_ASSETS, in the cache, else downloaded into the cache.

    Raises:
        UserError: the file in PARTNERFACE_ASSETS has another hash, or there is no file and it
            cannot be downloaded.
    """
    if folder := os.environ.get(ASSETS_VARIABLE):
        path = Path(folder) / model.name
        if path.is_file():
            if _digest(path.read_bytes()) != model.sha256:
                raise UserError(
                    f"{path}: not the expected file (its sha256 differs from {model.sha256[:12]}...); "
                    f"replace it with {model.url}"
                )
            return path
    cached = cache_folder() / model.name
    if not (cached.is_file() and _digest(cached.read_bytes()) == model.sha256):
        _download(model, cached)
    return cached


def _download(model: ModelFile, target: Path) -> None:
    try:
        with urllib.request.urlopen(model.url, timeout=DOWNLOAD_TIMEOUT_S) as response:
            content = response.read()
    except OSError as error:
        raise UserError(
            f"{model.name} ({model.purpose}) is missing and cannot be downloaded ({error}): get it from "
            f"{model.url} and put it into {target.parent} or into a folder named by {ASSETS_VARIABLE}"
        ) from error
    if _digest(content) != model.sha256:
        raise UserError(
            f"{model.url}: the downloaded file has another sha256 than {model.sha256[:12]}...; "
            f"put the right {model.name} into {target.parent}"
        )
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"{target}: cannot be written ({error}); name a folder in {ASSETS_VARIABLE}"
        ) from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
