"""The command ``live``: an avatar follows a webcam, or a video played as if it were one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from partnerface.errors import UserError

if TYPE_CHECKING:
    from partnerface.animation.play_live import LiveFrame

WRITTEN_FPS = 25


def live(
    avatar: Path,
    source: str = "0",
    out: Path | None = None,
    size: int = 192,
    samples: int = 10,
    seconds: float | None = None,
    neutral_at: float | None = None,
    smooth: float | None = None,
    beta: float = 0.5,
    pose: Literal["relative", "absolute", "still"] = "relative",
    range: float = 1.0,
    torso: Literal["follow", "still"] = "follow",
    keep_distance: bool = True,
    side_by_side: bool = True,
    trust: str = "",
) -> None:
    """Drive an avatar by a webcam and say how fast it follows; Ctrl-C ends it.

    Faces are found with MediaPipe (extra `track`). Always the newest picture is rendered; those that come
    meanwhile are dropped.

    Args:
        avatar: folder of a run or of an avatar, a checkpoint, or an avatar file.
        source: number of a camera or its /dev/video, or a video file, which is played at its own rate.
        out: a video (.mp4) to write what is rendered to.
        size: width and height in pixels.
        samples: samples on a ray, at most those of training: fewer are faster.
        seconds: end after so many.
        neutral_at: take face and pose of the half second before this second as the performer's neutral; by
            default the neutral is found while running.
        smooth: cutoff in Hz of a filter for jitter at rest (1 euro filter), off by default.
        beta: Hz by which that cutoff rises with the speed of an expression.
        pose: how the head moves: relative to the first seconds, as before the camera, or not at all.
        range: how far expressions may leave those of training; inf for no limit.
        torso: whether the shoulders move with the head.
        keep_distance: the head stays as far from the camera as in training.
        side_by_side: show the performer beside the avatar in the video.
        trust: packages whose classes the avatar may name, with commas between.
    """
    if not 16 <= size <= 1024:
        raise UserError(f"--size {size}: choose 16 to 1024 pixels")
    if samples < 3:
        raise UserError(f"--samples {samples}: choose 3 or more")
    if smooth is not None and not smooth > 0:
        raise UserError(f"--smooth {smooth}: give a cutoff above 0 Hz")
    if not beta >= 0:
        raise UserError(f"--beta {beta}: give 0 or more")
    if seconds is not None and not seconds > 0:
        raise UserError(f"--seconds {seconds}: must be more than 0")
    if out is not None and Path(out).suffix != ".mp4":
        raise UserError(f"--out {out}: a live performance is written as .mp4")
    # Imported here: --help need not wait for torch.
    import numpy as np
    from PIL import Image
    from rich.console import Console

    from partnerface.animation.open_avatar import open_avatar
    from partnerface.animation.play_live import LiveFigures, play_live
    from partnerface.compute.process_settings import without_native_chatter
    from partnerface.compute.threads import single_thread
    from partnerface.data.drivers.transfer import TransferSettings
    from partnerface.files.live_video import (
        CAMERA_PATIENCE_S,
        NewestPictures,
        camera_pictures,
        played_pictures,
    )
    from partnerface.files.video_reading.read import probe_video
    from partnerface.files.videos import write_video
    from partnerface.files.whole_files import refuse_overwriting, require_writable
    from partnerface.runs.stop_signals import StopSignals
    from partnerface.tracking.live import LivePerformer

    if out is not None:
        refuse_overwriting(Path(out), source)
    settings = TransferSettings(pose=pose, range=range, torso=torso, keep_distance=keep_distance)
    if device := re.fullmatch(r"/dev/video(\d+)", str(Path(source).resolve())):
        source = device[1]
    if source.isdecimal():
        pictures = camera_pictures(int(source))
        with closing(camera_pictures(int(source))) as tried:
            next(tried)
    else:
        probe_video(Path(source))
        pictures = played_pictures(Path(source))
    loaded = open_avatar(avatar, trust).avatar
    if out is not None:
        require_writable(Path(out).absolute().parent)
    # Every sampler of this package has them; one of somebody else need not.
    trained = getattr(loaded.sampler, "samples", samples)
    loaded.sampler.samples = min(samples, trained)
    signals, figures = StopSignals(), LiveFigures()
    lost: list[UserError] = []

    def frames() -> Iterator[LiveFrame]:
        taken = neutral_at is None
        with (
            without_native_chatter(),
            single_thread(),
            LivePerformer(loaded, settings, smooth, beta) as performer,
            NewestPictures(pictures, CAMERA_PATIENCE_S if source.isdecimal() else None) as newest,
            Console(stderr=True).status("waiting for pictures") as status,
        ):
            for frame in _until_lost(play_live(loaded, performer, newest, (size, size)), lost):
                figures.note(frame)
                status.update(figures.now() + ("" if frame.has_face else ", no face"))
                yield frame
                if not taken and frame.filmed.time >= neutral_at:
                    performer.take_neutral()
                    taken = True
                if signals.received or (seconds is not None and frame.filmed.time >= seconds):
                    break
            print(figures.summary(newest.dropped))

    def shown() -> Iterator[np.ndarray]:
        """One image for each frame of the written video."""
        count, image = 0, None
        for frame in frames():
            while image is not None and count < frame.filmed.time * WRITTEN_FPS:
                yield image
                count += 1
            image = frame.image
            if side_by_side:
                image = np.concatenate([fitted(frame.filmed.image), image], 1)
        if image is not None:
            yield image

    def fitted(image: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(image).resize((size * image.shape[1] // image.shape[0], size)))

    signals.listen()
    try:
        if out is None:
            for _ in frames():
                pass
        else:
            write_video(Path(out), shown(), WRITTEN_FPS)
            print(out)
    finally:
        signals.restore()
    if lost:
        raise lost[0]
    print(
        "not smoothed; --smooth 1.5 would calm jitter at rest"
        if smooth is None
        else f"smoothed: {smooth:g} Hz at rest"
    )


def _until_lost(frames: Iterator[LiveFrame], lost: list[UserError]) -> Iterator[LiveFrame]:
    """Frames until their source fails; why goes into ``lost``, so that what was recorded is written first.

    Raises:
        UserError: there was not a single one.
    """
    shown = False
    try:
        for frame in frames:
            yield frame
            shown = True
    except UserError as error:
        if not shown:
            raise
        lost.append(error)
