"""The command ``view``: move an avatar by hand, in the browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from partnerface.compute.ranges import Between

if TYPE_CHECKING:
    from partnerface.avatar.method import AvatarMethod
    from partnerface.data.view import View
    from partnerface.viewer.playback import LiveViews

CAMERA = Path("/dev/video0")

BUILT_IN = {"Talk": "talk", "Range of motion": "range_of_motion", "Its own video": "own"}
"""Names of performances on the page, and their drivers."""


def view(
    avatar: Path,
    port: Between[int, 0, 65535] = 8080,
    driver: str | None = None,
    size: Between[int, 32, 2048] | None = None,
    device: Literal["auto", "cpu"] = "auto",
    trust: str = "",
) -> None:
    """Show an avatar in the browser: camera, expressions, performances, parts.

    The page is served to this machine only, until Ctrl-C. Pictures are small while something moves and
    become fine at rest.

    Args:
        avatar: a run folder, a checkpoint or an avatar file.
        port: a port of this machine; 0 takes any that is free.
        driver: one more performance to play: whatever ``partnerface reenact`` takes as its driver.
        size: height of the finest pictures in pixels; by default the avatar's own, at least 256.
        device: where to render; auto takes a GPU if one is usable.
        trust: packages whose classes the avatar may name, with commas between.
    """
    # Imported here: --help need not wait for torch.
    import time

    from partnerface.animation.open_avatar import open_avatar
    from partnerface.animation.open_driver import open_driver
    from partnerface.errors import import_extra
    from partnerface.runs.stop_signals import termination_as_exit

    import_extra("viser")
    from partnerface.viewer.server import Viewer, listening_socket

    listening_socket(port).close()
    opened = open_avatar(avatar, trust, device)
    shown, run = opened.avatar, opened.run
    performances = {
        name: lambda text=text: open_driver(text, shown, run=run, say=_silent)
        for name, text in BUILT_IN.items()
        if text != "own" or run is not None
    }
    if driver is not None:
        named = opened.drive(driver)
        performances = {Path(driver).name: lambda: named, **performances}
    still = shown.neutral_view()
    full = size or max(still.camera.height, 256)
    title = _title(Path(avatar).absolute())
    viewer = Viewer(shown, still, performances, full, port, title, _cameras(shown))
    print(f"{viewer.address} shows {avatar}; Ctrl-C ends it", flush=True)
    try:
        with termination_as_exit():
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        print("ended")
    finally:
        viewer.stop()


def _cameras(avatar: AvatarMethod) -> dict[str, Callable[[], LiveViews]]:
    """The first camera of this machine as a performance; none where there is no camera."""
    if not CAMERA.exists():
        return {}
    from partnerface.files.live_video import CAMERA_PATIENCE_S, NewestPictures, camera_pictures
    from partnerface.tracking.live import LivePerformer
    from partnerface.viewer.playback import LiveViews

    def views() -> Iterator[View | None]:
        with (
            LivePerformer(avatar) as performer,
            NewestPictures(camera_pictures(0), CAMERA_PATIENCE_S) as pictures,
        ):
            for picture in pictures:
                yield performer.view(picture.image, picture.time)

    return {"Webcam": lambda: LiveViews(views())}


def _title(path: Path) -> str:
    """The name of an avatar's file or of its run folder."""
    return path.parent.parent.name if path.suffix == ".ckpt" else path.stem


def _silent(_: str) -> None:
    """Notes on how a built-in performance was made are of no use on a page."""
