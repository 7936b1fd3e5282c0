"""PartNerFace: animatable head avatars from one video, by part-based deformation of a radiance field.

A video of a head, tracked with a parametric head model (3DMM), becomes rays; points on a ray are
carried back into the canonical head by inverse skinning, moved by a part deformation, coloured by
one canonical radiance field and composited by volume rendering: `partnerface.avatar.avatar` shows all
of it on one page.

Axis alphabet used in every shape annotation:
    F frames, R rays per frame, S samples per ray, N points (any flattening of F, R, S) or kept samples,
    M rays that meet the head, K landmarks, T frames of a video, V vertices, U used vertices, Fc faces,
    Q points on a surface, J joints, E expression coefficients, I identity coefficients, P parts,
    D driving signal, A appearance code, C channels, B pictures in a batch, H W image height and width.

Conventions, the same everywhere; readers convert once, at the boundary:
    lengths in metres; rotations as 3x3 matrices in records;
    head models: y up, z out of the face, x to the subject's left;
    cameras: OpenCV axes (x right, y down, z forward), one stored pose named `camera_to_world`,
    intrinsics in pixels, pixel centres at +0.5;
    rgb in [0, 1]; images (B, 3, H, W); per-ray colours (F, R, 3).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partnerface.avatar_files.loading import load_avatar
    from partnerface.data.formats.auto import read_sequence
    from partnerface.data.view import View

__version__ = "0.2.0"
__all__ = ["View", "load_avatar", "read_sequence"]

_API = {
    "load_avatar": "partnerface.avatar_files.loading",
    "read_sequence": "partnerface.data.formats.auto",
    "View": "partnerface.data.view",
}
"""Where the names of the Python API are defined."""


def __getattr__(name: str):
    """Import the Python API when it is first used: torch alone takes seconds."""
    if name in _API:
        return getattr(importlib.import_module(_API[name]), name)
    raise AttributeError(f"module 'partnerface' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_API]
