"""Colours of video frames: which standard they follow, and the way from there to BT.709 of standard range."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from partnerface.errors import UserError

HD_LINES = 720
"""Pictures of at least so many lines are BT.709 where their file does not say, smaller ones BT.601: what
players assume."""

HD_WIDTH = 1280

_UNSPECIFIED = 2
"""Number of the matrix that no file names (ITU-T H.273); PyAV has no name for it."""

_CONSTANT_LUMINANCE_2020 = 10
"""Hardly anything is made with it, and FFmpeg reads it as `_BT2020`."""

_BT2020 = 9
_MATRICES = (0, 1, 4, 5, 6, 7, _BT2020)
"""Numbers of the matrices that FFmpeg converts; YCgCo, ICtCp and the like it does not."""

REFERENCE_WHITE = 203.0
"""cd/m² of white paper in HDR (ITU-R BT.2408), which becomes the white of the standard range."""

HDR_PEAK = 1000.0
"""cd/m² that become white: the nominal peak of HLG, and of nearly all PQ masters."""

LUT_SIZE = 33
DISPLAY_EXPONENT = 2.4
"""Exponent of the reference display of the standard range (ITU-R BT.1886)."""

_CHROMATICITIES = {
    "BT.709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "BT.2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "Display P3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""x and y of red, green and blue; white is D65 in all three."""

_GAMUTS = {ColorPrimaries.BT2020: "BT.2020", ColorPrimaries.SMPTE432: "Display P3"}
_TRANSFERS = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}


class Colours(NamedTuple):
    """What the values of a frame mean.

    Attributes:
        matrix: number of the matrix from YUV to RGB, as FFmpeg counts them.
        limited: True if luma uses 16 to 235 of 255.
        transfer: ``SDR``, ``HLG`` or ``PQ``.
        gamut: ``BT.709``, ``BT.2020`` or ``Display P3``.
    """

    matrix: int
    limited: bool
    transfer: str
    gamut: str

    @property
    def is_converted(self) -> bool:
        """True if values of BT.709 differ from these by more than the matrix."""
        return (self.transfer, self.gamut) != ("SDR", "BT.709")


def frame_colours(frame: av.VideoFrame, path: Path) -> Colours:
    """The colours of a decoded frame, by its tags; untagged HD is BT.709 and smaller pictures BT.601.

    Raises:
        UserError: those of the video at ``path`` cannot be converted.
    """
    matrix = int(frame.colorspace)
    if matrix == _CONSTANT_LUMINANCE_2020:
        matrix = _BT2020
    if matrix == _UNSPECIFIED:
        hd = frame.height >= HD_LINES or frame.width >= HD_WIDTH
        matrix = int(Colorspace.ITU709 if hd else Colorspace.ITU601)
    if matrix not in _MATRICES:
        raise UserError(
            f"{path}: its colours are coded by matrix {matrix} of ITU-T H.273, which cannot be converted; "
            "encode the video again"
        )
    transfer = _TRANSFERS.get(frame.color_trc, "SDR")
    gamut = _GAMUTS.get(frame.color_primaries, "BT.709")
    if transfer != "SDR" and frame.color_primaries == ColorPrimaries.UNSPECIFIED:
        gamut = "BT.2020"
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    return Colours(matrix, not full, transfer, gamut)


def to_bt709(values: np.ndarray, transfer: str, gamut: str) -> np.ndarray:
    """Non-linear RGB ``[..., 3]`` in [0, 1] of another standard as BT.709 of standard range, in [0, 1].

    HLG and PQ become light on a display (ITU-R BT.2100), whose highlights are compressed by the EETF of
    ITU-R BT.2390 so that 1000 cd/m² become white; up to 0.44 of reference white nothing changes. What the
    gamut of BT.709 does not hold is clipped.
    """
    if transfer == "SDR":
        linear = values**DISPLAY_EXPONENT
    else:
        light = pq_to_light(values) if transfer == "PQ" else hlg_to_light(values)
        linear = _compress_highlights(light) / REFERENCE_WHITE
    linear = linear @ (np.linalg.inv(_rgb_to_xyz("BT.709")) @ _rgb_to_xyz(gamut)).T
    return linear.clip(0, 1) ** (1 / DISPLAY_EXPONENT)


def pq_to_light(values: np.ndarray) -> np.ndarray:
    """Display light in cd/m² of PQ values in [0, 1] (ITU-R BT.2100, table 4)."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = values ** (1 / m2)
    return 10_000 * ((root - c1).clip(0) / (c2 - c3 * root)) ** (1 / m1)


def light_to_pq(light: np.ndarray) -> np.ndarray:
    """PQ values in [0, 1] of display light in cd/m² (ITU-R BT.2100, table 4)."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = (light / 10_000).clip(0) ** m1
    return ((c1 + c2 * root) / (1 + c3 * root)) ** m2


def hlg_to_light(values: np.ndarray) -> np.ndarray:
    """Light in cd/m² of HLG values ``[..., 3]`` in [0, 1], on a display of 1000 cd/m².

    ITU-R BT.2100, table 5.
    """
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return HDR_PEAK * luminance[..., None] ** 0.2 * scene


def _compress_highlights(light: np.ndarray) -> np.ndarray:
    """Light in cd/m² with `HDR_PEAK` brought down to `REFERENCE_WHITE`: the EETF of ITU-R BT.2390, 5.4.1."""
    peak = float(light_to_pq(np.array(HDR_PEAK)))
    top = float(light_to_pq(np.array(REFERENCE_WHITE))) / peak
    knee = 1.5 * top - 0.5
    signal = (light_to_pq(light) / peak).clip(0, 1)
    t = (signal - knee) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * top
    )
    return pq_to_light(np.where(signal < knee, signal, spline) * peak)


def _rgb_to_xyz(gamut: str) -> np.ndarray:
    """``[3, 3]`` from linear RGB to CIE XYZ (SMPTE RP 177)."""
    white = np.array([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])
    primaries = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in _CHROMATICITIES[gamut]]).T
    return primaries * np.linalg.solve(primaries, white)


@cache
def lut_text(transfer: str, gamut: str) -> str:
    """`to_bt709` as a three-dimensional table, in the format ``.cube``; the first channel runs fastest."""
    steps = np.linspace(0, 1, LUT_SIZE)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    values = to_bt709(np.stack([red, green, blue], -1), transfer, gamut).reshape(-1, 3)
    return f"LUT_3D_SIZE {LUT_SIZE}\n" + "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in values) + "\n"


def write_lut(path: Path, colours: Colours) -> None:
    """Write the table of `lut_text` for FFmpeg's filter ``lut3d``."""
    path.write_text(lut_text(colours.transfer, colours.gamut))
