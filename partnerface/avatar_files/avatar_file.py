"""The avatar file: one safetensors file with all that a trained avatar needs to be rendered, and no code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from partnerface import __version__
from partnerface.avatar_files.class_paths import class_path
from partnerface.errors import UserError
from partnerface.files.plain_values import parse_json
from partnerface.files.whole_files import whole_file
from partnerface.head_models.head_model import HeadModel

SUFFIX = ".avatar"
FORMAT, FORMAT_VERSION = "partnerface avatar", 1
LARGEST_HEADER, LARGEST_FILE = 4_000_000, 2_000_000_000
"""Bytes."""
_NO_AVATAR_FILE = "it is no avatar file; make one with partnerface export avatar"


@dataclass(frozen=True)
class AvatarFile:
    """The contents of an avatar file.

    Attributes:
        avatar: ``class_path`` and ``init_args`` of the avatar; paths in them are names of files that lie
            beside the avatar file, such as that of FLAME.
        head_model: ``class_path``, ``name``, ``version``, ``checksum`` and ``expression_names``.
        tensors: the avatar's state by name, all values finite; identity, expression range, neck line and
            default view are among them.
        scores: the content of the run's ``metrics.json``, or None if it was not tested.
    """

    avatar: dict[str, Any]
    head_model: dict[str, Any]
    tensors: Mapping[str, Tensor]
    scores: dict[str, Any] | None = None


def head_model_reference(head_model: HeadModel) -> dict[str, Any]:
    """What an avatar file says of a head model, so that another one is noticed."""
    asset = head_model.asset
    return {
        "class_path": class_path(type(head_model)),
        "name": asset.name,
        "version": asset.version,
        "checksum": asset.checksum(),
        "expression_names": list(asset.expression_names),
    }


def write_avatar_file(path: Path, content: AvatarFile) -> None:
    """Write an avatar file whole or not at all.

    Raises:
        NotWritten: it cannot be written.
    """
    from safetensors.torch import save

    parts = {"avatar": content.avatar, "head_model": content.head_model, "scores": content.scores}
    metadata = {name: json.dumps(value) for name, value in parts.items() if value is not None}
    metadata |= {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "partnerface_version": __version__,
    }
    data = save({k: v.detach().cpu().contiguous() for k, v in content.tensors.items()}, metadata)
    with whole_file(path) as partial:
        partial.write_bytes(data)


def read_avatar_file(path: Path) -> AvatarFile:
    """Read an avatar file. Nothing in it is run, and no more memory is taken than the file is large.

    Raises:
        UserError: the file is missing, damaged, of a newer format or no avatar file, or a tensor holds
            values that are not finite.
    """
    source = f"avatar file {path}"
    metadata, tensors = _read(path, source)
    if metadata.get("format") != FORMAT:
        raise UserError(f"{source}: {_NO_AVATAR_FILE}")
    _check_version(metadata, source)
    tables = {}
    for name in ("avatar", "head_model", "scores"):
        value = parse_json(metadata.get(name, "null"), f"{source}: {name}")
        if not isinstance(value, dict) and (name != "scores" or value is not None):
            raise UserError(f"{source}: {name} is no table; export it again")
        tables[name] = value
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{source}: {name} holds values that are not finite; export it again")
    return AvatarFile(tensors=tensors, **tables)


def _read(path: Path, source: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    from safetensors import safe_open

    if not path.is_file():
        raise UserError(f"{source}: no such file")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if size > LARGEST_FILE:
            raise ValueError(f"{size / 1e6:,.0f} MB, {LARGEST_FILE / 1e6:,.0f} MB at most")
        if header > min(LARGEST_HEADER, size - 8):
            raise ValueError(_NO_AVATAR_FILE)
        with safe_open(path, framework="pt") as content:
            return content.metadata() or {}, {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except Exception as error:
        # What a damaged file raises depends on where it is damaged.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"{source}: not readable ({reason.strip().splitlines()[0][:200]})") from error


def _check_version(metadata: Mapping[str, str], source: str) -> None:
    version = metadata.get("format_version", "")
    if not re.fullmatch(r"[1-9]\d{0,3}", version):
        raise UserError(f"{source}: has no format version; export it again")
    if int(version) > FORMAT_VERSION:
        writer = metadata.get("partnerface_version", "")
        known = re.fullmatch(r"\d{1,4}(\.\d{1,4}){0,2}", writer) is not None
        newer = f"'partnerface>={writer}'" if known else "a newer partnerface"
        raise UserError(
            f"{source}: of format {version}, this version reads {FORMAT_VERSION}: pip install {newer}"
        )
