"""Weights of trained networks: found on disk, or downloaded once with their hash checked."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import sys
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

import torch.hub

from partnerface.errors import UserError
from partnerface.files.whole_files import NotWritten

ASSETS_VARIABLE = "PARTNERFACE_ASSETS"
TIMEOUT_S = 30.0
"""Seconds without a byte after which a connection is given up."""

_CONNECTION_ERRORS = (URLError, HTTPException, TimeoutError, ConnectionError, ssl.SSLError)


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


def stored_file(name: str) -> Path | None:
    """A file in the folder that PARTNERFACE_ASSETS names, else in the cache; None where neither has it."""
    folders = [Path(os.environ[ASSETS_VARIABLE])] if os.environ.get(ASSETS_VARIABLE) else []
    paths = (folder / name for folder in (*folders, cache_folder()))
    return next((path for path in paths if path.is_file()), None)


def model_file(model: ModelFile) -> Path:
    """Path of a model file: in the folder PARTNERFACE_ASSETS, in the cache, else downloaded into the cache.

    Raises:
        UserError: the file in PARTNERFACE_ASSETS has another hash, or there is no file and it
            cannot be downloaded.
    """
    path, cached = stored_file(model.name), cache_folder() / model.name
    if path and hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256:
        return path
    if path and path != cached:
        raise UserError(
            f"{path}: not the expected file (its sha256 differs from {model.sha256[:12]}...); "
            f"replace it with {model.url}"
        )
    try:
        download(model.url, cached, model.sha256)
    except UserError as error:
        raise UserError(
            f"{model.name} ({model.purpose}) is missing: {error}; put it into {cached.parent} "
            f"or into a folder named by {ASSETS_VARIABLE}"
        ) from error
    return cached


def download(url: str, target: Path, sha256: str) -> None:
    """Download a file whole or not at all, with a progress bar where stderr is a terminal.

    Args:
        url: what to fetch.
        target: the file to write; its folder is made.
        sha256: the digest that the content must have, or the first digits of it.

    Raises:
        UserError: there is no connection, the content has another digest, or ``target`` cannot be written.
    """
    timeout = socket.getdefaulttimeout()
    # torch.hub passes none: a server that falls silent would be waited for without end.
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), sha256, progress=sys.stderr.isatty())
    except _CONNECTION_ERRORS as error:
        raise UserError(f"{url}: cannot be downloaded ({error})") from error
    except RuntimeError as error:
        raise UserError(f"{url}: the downloaded file has another sha256 than {sha256[:12]}...") from error
    except OSError as error:
        raise NotWritten(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        socket.setdefaulttimeout(timeout)
