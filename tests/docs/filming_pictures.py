"""Makes the pictures of docs/videos.md from the embedded subjects: ``python -m tests.docs.filming_pictures``.

One sheet shows what to do before the camera, the other what goes wrong there.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pytorch3d.transforms import euler_angles_to_matrix

from partnerface.data.synthetic.performance import sided
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.head_models.anny import AnnyHead

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
TILE, LABEL = 160, 22
"""Side of a picture in a sheet, and height of the words below it, in pixels."""

TO_DO: dict[str, tuple[float, float, dict[str, float]]] = {
    "look ahead": (0, 0, {}),
    "turn left": (0, 35, {}),
    "turn right": (0, -35, {}),
    "look up": (-15, 0, {}),
    "look down": (15, 0, {}),
    "smile": (0, 0, {"mouthSmile": 0.9, "cheekSquint": 0.6}),
    "aah": (0, 0, {"jawOpen": 0.7}),
    "ooh": (0, 0, {"mouthPucker": 0.9, "mouthFunnel": 0.4}),
    "brows up": (0, 0, {"browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.6}),
    "close your eyes": (0, 0, {"eyeBlink": 1.0}),
}
"""Pitch and yaw of the head in degrees, and actions of the face."""


def photographs(name: str, size: int, zoom: float) -> list[Image.Image]:
    """A subject in the poses of `TO_DO`: RGBA pictures of the person before nothing.

    Args:
        name: name of the embedded subject.
        size: side in pixels.
        zoom: factor on the focal length.
    """
    subject, model = subject_named(name), AnnyHead()
    renderer = SubjectRenderer(model, replace(subject, focal=zoom * subject.focal), len(TO_DO), size, seed=0)
    head = renderer.head
    head.expression[:], renderer.sway[:] = 0, 0
    head.translation, head.joint_rotations[:] = head.torso_translation, torch.eye(3)
    for k, (pitch, yaw, actions) in enumerate(TO_DO.values()):
        angles = torch.tensor([math.radians(yaw), math.radians(pitch), 0.0])
        head.rotation[k] = euler_angles_to_matrix(angles, "YXZ")
        for action, value in actions.items():
            head.expression[k, sided(model, action)] = value
    with torch.no_grad():
        frames = [renderer.render(k) for k in range(len(TO_DO))]
    return [Image.fromarray(np.dstack([frame.image, frame.matte])) for frame in frames]


def room(width: int, height: int) -> Image.Image:
    """A wall with two shelves."""
    y, _ = np.mgrid[:height, :width]
    wall = np.array([186, 190, 190.0]) - 22 * (y / height)[..., None]
    picture = Image.fromarray(wall.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for shelf in (0.28, 0.66):
        draw.rectangle((0, shelf * height, 0.22 * width, (shelf + 0.03) * height), fill=(120, 92, 66))
        for k, colour in enumerate(((150, 60, 50), (60, 90, 120), (190, 160, 90), (70, 110, 80))):
            left = (0.02 + 0.045 * k) * width
            draw.rectangle((left, (shelf - 0.13) * height, left + 0.035 * width, shelf * height), fill=colour)
    return picture


def before(person: Image.Image, wall: Image.Image, side: int = 0, x: int = 0, y: int = 0) -> Image.Image:
    """The person before the wall; ``side`` pixels wide if not 0, the upper left corner at ``x``, ``y``."""
    picture = wall.copy()
    shown = person.resize((side, side), Image.Resampling.LANCZOS) if side else person
    picture.paste(shown, (x, y), shown)
    return picture


def wrong(person: Image.Image, other: Image.Image, size: int) -> dict[str, Image.Image]:
    """Pictures ``size`` pixels wide and high of one fault each; ``other`` is a second person."""
    wall = room(size, size)
    good = before(person, wall)
    *colours, alpha = person.split()
    dark = Image.merge("RGBA", [*(band.point(lambda v: 0.22 * v) for band in colours), alpha])
    noise = np.random.default_rng(0).normal(0, 5, (size, size, 3))
    night = Image.fromarray((0.2 * np.asarray(good, float) + noise).clip(0, 255).astype(np.uint8))
    poster = wall.copy()
    poster.paste((250, 250, 245), (int(0.02 * size), int(0.1 * size), int(0.4 * size), int(0.56 * size)))
    small = other.resize((int(0.34 * size),) * 2)
    poster.paste(small, (int(0.04 * size), int(0.18 * size)), small)
    hand = good.copy()
    draw = ImageDraw.Draw(hand)
    for k in range(4):
        left = (0.4 + 0.05 * k) * size
        finger = left, 0.47 * size, left + 0.047 * size, 0.72 * size
        draw.rounded_rectangle(finger, 0.02 * size, (214, 160, 130))
        draw.line((left, 0.5 * size, left, 0.72 * size), (150, 100, 76), 2)
    return {
        "too far": before(person, wall, size // 3, size // 3, size * 2 // 3),
        "hair cut off": good.crop((size // 6, size // 3, size * 5 // 6, size)),
        "against the light": before(dark, wall.point(lambda v: min(255, 1.4 * v))),
        "too dark": night,
        "out of focus": good.filter(ImageFilter.GaussianBlur(size / 70)),
        "a poster": before(person, poster, 0, size // 6),
        "a hand": hand,
        "squeezed": good.resize((size * 2 // 3, size)),
    }


def sheet(pictures: dict[str, Image.Image], columns: int) -> Image.Image:
    """Pictures in rows, with their names below them."""
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * (TILE + 4), rows * (TILE + LABEL)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for k, (name, picture) in enumerate(pictures.items()):
        x, y = k % columns * (TILE + 4) + 2, k // columns * (TILE + LABEL) + 2
        tile = picture.copy()
        tile.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
        page.paste(tile, (x + (TILE - tile.width) // 2, y + (TILE - tile.height) // 2))
        draw.text((x + TILE / 2, y + TILE + 2), name, "black", font, anchor="ma")
    return page


def main() -> None:
    people = photographs("a", 2 * TILE, 0.75)
    other = photographs("b", TILE, 0.9)[0]
    wall = room(2 * TILE, 2 * TILE)
    close = tuple(int(share * 2 * TILE) for share in (0.15, 0.19, 0.85, 0.89))
    done = {name: before(person, wall).crop(close) for name, person in zip(TO_DO, people, strict=True)}
    for name, picture in (
        ("filming_do", sheet(done, 5)),
        ("filming_wrong", sheet(wrong(people[0], other, 2 * TILE), 4)),
    ):
        picture.save(FOLDER / f"{name}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
