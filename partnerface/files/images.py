"""Read and write image files. Those read may come from strangers."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from partnerface.errors import UserError
from partnerface.files.whole_files import whole_file

FORMATS = ("PNG", "JPEG")
"""Formats that are decoded; Pillow knows others that start programs."""

WRITTEN_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}

_COLOURED = ("RGB", "RGBA", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr")
"""Types of pixels that have colours of 8 bits."""

_WITH_PIXELS = ("RGB", "RGBA", "L", "LA", "P", "PA")
"""Types of which `read_pixels` gives colours and alpha."""

LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue (ITU-R BT.601)."""

LARGEST_PIXELS = 8192 * 8192
"""An image or video frame of more pixels is not decoded: a small file can hold an enormous one."""


class DamagedImage(UserError):
    """A file that holds no image, or a part of one."""


def read_rgb(path: Path) -> np.ndarray:
    """``[H, W, 3]`` uint8 colours of an image file.

    Raises:
        UserError: the file is missing or not an image.
    """
    return _read(path, "RGB", _COLOURED)


def shrink(image: np.ndarray, width: int, height: int | None = None) -> np.ndarray:
    """A picture ``[H, W, 3]`` or ``[H, W]``, uint8, at another size: pixels are means over areas, about.

    Pillow's box filter gives whole pixels to one side or the other where an area ends within them, which
    shifts pictures by a quarter of a pixel: it averages over areas for whole ratios alone.

    Args:
        image: the picture.
        width: columns of the result.
        height: its rows, as many as columns by default.
    """
    height = height or width
    whole = image.shape[0] % height == 0 and image.shape[1] % width == 0
    kernel = Image.Resampling.BOX if whole else Image.Resampling.HAMMING
    return np.asarray(Image.fromarray(image).resize((width, height), kernel))


def read_shown(path: Path) -> np.ndarray:
    """``[H, W, 3]`` uint8 colours of an image file as viewers show it: upright, and over white.

    Raises:
        UserError: the file is missing or not an image.
    """
    picture = Image.fromarray(_read(path, "RGBA", _COLOURED, upright=True))
    white = Image.new("RGBA", picture.size, "white")
    return np.array(Image.alpha_composite(white, picture).convert("RGB"))


def read_pixels(path: Path, upright: bool = False) -> np.ndarray:
    """uint8 ``[H, W, 3]`` colours of an image file, or ``[H, W, 4]`` with straight alpha if it has any.

    ``upright`` turns it as its EXIF data say.

    Raises:
        UserError: the file is missing or not an image.
    """
    with _opened(path) as image:
        mode = "RGBA" if image.has_transparency_data else "RGB"
    return _read(path, mode, _WITH_PIXELS, upright)


def read_grey(path: Path) -> np.ndarray:
    """``[H, W]`` uint8 values of an image file, a colour by its luminance.

    Raises:
        UserError: the file is missing or not an image, or has more than 8 bits a value.
    """
    return _read(path, "L", ("L", "LA", "1", "RGB", "RGBA"))


def read_matte(path: Path) -> np.ndarray:
    """``[H, W]`` uint8 matte of an image file: its alpha, of a file without any transparency its luminance.

    Raises:
        UserError: the file is missing or not an image, or has more than 8 bits a value.
    """
    with _opened(path) as image:
        has_alpha = image.mode in ("LA", "RGBA")
    alpha = _read(path, "RGBA", ("LA", "RGBA"))[..., 3] if has_alpha else None
    return read_grey(path) if alpha is None or alpha.min() == 255 else alpha


def read_labels(path: Path, highest: int) -> np.ndarray:
    """``[H, W]`` uint8 values of a one-channel image file whose values are numbers up to ``highest``.

    Raises:
        UserError: the file is missing or no image of one channel, or holds a larger number.
    """
    labels = _read(path, "L", ("L",))
    if labels.max() > highest:
        raise UserError(f"{path}: holds label {labels.max()}, labels go up to {highest}; write it again")
    return labels


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, from the file's header alone.

    Raises:
        UserError: the file is missing or not an image.
    """
    with _opened(path) as image:
        return image.size


def shown_size(path: Path) -> tuple[int, int]:
    """Width and height of what `read_pixels` gives if upright, from the file's header alone.

    Raises:
        UserError: the file is missing or not an image, or has pixels of another type.
    """
    with _opened(path) as image:
        _require_type(path, image, _WITH_PIXELS)
        # MPO is JPEG with a second picture. Of PNG it would decode all pixels, to look behind them.
        lies = image.format in ("JPEG", "MPO") and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return image.size[::-1] if lies else image.size


def write_image(path: Path, image: np.ndarray, comment: str = "") -> None:
    """Write an image as PNG or JPEG, by the suffix; the file is whole or not there.

    uint8 ``[H, W, 3]`` or ``[H, W]``; in PNG also ``[H, W, 4]`` with straight alpha, uint16 ``[H, W]``, and a
    comment as text chunk ``Comment``.

    Raises:
        NotWritten: it cannot be written.
    """
    # Level 1 is six times as fast as zlib's default and a tenth larger on photographs.
    options: dict[str, Any] = {"compress_level": 1} if path.suffix.lower() == ".png" else {"quality": 95}
    if comment:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Comment", comment)
    with whole_file(path) as partial:
        picture = Image.fromarray(np.ascontiguousarray(image))
        picture.save(partial, WRITTEN_FORMATS[path.suffix.lower()], **options)


def _read(path: Path, mode: str, readable: tuple[str, ...], upright: bool = False) -> np.ndarray:
    with _opened(path) as image:
        _require_type(path, image, readable)
        try:
            turned = ImageOps.exif_transpose(image) if upright else image
            return np.array(_in_srgb(turned.convert(mode), image.info.get("icc_profile")))
        # What a damaged file raises depends on where it is damaged.
        except (OSError, ValueError, SyntaxError, LookupError, TypeError, MemoryError) as error:
            raise DamagedImage(f"{path}: the image is damaged ({error}); write it again") from error


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A picture whose colours are those of an ICC profile, such as Display P3, as viewers show it.

    One without a profile, or with one that is damaged or of other than three colours, is sRGB.
    """
    if profile is None or image.mode not in ("RGB", "RGBA"):
        return image
    with suppress(ImageCms.PyCMSError, OSError):
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        flags = ImageCms.Flags.COPY_ALPHA
        return ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), flags=flags)
    return image


def _require_type(path: Path, image: Image.Image, readable: tuple[str, ...]) -> None:
    if image.mode not in readable:
        raise UserError(
            f"{path}: has pixels of type {image.mode}, expected {' or '.join(readable[:2])} of 8 bits; "
            "write it again"
        )


def _opened(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Our own limit is lower, and an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=FORMATS)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such image") from error
    except Image.UnidentifiedImageError as error:
        raise DamagedImage(f"{path}: not an image that can be read; give PNG or JPEG") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DamagedImage(f"{path}: not an image that can be read ({error})") from error
    if image.width * image.height > LARGEST_PIXELS:
        image.close()
        raise UserError(
            f"{path}: {image.width}x{image.height} pixels; at most {LARGEST_PIXELS:,} are decoded, reduce it"
        )
    return image
