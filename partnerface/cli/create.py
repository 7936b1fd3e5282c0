"""The command ``create``: an avatar from a video, whole: track, fit, test."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from partnerface.cli.check import EXIT_UNFIT, check
from partnerface.configuration.config_files import config_arguments
from partnerface.errors import UserError
from partnerface.files.video_reading.source import MAX_FRAMES, VideoSource, require_enough_frames
from partnerface.files.whole_files import refuse_file
from partnerface.head_models.head_model_name import require_head_model

TRACKED_SIZE = 512
"""Smallest side of the head crop that is tracked, in pixels."""
LARGEST_SIZE = 4096
"""Largest side of training frames, in pixels."""
SCALES_ON_GPU = {"quick": "gpu", "full": "gpu_full"}
"""File of ``configs/scale`` for each preset where a GPU can be used."""


def create(
    video: Path,
    out: Path | None = None,
    preset: Literal["quick", "full"] = "quick",
    size: int | None = None,
    head_model: str = "anny",
    fps: float | None = None,
    max_frames: int = MAX_FRAMES,
    anyway: bool = False,
) -> int:
    """Make an avatar from a video of one person.

    A run keeps the settings that it was begun with, also on another machine, with a GPU or without. A dataset
    that `partnerface check` calls unfit is not trained on: the command says why and ends with code 1.

    Args:
        video: the video, or a folder of pictures, or a pattern of their names such as ``frame_%04d.png``; one
            person, a camera that stands still, the head turned to both sides.
        out: folder of the outputs, by default ``avatars/NAME_OF_THE_VIDEO``; a second run continues
            or reuses what lies there.
        preset: ``quick`` ends in under 20 minutes on two cores, ``full`` in about an hour; on a GPU both take
            settings of their own.
        size: side of the training frames in pixels, by default 256, with ``full`` on a GPU 512, at most the
            video's shorter side; the head is cut out of the video at 512 pixels, or at this size where it is
            larger, but never enlarged beyond the video's own pixels.
        head_model: anny or ict_facekit, which come along, or the path of a FLAME file (.pkl or .npz).
        fps: frames per second of pictures, by default 25; of a video in place of its own times.
        max_frames: most frames that are used; a longer video gives those that differ most.
        anyway: train on an unfit dataset too.
    """
    video = Path(video).expanduser()
    source = VideoSource(video, fps)
    if not (video.exists() or source.is_pictures):
        raise UserError(f"video {video}: no such file")
    content = source.size_bytes
    if size is not None and size < 32:
        raise UserError(f"--size {size}: must be 32 or more")
    out = Path("avatars") / source.name if out is None else Path(out).expanduser()
    refuse_file(out)
    require_enough_frames(max_frames)
    require_head_model(head_model)
    # Imported here: --help need not wait for NumPy, nor a wrong value for torch.
    from partnerface.files.video_reading.read import probe_streams

    # Which of its streams shows the face is not known yet.
    found = max(probe_streams(source), key=lambda one: min(one.width, one.height))
    if size is not None and size > (largest := min(found.width, found.height, LARGEST_SIZE)):
        raise UserError(f"--size {size}: {video} is {found.width}x{found.height}; choose at most {largest}")
    from partnerface.compute.cuda_support import chosen_accelerator
    from partnerface.configuration.avatar_run import (
        held_folder,
        print_outputs,
        scale_of_run,
        train_and_test,
    )
    from partnerface.configuration.head_model_arguments import head_model_arguments
    from partnerface.head_models.open_head_model import open_head_model
    from partnerface.losses.lpips_network import load_lpips
    from partnerface.tracking.fittable_head import fittable_head_model
    from partnerface.tracking.tracker import track_video
    from partnerface.training.resume.run_checkpoint import last_checkpoint

    # All that can be wrong is tried now, not after the minutes of tracking: a GPU that cannot serve, too.
    scales = {"cpu": preset, "cuda": SCALES_ON_GPU[preset]}
    suitable = scales[chosen_accelerator("auto")]
    open_head_model(head_model)
    scale = scale_of_run(out, suitable, scales.values())
    asked_size, size = size, size or (512 if scale == "gpu_full" else 256)
    settings = {"video": video.name, "bytes": content, "preset": preset, "size": size, "scale": scale}
    chosen = {
        "head_model": None if head_model == "anny" else head_model,
        "fps": fps,
        "max_frames": None if max_frames == MAX_FRAMES else max_frames,
    }
    asked = {"size": asked_size} | chosen
    kept = [f"--{name}={value}" for name, value in asked.items() if value is not None]
    with held_folder(out, settings | chosen):
        fitted = fittable_head_model(head_model)
        dataset = out / "dataset"
        # The tracker wants an even size, and landmarks and mattes are better at its usual one.
        tracked_size = max(TRACKED_SIZE, size + size % 2)
        track_video(source, dataset, size=tracked_size, max_frames=max_frames, head_model=fitted)
        file = Path(head_model) if Path(head_model).is_file() else None
        if not last_checkpoint(out).is_file() and check(dataset, out / "check", file) and not anyway:
            words = "--out", str(out), "--preset", preset, *kept, "--anyway"
            again = shlex.join(["partnerface", "create", str(video), *words])
            print(f"Not trained: film again, or train on it all the same.\n  {again}")
            return EXIT_UNFIT
        configs = "base", "method/part_deformation", "data/partnerface", f"scale/{scale}"
        arguments = [
            *config_arguments(*configs),
            *head_model_arguments(head_model, fitted),
            f"--data.reader.init_args.root={dataset}",
            f"--data.image_size={size}",
        ]
        # Training takes LPIPS where its weights are at hand and fetches none; the test would, afterwards.
        load_lpips()
        train_and_test(out, arguments)
    lines = ["Next: drive it by a motion, or by another person's video."]
    lines += [f"  partnerface reenact {shlex.quote(str(out))} --driver talk --out talk.mp4"]
    if preset == "quick":
        words = "--out", f"{out}_full", "--preset", "full", *kept
        again = shlex.join(["partnerface", "create", str(video), *words])
        lines += ["Or train longer.", f"  {again}"]
    print_outputs(out, lines)
    return 0
