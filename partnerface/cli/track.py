"""The command ``partnerface track``."""

from __future__ import annotations

from pathlib import Path

from partnerface.tracking.fittable_head import fittable_head_model
from partnerface.tracking.tracker import track_video


def track(
    video: Path, out: Path, size: int = 512, mattes: Path | None = None, head_model: str = "anny"
) -> None:
    """Track the head in a video and write a dataset for training.

    Landmarks come from MediaPipe (extra `track`), the matte from its selfie segmentation; identity,
    focal length and every frame's pose, expression and gaze are fitted at once. The folder also
    gets overlay.mp4, which shows the fit, and report.md, which measures it. Running the command
    again reuses what is still right.

    Args:
        video: a video of one person in one continuous shot from a camera that stands still.
        out: folder for the dataset.
        size: side of the square head crop in pixels, an even number; it is never enlarged beyond the
            video's own pixels.
        mattes: folder with one foreground matte image per video frame, in name order (optional).
        head_model: what is fitted: anny or ict_facekit, which come along, or the path of a FLAME file
            (.pkl or .npz), whose landmarks are found first, once, in about a minute.
    """
    sequence = track_video(video, out, size=size, mattes=mattes, head_model=fittable_head_model(head_model))
    print((Path(out) / "report.md").read_text())
    print(f"{len(sequence)} frames in {out}; next: partnerface fit, or look at {Path(out) / 'overlay.mp4'}")
