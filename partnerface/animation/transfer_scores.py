"""How well performances are carried over to an avatar: pictures, re-tracked expressions, jitter at rest."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from partnerface.avatar.method import AvatarMethod
from partnerface.data.batches.datasets import EvaluationFrames
from partnerface.data.batches.frame_store import FrameStore
from partnerface.data.completion.frame_labels import landmark_pixels
from partnerface.data.drivers.driver import Driver
from partnerface.data.drivers.transfer import TransferredPerformance, camera_axes
from partnerface.data.regions import HEAD, MATTE_THRESHOLD, in_regions
from partnerface.data.sequence import TrackedSequence
from partnerface.data.view import View
from partnerface.evaluation.image_metric import psnr
from partnerface.evaluation.retracking import RetrackedError, expression_error
from partnerface.files.videos import write_video
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.landmark_geometry import landmark_geometry
from partnerface.head_models.rotations import rotation_vectors
from partnerface.tracking.tracker import track_video

RETRACKED_SIZE = 256


@torch.no_grad()
def head_psnr(
    avatar: AvatarMethod,
    truth: TrackedSequence,
    drivers: Sequence[Driver | None],
    frames: Sequence[int],
    on_frame: Callable[[], None] = lambda: None,
) -> list[float]:
    """PSNR in dB inside the head mask at the training size, the mean over some frames, by driver.

    Args:
        avatar: whom they drive.
        truth: what its pictures ought to show, frame by frame.
        drivers: views of the same frames; None for the views of ``truth`` itself, as ``test`` renders them.
        frames: numbers of the frames that count.
        on_frame: called after each.
    """
    trained = avatar.default_view().camera
    width, height = trained.width, trained.height
    store = FrameStore.build(truth, width, height, truth.image_paths[0].parent.parent)
    views = View(truth.camera.resized(width, height), truth.head, truth.torso_motion)
    scores = torch.zeros(len(drivers), len(frames))
    for place, frame in enumerate(EvaluationFrames(store, views, list(frames), {})):
        mask = (frame.matte > MATTE_THRESHOLD) & in_regions(frame.labels, HEAD)
        target = frame.on_white()
        for row, driver in enumerate(drivers):
            view = frame.view if driver is None else driver[frame.frame_index]
            image = avatar.render(view.to(avatar.identity.device), (width, height)).on_white().cpu()
            scores[row, place] = psnr((image - target)[:, mask].square().mean())
        on_frame()
    return scores.mean(1).tolist()


def retracked_error(
    avatar: AvatarMethod,
    driver: TransferredPerformance,
    folder: Path,
    most_frames: int,
    say: Callable[[str], None] = print,
) -> RetrackedError:
    """Render a performance to a video, track that, and compare with the performer's expressions.

    Both without their mean over the video: the tracker gives each person a neutral of its own.

    Args:
        avatar: whom the performance drives.
        driver: the performance, carried over.
        folder: takes the video and its tracked dataset; what is there is reused.
        most_frames: the first so many frames are rendered.
        say: receives the tracker's lines.
    """
    video, frames = folder / f"video_{most_frames}.mp4", range(min(most_frames, len(driver)))
    size = (RETRACKED_SIZE, RETRACKED_SIZE)
    if not video.exists():
        folder.mkdir(parents=True, exist_ok=True)
        device = avatar.identity.device
        pictures = (avatar.render(driver[i].to(device), size).to_bytes() for i in frames)
        write_video(video, pictures, driver.fps)
    folder = folder / f"tracked_{most_frames}"
    # The tracker works on the CPU.
    head_model = copy.deepcopy(avatar.head_model).cpu()
    found = track_video(video, folder, RETRACKED_SIZE, head_model=head_model, say=say)
    tracked, true = found.frame_weights > 0, driver.performance.expression[: len(frames)]
    return expression_error(found.head.expression[tracked], true[tracked], head_model)


@dataclass
class Jitter:
    """Noise of a performance in its quietest second.

    Attributes:
        degrees: standard deviation of the head's rotation about each axis.
        pixels: that of the face's landmarks along each axis of a picture of 256 pixels.
    """

    degrees: float
    pixels: float


def jitter_at_rest(views: View, fps: float, head_model: HeadModel) -> Jitter:
    """Noise from frame to frame, apart from motion, in the second in which there is least of it.

    Of white noise the second difference has six times the variance; motion at constant speed has none.
    """
    head, camera = views.head, views.camera.resized(256, 256)
    rotation = rotation_vectors(camera_axes(camera).mT @ head.rotation)
    pixels = landmark_pixels(head_model, landmark_geometry(head_model), head, camera)
    seconds = max(1, min(round(fps), len(views) - 2))

    def quietest(values: Tensor) -> float:
        bend = values[2:] - 2 * values[1:-1] + values[:-2]
        variance = bend.flatten(1).square().mean(1) / 6
        return float(variance.unfold(0, seconds, 1).mean(1).min().sqrt())

    return Jitter(quietest(rotation.rad2deg()), quietest(pixels))
