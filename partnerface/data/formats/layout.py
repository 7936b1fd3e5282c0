"""Our on-disk format: the names and conventions that the writer and the reader share.

The layout is VHAP's (the input of GaussianAvatars), extended::

    transforms.json               every frame; head model, splits and how they were chosen, coverage
    transforms_{train,val,test}.json   the same, frames of one use only
    images/00000.png              uint8 RGB
    fg_masks/00000.png            uint8 grey, 255 is the person
    labels/00000.png              uint8 grey, values of `Region`
    head_parameters/00000.npz     expression, joint rotations, rigid pose, torso pose, torso motion
    canonical_head.npz            identity, shell thickness, the head's middle

Cameras on disk are OpenGL's (``transform_matrix``: camera to world, y up, looking along -z), as in
every ``transforms.json``; intrinsics are in pixels; rotations are 3x3 matrices; metres.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from partnerface.cameras.pinhole import OPENGL_TO_OPENCV
from partnerface.errors import UserError

FORMAT_NAME = "partnerface"
FORMAT_VERSION = 1

TRANSFORMS = "transforms.json"
CANONICAL_HEAD = "canonical_head.npz"
CACHE_FOLDER = ".cache"
FILE_PATTERNS = {
    "file_path": "images/{:05d}.png",
    "fg_mask_path": "fg_masks/{:05d}.png",
    "label_path": "labels/{:05d}.png",
    "head_parameters_path": "head_parameters/{:05d}.npz",
}
"""File of each frame by its key in a frame's entry of ``transforms.json``."""

USES = ("train", "val", "test")
"""Each has a ``transforms_USE.json``; ``test`` holds the frames of all test splits."""

INTRINSICS = ("fl_x", "fl_y", "cx", "cy")

RESIDUAL = "landmark_residual"
"""Optional key of a frame: mean distance of tracked to detected landmarks, pixels of a picture 512 high."""

TIME = "time"
"""Optional key of a frame: seconds, see `TrackedSequence`."""

LONGEST_PATH, LONGEST_NAME = 1000, 255
"""Bytes of a path in a dataset, and of each name in it: file systems raise errors at longer ones."""


def flip_camera_axes(camera_to_world: Tensor) -> Tensor:
    """``[..., 3, 4]`` camera poses from OpenCV to OpenGL camera axes, or back: it is its own inverse."""
    signs = torch.tensor([*OPENGL_TO_OPENCV, 1.0]).to(camera_to_world)
    return camera_to_world * signs


def resolve_inside(root: Path, relative: object, source: Path) -> Path:
    """The file in the dataset's folder ``root`` that is written as ``relative`` in the file ``source``.

    Raises:
        UserError: it is not printable text, too long, or absolute, or leaves the folder, by ``..`` or by a
            link.
    """
    # Unprintable are control characters, which may forge lines of a terminal, and broken text.
    if not isinstance(relative, str) or not relative.isprintable() or not _is_usable(relative):
        words = repr(relative)[:200]
        raise UserError(f"{source}: {words} is not the path of a file; write the dataset again")
    # realpath, not Path.resolve, which raises at a loop of links.
    path, folder = Path(os.path.realpath(root / relative)), os.path.realpath(root)
    if PurePosixPath(relative).is_absolute() or not path.is_relative_to(folder):
        raise UserError(f"{source}: {relative!r} leads out of the dataset's folder; such a path is refused")
    return root / relative


def _is_usable(relative: str) -> bool:
    path = os.fsencode(relative)
    return 0 < len(path) <= LONGEST_PATH and max(map(len, path.split(b"/"))) <= LONGEST_NAME
