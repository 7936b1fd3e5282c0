"""Read and write 8-bit image files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from partnerface.user_error import UserError


def read_rgb(path: Path) -> np.ndarray:
    """``[H, W, 3]`` uint8 colours of an image file.

    Raises:
        UserError: the file is missing or not an image.
    """
    return _read(path, "RGB")


def read_grey(path: Path) -> np.ndarray:
    """``[H, W]`` uint8 values of a one-channel image file (a matte or labels).

    Raises:
        UserError: the file is missing or not an image.
    """
    return _read(path, "L")


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, from the file's header alone.

    Raises:
        UserError: the file is missing or not an image.
    """
    with _opened(path) as image:
        return image.size


def write_image(path: Path, image: np.ndarray) -> None:
    """Write uint8 ``[H, W, 3]`` or ``[H, W]``, the file whole or not at all; the suffix chooses the format.

    Raises:
        UserError: the folder cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    # Level 1 is six times as fast as zlib's default and a tenth larger on photographs.
    options = {"compress_level": 1} if path.suffix == ".png" else {"quality": 95}
    try:
        Image.fromarray(np.ascontiguousarray(image)).save(partial, **options)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)


def _read(path: Path, mode: str) -> np.ndarray:
    with _opened(path) as image:
        try:
            return np.array(image.convert(mode))
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f"{path}: the image is damaged ({error}); write it again") from error


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such image") from error
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not an image that can be read ({error})") from error
