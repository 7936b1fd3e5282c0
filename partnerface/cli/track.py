"""The command ``partnerface track``."""

from __future__ import annotations

from pathlib import Path

from partnerface.errors import UserError
from partnerface.files.video_reading.source import MAX_FRAMES, VideoSource, require_enough_frames
from partnerface.head_models.head_model_name import require_head_model


def track(
    video: Path,
    out: Path,
    size: int = 512,
    mattes: Path | None = None,
    head_model: str = "anny",
    fps: float | None = None,
    max_frames: int = MAX_FRAMES,
) -> None:
    """Track the head in a video and write a dataset for training.

    Landmarks come from MediaPipe (extra `track`), the matte from its selfie segmentation; identity,
    focal length and every frame's pose, expression and gaze are fitted at once. The folder also
    gets overlay.mp4, which shows the fit, and report.md, which measures it. Running the command
    again reuses what is still right.

    Args:
        video: a video of one person in one continuous shot from a camera that stands still; or a folder of
            pictures, or a pattern of their names such as ``frame_%04d.png``.
        out: folder for the dataset.
        size: side of the square head crop in pixels, an even number; it is never enlarged beyond the
            video's own pixels.
        mattes: folder with one foreground matte image per video frame, in name order (optional).
        head_model: what is fitted: anny or ict_facekit, which come along, or the path of a FLAME file
            (.pkl or .npz), whose landmarks are found first, once, in about a minute.
        fps: frames per second of pictures, by default 25; of a video in place of its own times.
        max_frames: most frames that are used; a longer video gives those that differ most.
    """
    video, out = Path(video).expanduser(), Path(out).expanduser()
    source = VideoSource(video, fps)
    if not (video.exists() or source.is_pictures):
        raise UserError(f"video {video}: no such file")
    require_enough_frames(max_frames)
    require_head_model(head_model)
    # Imported here: a wrong name need not wait for torch.
    from partnerface.tracking.fittable_head import fittable_head_model
    from partnerface.tracking.tracker import track_video

    fitted = fittable_head_model(head_model)
    sequence = track_video(source, out, size=size, mattes=mattes, max_frames=max_frames, head_model=fitted)
    print((out / "report.md").read_text())
    print(f"{len(sequence)} frames in {out}; next: partnerface fit, or look at {out / 'overlay.mp4'}")
