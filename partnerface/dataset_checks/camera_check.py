"""Intrinsics sanity: could a real camera have taken this?"""

from __future__ import annotations

import math

from partnerface.cameras.pinhole import Camera
from partnerface.dataset_checks.finding import Finding, Severity, graded

FOCAL_RANGE = (0.5, 10.0)
"""Focal length in longer sides of the picture: a field of view of 90 to 6 degrees."""
USUAL_FOCAL_RANGE = (0.8, 6.0)
STRETCH = 1.05
PRINCIPAL_LIMIT = 2.0
"""Picture sides between the principal point and the picture's middle; a crop moves it off."""
STEADY = 1e-3


def check_camera(camera: Camera) -> list[Finding]:
    """Focal length, squareness of the pixels, principal point, and that the camera stands still.

    Args:
        camera: ``T`` cameras.
    """
    longer = max(camera.width, camera.height)
    horizontal, vertical, centre_x, centre_y = camera.intrinsics.unbind(1)
    lowest, highest = (float(v) / longer for v in (horizontal.min(), horizontal.max()))
    view = math.degrees(2 * math.atan(camera.width / (2 * float(horizontal.median()))))
    stretch = float((horizontal / vertical).log().abs().max().exp())
    offset = max(
        float((centre_x / camera.width - 0.5).abs().max()),
        float((centre_y / camera.height - 0.5).abs().max()),
    )
    motion = float((camera.camera_to_world - camera.camera_to_world[:1]).abs().max())
    problems: list[tuple[Severity, str]] = []
    focal = f"focal length of {lowest:.3g} to {highest:.3g} picture sides (field of view {view:.1f} degrees)"
    if not FOCAL_RANGE[0] <= lowest <= highest <= FOCAL_RANGE[1]:
        problems.append(("unfit", f"{focal}; cameras have {FOCAL_RANGE[0]:g} to {FOCAL_RANGE[1]:g}"))
    elif not USUAL_FOCAL_RANGE[0] <= lowest <= highest <= USUAL_FOCAL_RANGE[1]:
        problems.append(("doubt", f"{focal}; look whether it was measured in other pixels"))
    if stretch > STRETCH:
        problems.append(("unfit", f"pixels are stretched by {stretch:.2f}: fl_x and fl_y differ"))
    if offset > PRINCIPAL_LIMIT:
        problems.append(("unfit", f"the principal point lies {offset:.1f} picture sides off the middle"))
    if motion > STEADY:
        problems.append(("doubt", f"the camera moves by up to {motion:.3f} m; it should stand still"))
    values = {
        "focal_sides_min": lowest,
        "focal_sides_max": highest,
        "field_of_view_degrees": view,
        "pixel_stretch": stretch,
        "principal_offset_sides": offset,
        "camera_motion_m": motion,
    }
    return graded("camera", problems, focal, values)
