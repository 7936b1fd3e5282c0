"""The command ``demo``: an avatar of the embedded subject, scored on expressions it has not seen."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from partnerface.cli.create import LARGEST_SIZE
from partnerface.configuration.config_files import config_arguments
from partnerface.errors import UserError

MINUTES_ON_GPU = 2.9
"""Training time on a GPU, for which no number of steps is known to suffice."""


def demo(
    out: Path = Path("runs/demo"),
    subject: Literal["a", "b"] = "a",
    size: int = 128,
    minutes: float | None = None,
) -> None:
    """Train an avatar of the embedded subject and score it on unseen expressions.

    Args:
        out: folder of the outputs; a second run continues or reuses what lies there.
        subject: which embedded subject.
        size: width and height of the frames in pixels.
        minutes: training time, on any machine; rendering the frames and testing come on top. By default the
            training has 1,700 steps, which take just under 3 minutes on two idle cores; on a GPU 2.9 minutes.
    """
    if minutes is not None and minutes <= 0:
        raise UserError(f"--minutes {minutes}: must be more than 0")
    if not 32 <= size <= LARGEST_SIZE:
        raise UserError(f"--size {size}: choose 32 to {LARGEST_SIZE}")
    # Imported here: --help need not wait for torch.
    from partnerface.compute.cuda_support import chosen_accelerator
    from partnerface.configuration.avatar_run import (
        held_folder,
        print_outputs,
        scale_of_run,
        train_and_test,
    )

    out = Path(out)
    scales = {"cpu": "demo", "cuda": "gpu"}
    scale = scale_of_run(out, scales[chosen_accelerator("auto")], scales.values())
    settings = {"subject": subject, "size": size, "scale": scale}
    # An avatar of any length is the demo's, unless a length is asked for.
    with held_folder(out, settings | ({"minutes": minutes} if minutes else {})):
        configs = "base", "method/part_deformation", "head_model/anny", "data/synthetic", f"scale/{scale}"
        arguments = [
            *config_arguments(*configs),
            f"--data.reader.init_args.root={out / 'dataset'}",
            f"--data.reader.init_args.subject={subject}",
            f"--data.reader.init_args.size={size}",
            f"--data.image_size={size}",
            *(_by_the_clock(minutes or MINUTES_ON_GPU) if minutes or scale == "gpu" else []),
        ]
        report = train_and_test(out, arguments)
    unseen = report["splits"].get("unseen_expression", {}).get("head_mask", {}).get("psnr")
    if unseen is not None:
        print(f"Unseen expressions: {unseen:.1f} dB inside the head mask.")
    lines = ["Next: drive it."]
    lines += [f"  partnerface reenact {shlex.quote(str(out))} --driver talk --out talk.mp4"]
    lines += ["Or your own video. One person, a still camera, the head turned to both sides."]
    lines += ['  pip install -c constraints.txt -e ".[pytorch3d,track]"']
    print_outputs(out, [*lines, "  partnerface create video.mp4 --out avatars/me"])


def _by_the_clock(minutes: float) -> list[str]:
    return [f"--trainer.max_time={as_max_time(minutes)}", "--trainer.max_steps=-1"]


def as_max_time(minutes: float) -> str:
    """Minutes as the trainer's ``days:hours:minutes:seconds``.

    >>> as_max_time(2.5), as_max_time(90)
    ('00:00:02:30', '00:01:30:00')
    """
    seconds = max(round(minutes * 60), 1)
    hours, rest = divmod(seconds, 3600)
    return f"{hours // 24:02d}:{hours % 24:02d}:{rest // 60:02d}:{rest % 60:02d}"
