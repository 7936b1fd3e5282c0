"""The command ``benchmark transfer``: how much is lost when another person drives an avatar."""

from __future__ import annotations

import json
from pathlib import Path

from partnerface.errors import UserError


def benchmark_transfer(
    out: Path = Path("runs/transfer"),
    avatar: Path | None = None,
    performer: str | None = None,
    retrack: bool = True,
    frames: int = 250,
    minutes: float = 2.9,
    trust: str = "",
) -> None:
    """Score how well a performance is carried over to an avatar.

    By default embedded subject a drives an avatar of embedded subject b, where the true pictures are known:
    both perform the same. Otherwise any avatar, by its own video and by any driver. Writes
    ``OUT/transfer.json``; videos, datasets and the avatar in ``out`` are reused.

    Args:
        out: folder of the results.
        avatar: run folder of an avatar; by default one of subject b is trained.
        performer: what drives it: a video, a tracked dataset, or any other driver; by default subject a.
        retrack: also track the rendered videos and compare expressions (extra `track`; some minutes).
        frames: at most so many frames of each performance are rendered and tracked.
        minutes: training time of the default avatar.
        trust: packages whose classes the avatar may name, with commas between.
    """
    if (avatar is None) != (performer is None):
        raise UserError("--avatar and --performer: give both, or neither for the embedded subjects")
    # Imported here: --help need not wait for torch.
    from dataclasses import asdict

    from rich.console import Console
    from rich.progress import Progress

    from partnerface.animation.open_avatar import open_avatar
    from partnerface.animation.open_driver import DrivingOptions, dataset_reader, open_driver
    from partnerface.animation.transfer_scores import head_psnr, jitter_at_rest, retracked_error
    from partnerface.cli.demo import demo
    from partnerface.data.splits import with_angular_velocity
    from partnerface.data.synthetic.reader import SyntheticReader
    from partnerface.files.whole_files import whole_file

    out, embedded = Path(out), avatar is None
    if embedded:
        avatar, performer = out / "avatar", str(out / "performer")
        demo(avatar, subject="b", minutes=minutes)
        SyntheticReader(Path(performer), "a").read()
    loaded = open_avatar(avatar, trust).avatar
    as_tracked = DrivingOptions(pose="absolute", range=float("inf"), torso="tracked", keep_distance=False)
    as_filmed = DrivingOptions(pose="absolute", keep_distance=False)
    itself = open_driver("own", loaded, as_tracked, run=Path(avatar))
    filmed = open_driver(performer, loaded, as_filmed)
    own = with_angular_velocity(dataset_reader(Path(avatar)).read())
    held_out = own.test_frames
    drivers = [None, itself, *([filmed] if embedded else [])]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Rendering held-out frames", total=len(held_out))
        psnr = head_psnr(loaded, own, drivers, held_out, lambda: progress.advance(task))
    scores = {
        "frames": len(held_out),
        "head_psnr_db": dict(zip(("as_tested", "own_video", "other_person"), psnr, strict=False)),
        "jitter_at_rest": {
            name: asdict(jitter_at_rest(driver.views, driver.fps, loaded.head_model))
            for name, driver in (("own_video", itself), ("other_person", filmed))
        },
    }
    if retrack:
        scores["retracked_expression"] = {
            name: asdict(retracked_error(loaded, driver, out / name, frames))
            for name, driver in (("own_video", itself), ("other_person", filmed))
        }
    with whole_file(out / "transfer.json") as partial:
        partial.write_text(json.dumps(scores, indent=1))
    for name, values in scores.items():
        print(f"{name}: {json.dumps(values)}")
