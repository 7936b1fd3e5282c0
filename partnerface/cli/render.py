"""The command ``render``: pictures and films of an avatar without a performer."""

from __future__ import annotations

from pathlib import Path

from partnerface.errors import UserError


def render(
    avatar: Path,
    out: Path,
    path: str = "orbit",
    channels: str = "rgb",
    expression: str | None = None,
    sweep: str | None = None,
    driver: str | None = None,
    view: int | None = None,
    seconds: float = 4.0,
    fps: float | None = None,
    degrees: float = 25.0,
    size: str | None = None,
    background: str = "white",
    keep_frames: bool = False,
    trust: str = "",
) -> None:
    """Render an avatar from a camera that stands still or moves around it.

    Args:
        avatar: folder of a run or of an avatar, a checkpoint, or an avatar file.
        out: the film (.mp4, .webm, .mov, .mkv), a .png for a single picture, or a folder of pictures.
        path: front, orbit, or a JSON file that lists cameras.
        channels: rgb, depth, normals, parts, with commas between; the first is written to --out, others
            to NAME_CHANNEL beside it.
        expression: coefficients that are set, such as jawOpen=0.5,eyeBlinkLeft=1.
        sweep: an expression that goes from rest to full and back, such as smile or jawOpen.
        driver: with --view: whose view stands still, as for reenact; by default the neutral face.
        view: number of that view.
        seconds: length of an orbit or a sweep.
        fps: frames per second; by default as the file of cameras says, or else 25.
        degrees: how far an orbit goes to each side.
        size: a side in pixels, or WIDTHxHEIGHT; by default that of training.
        background: transparent, #rrggbb, the name of a colour, or an image.
        keep_frames: keep the finished frames in OUT.frames.
        trust: packages whose classes the avatar may name, with commas between.
    """
    if (driver is None) != (view is None):
        raise UserError("--driver and --view: give both, or neither")
    # Imported here: --help need not wait for torch.
    from partnerface.animation.film import make_film
    from partnerface.animation.film_output import FilmOutput
    from partnerface.animation.open_avatar import open_avatar
    from partnerface.animation.shots import parse_expression, shots
    from partnerface.runs.stop_signals import termination_as_exit

    output = FilmOutput.parse(out, size, background, channels, driver)
    coefficients = parse_expression(expression)
    opened = open_avatar(avatar, trust)
    still = opened.still_view(driver, view).with_expression(**coefficients)
    film = shots(opened.avatar, still, path, sweep, seconds=seconds, fps=fps, degrees=degrees)
    with termination_as_exit():
        for written in make_film(opened.avatar, film, output, keep_frames=keep_frames):
            print(f"{written}: {len(film)} frames")
