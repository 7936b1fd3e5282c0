"""The command ``reenact``: an avatar that does what another video, a file or a motion shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def reenact(
    avatar: Path,
    driver: str,
    out: Path,
    frames: str | None = None,
    side_by_side: bool = False,
    size: str | None = None,
    background: str = "white",
    sound: bool | Path = True,
    keep_frames: bool = False,
    trust: str = "",
    **driving: Any,
) -> None:
    """Render an avatar that is driven by a performance.

    Args:
        avatar: folder of a run or of an avatar, a checkpoint, or an avatar file.
        driver: talk, range_of_motion or idle; own, the avatar's own video; or a video, the folder of a
            tracked dataset, a Live Link Face .csv, or a table of expressions (.json, .npz, .npy).
        out: the film (.mp4, .webm, .mov, .mkv), or a folder of pictures. The same command again continues
            one that was stopped.
        frames: range A:B of the driver's frames, from A up to but without B.
        side_by_side: show the driver's frames on the left.
        size: a side in pixels, or WIDTHxHEIGHT; by default that of training.
        background: transparent, #rrggbb, the name of a colour, or an image.
        sound: take the driver's sound along, or not (false), or that of a file (.wav, .mp3, a video ...)
            that was recorded with it.
        keep_frames: keep the finished frames in OUT.frames.
        trust: packages whose classes the avatar may name, with commas between.
        driving: see `DrivingOptions`.
    """
    # Imported here: --help need not wait for torch.
    from partnerface.animation.film import make_film
    from partnerface.animation.film_output import FilmOutput, parse_frames
    from partnerface.animation.open_avatar import open_avatar
    from partnerface.animation.open_driver import DrivingOptions
    from partnerface.errors import UserError
    from partnerface.runs.stop_signals import termination_as_exit

    options = DrivingOptions(**driving)
    output = FilmOutput.parse(out, size, background, driver=driver)
    if isinstance(sound, Path):
        output.require_sound(sound)
    with termination_as_exit():
        opened = open_avatar(avatar, trust)
        performance = opened.drive(driver, options)
        numbers = parse_frames(frames, len(performance))
        beside = performance.performance.pictures if side_by_side else None
        if beside is not None and len(beside) != len(performance):
            raise UserError(f"--side_by_side: driver {driver} has no pictures; leave it out")
        written = make_film(
            opened.avatar,
            performance,
            output,
            frames=numbers,
            beside=beside,
            sound=sound,
            keep_frames=keep_frames,
        )
        print(f"{written[0]}: {len(numbers)} frames, {len(numbers) / performance.fps:.2f} s")
