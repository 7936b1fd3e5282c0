"""complete_sequence: a head tracked by any tracker, with pictures and mattes -> `TrackedSequence`.

What a tracker does not give is worked out here: label images, the torso's pose and motion, the neck line,
the shell around the head and the splits. Our own tracker and readers of other datasets call the same code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.compute.threads import single_threaded_pool, usable_cores
from partnerface.data.completion.borrowed_landmarks import face_landmarks
from partnerface.data.completion.frame_labels import FrameLabels, landmark_pixels
from partnerface.data.completion.labels import feature_rings, find_neck_line, labelled_mesh
from partnerface.data.completion.shell import ShellReport, measure_shell
from partnerface.data.completion.torso_motion import (
    TORSO_SIZE,
    TorsoMotion,
    estimate_torso_motion,
    median_frame,
    move_torso,
    with_torso_pose,
)
from partnerface.data.formats.plausibility import head_middle, impossible_frames, left_out_report
from partnerface.data.regions import Region
from partnerface.data.sequence import TrackedSequence, head_model_record
from partnerface.data.splits import SPLIT_PROTOCOL, assign_splits, split_coverage
from partnerface.errors import UserError
from partnerface.files.images import image_size, read_matte, read_rgb, shrink, write_image
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters

SHELL_FRAMES = 40
"""Training frames, spread evenly, whose mattes the shell is measured from."""
SHELL_SIZE = 256
"""Longer side of their pictures in pixels."""
LABELS_AT_ONCE = 8
"""Frames that a thread poses together."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeadTrack:
    """A head tracked through T pictures, in our conventions (metres, world y up, OpenCV cameras).

    Attributes:
        name: shown in logs and tables.
        image_paths: ``T`` files, uint8 RGB, not multiplied by the matte.
        matte_paths: ``T`` files, uint8 grey, 255 is the person.
        camera: ``T`` cameras at the resolution of the files; the camera should stand still.
        head: ``T`` head parameters; without a torso pose one is estimated, unless ``torso_follows_head``.
        fps: frames per second.
        frame_weights: ``[T]`` 0 where the head was not tracked, else 1; by default 1 in every frame.
        landmarks: ``[T, K, 2]`` pixels of the head model's K landmarks (`face_landmarks`), round which
            eyes and mouth are labelled; by default where the head model has them.
        times: ``[T]`` seconds within which motion is smooth; by default evenly spaced.
        splits: frame indices by split name, for datasets that come with some; by default `assign_splits`.
            What is found for frames of ``train`` then depends on no other frame.
        split_protocol: how the frames of ``splits`` were chosen, in words.
        torso_follows_head: true keeps a head without a torso pose as it is, so that every vertex lies where
            its tracker had it.
    """

    name: str
    image_paths: list[Path]
    matte_paths: list[Path]
    camera: Camera
    head: HeadParameters
    fps: float
    frame_weights: Tensor | None = None
    landmarks: Tensor | None = None
    times: Tensor | None = None
    splits: dict[str, list[int]] | None = None
    split_protocol: dict[str, str] = field(default_factory=dict)
    torso_follows_head: bool = False

    @property
    def weights(self) -> Tensor:
        """``[T]`` the frame weights."""
        return torch.ones(len(self.head)) if self.frame_weights is None else self.frame_weights


@dataclass(frozen=True)
class Completion:
    """What completes a `HeadTrack` to a `TrackedSequence`.

    Attributes:
        tracked: what was completed.
        labels: draws the label images; holds the head with its torso pose, and the neck line.
        torso: motion of the torso and how well it was found.
        shell: how far hair and skin reach beyond the mesh.
        splits: frame indices by split name.
        coverage: pose and expression coverage by split name.
        left_out: reasons by frame, see `TrackedSequence`.
    """

    tracked: HeadTrack
    labels: FrameLabels
    torso: TorsoMotion
    shell: ShellReport
    splits: dict[str, list[int]]
    coverage: dict[str, dict[str, float]]
    left_out: dict[int, str] = field(default_factory=dict)

    def sequence(self, label_paths: list[Path]) -> TrackedSequence:
        """The whole record; ``label_paths`` are the ``T`` files of the label images."""
        tracked = self.tracked
        return TrackedSequence(
            name=tracked.name,
            image_paths=tracked.image_paths,
            matte_paths=tracked.matte_paths,
            label_paths=label_paths,
            camera=tracked.camera,
            head=self.labels.head,
            head_model_record=head_model_record(self.labels.head_model),
            fps=tracked.fps,
            frame_weights=tracked.weights,
            torso_motion=self.torso.matrices,
            neck_line=self.labels.neck_line,
            shell_thickness=self.shell.thickness,
            splits=self.splits,
            split_protocol=tracked.split_protocol if tracked.splits else SPLIT_PROTOCOL,
            coverage=self.coverage,
            left_out=self.left_out,
        )


def complete_sequence(
    tracked: HeadTrack,
    head_model: HeadModel,
    label_folder: Path,
    on_frame: Callable[[], None] = lambda: None,
    continued: bool = False,
) -> TrackedSequence:
    """Complete a head tracked by another tracker; its label images are written as 00000.png and on.

    Frames whose tracking is impossible (`impossible_frames`) are given weight 0 first, with a warning.

    Args:
        tracked: the tracked head.
        head_model: the head model that was tracked.
        label_folder: where the label images are written; made if missing.
        on_frame: called twice a frame: after its picture is read for the torso's motion, and after its label
            image is written.
        continued: label images that are there stay, as those of a call with the same arguments that was
            stopped.

    Raises:
        UserError: see `complete`; or ``label_folder`` cannot be written.
    """
    weights = tracked.weights.clone()
    middle = head_middle(head_model, tracked.head.identity)
    left_out = impossible_frames(tracked.camera, tracked.head, weights, middle=middle)
    weights[list(left_out)] = 0
    if left_out:
        logger.warning("dataset %s: frames left out: %s", tracked.name, left_out_report(left_out))
    completed = complete(replace(tracked, frame_weights=weights), head_model, on_frame)
    completion = replace(completed, left_out=left_out)
    try:
        label_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{label_folder}: cannot be written ({error.strerror})") from error
    label_paths = [label_folder / f"{frame:05d}.png" for frame in range(len(weights))]
    wanted = [i for i, path in enumerate(label_paths) if not (continued and path.is_file())]
    _write_labels(completion.labels, tracked.matte_paths, label_paths, wanted, on_frame)
    return completion.sequence(label_paths)


def _write_labels(
    labels: FrameLabels,
    matte_paths: list[Path],
    label_paths: list[Path],
    wanted: list[int],
    on_frame: Callable[[], None],
) -> None:
    """Draw and write label images, some at once: it is most of the time that a new dataset takes."""

    def write(start: int) -> int:
        frames = wanted[start : start + LABELS_AT_ONCE]
        for frame, regions in zip(frames, labels.regions(frames), strict=True):
            write_image(label_paths[frame], labels.image(frame, read_matte(matte_paths[frame]), regions))
        return len(frames)

    pool = single_threaded_pool(usable_cores())
    try:
        for count in pool.map(write, range(0, len(wanted), LABELS_AT_ONCE)):
            for _ in range(count):
                on_frame()
    finally:
        pool.shutdown(cancel_futures=True)


def complete(
    tracked: HeadTrack, head_model: HeadModel, on_frame: Callable[[], None] = lambda: None
) -> Completion:
    """Find torso, neck line, shell and splits of a head tracked with a head model.

    ``on_frame`` is called after each picture is read for the torso's motion.

    Raises:
        UserError: no frame was tracked, none of ``train`` among them, or a file is unreadable or of another
            size than the cameras.
        ValueError: files, cameras, heads and weights are not equally many.
    """
    _check(tracked)
    camera, weights, count = tracked.camera, tracked.weights, len(tracked.head)
    own = {name: [i for i in frames if weights[i] > 0] for name, frames in (tracked.splits or {}).items()}
    learned = weights
    if tracked.splits:
        if not own.get("train"):
            raise UserError(f"{tracked.name}: no frame of the training split in which a head was tracked")
        learned = torch.zeros_like(weights)
        learned[own["train"]] = weights[own["train"]]
    reference = median_frame(tracked.head, learned)
    estimated = tracked.head.torso_rotation is None and not tracked.torso_follows_head
    head = with_torso_pose(tracked.head, learned, camera) if estimated else tracked.head
    geometry, landmarks = face_landmarks(head_model), tracked.landmarks
    if landmarks is None:
        landmarks = landmark_pixels(head_model, geometry, tracked.head, camera)
    labels = FrameLabels(
        head_model=head_model,
        camera=camera,
        head=head,
        landmarks=landmarks,
        torso_motion=torch.eye(2, 3).repeat(count, 1, 1),
        neck_line=1.0,
        mesh=labelled_mesh(head_model, geometry),
        rings=feature_rings(geometry),
    )
    labels = _with_neck_line(labels, reference)
    torso = _torso_motion(tracked, labels, reference, learned, on_frame)
    labels = replace(labels, torso_motion=torso.matrices)
    if estimated:
        # The reference's own torso is now where the clip's others say, and not below its head.
        head = move_torso(head, learned, camera, torso.matrices)
        labels = _with_neck_line(replace(labels, head=head), reference)
    splits = own or assign_splits(weights, tracked.fps, head.expression)
    shell = _shell(tracked, labels, splits["train"])
    splits = {name: frames for name, frames in splits.items() if frames}
    return Completion(tracked, labels, torso, shell, splits, split_coverage(splits, head))


def _check(tracked: HeadTrack) -> None:
    names = ("image_paths", "matte_paths", "camera", "head", "weights")
    counts = {name: len(getattr(tracked, name)) for name in names}
    if len({*counts.values()}) > 1:
        raise ValueError(f"{tracked.name}: frames differ in number: {counts}")
    if not (tracked.weights > 0).any():
        raise UserError(f"{tracked.name}: no frame in which a head was tracked")
    size = tracked.camera.width, tracked.camera.height
    for path in (*tracked.image_paths, *tracked.matte_paths):
        if (found := image_size(path)) != size:
            raise UserError(f"{path}: is {found[0]}x{found[1]}, the cameras are {size[0]}x{size[1]}")


def _with_neck_line(labels: FrameLabels, reference: int) -> FrameLabels:
    _, pixels, depth = labels.posed(reference)
    camera = labels.camera
    focal = float(camera.intrinsics[reference, 1])
    return replace(labels, neck_line=find_neck_line(labels.mesh, pixels, depth, focal, camera.height))


def _torso_motion(
    tracked: HeadTrack,
    labels: FrameLabels,
    reference: int,
    learned: Tensor,
    on_frame: Callable[[], None],
) -> TorsoMotion:
    """Motion of the frames with ``learned`` ``[T]`` above 0 and of all others, neither from the other."""

    def small(image: Path, matte: Path) -> tuple[np.ndarray, np.ndarray]:
        return shrink(read_rgb(image), TORSO_SIZE), shrink(read_matte(matte), TORSO_SIZE)

    pool, pairs = single_threaded_pool(usable_cores()), []
    try:
        for pair in pool.map(small, tracked.image_paths, tracked.matte_paths):
            pairs.append(pair)
            on_frame()
    finally:
        pool.shutdown(cancel_futures=True)
    images, mattes = (np.stack(pictures) for pictures in zip(*pairs, strict=True))
    at_reference = labels.image(reference, read_matte(tracked.matte_paths[reference]))
    torso = _reduced(at_reference, TORSO_SIZE, TORSO_SIZE) == Region.TORSO
    times = torch.arange(len(images)) / tracked.fps if tracked.times is None else tracked.times
    if not tracked.splits:
        return estimate_torso_motion(images, mattes, torso, reference, tracked.weights, times)
    matrices = torch.eye(2, 3).repeat(len(images), 1, 1)
    found: list[TorsoMotion] = []
    for group in (learned > 0, learned == 0):
        group[reference] = True
        chosen = torch.where(group)[0]
        place = int((chosen == reference).nonzero()[0, 0])
        weights = tracked.weights[chosen]
        pictures = images[chosen.numpy()], mattes[chosen.numpy()]
        found.append(estimate_torso_motion(*pictures, torso, place, weights, times[chosen]))
        matrices[chosen] = found[-1].matrices
    return replace(found[0], matrices=matrices, reference=reference)


def _shell(tracked: HeadTrack, labels: FrameLabels, train: list[int]) -> ShellReport:
    places = np.linspace(0, len(train) - 1, min(SHELL_FRAMES, len(train))).astype(int)
    chosen = np.array(train)[places].tolist()
    camera = tracked.camera
    scale = min(1.0, SHELL_SIZE / max(camera.width, camera.height))
    width, height = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
    mattes = [read_matte(tracked.matte_paths[i]) for i in chosen]
    drawn = [_reduced(labels.image(i, matte), width, height) for i, matte in zip(chosen, mattes, strict=True)]
    images = [shrink(read_rgb(tracked.image_paths[i]), width, height) for i in chosen]
    return measure_shell(
        labels.head_model,
        torch.stack([labels.posed(i)[0] for i in chosen]),
        camera.select(chosen).resized(width, height),
        torch.from_numpy(np.stack(drawn)),
        torch.from_numpy(np.stack(images)),
        *labels.mesh.vertex_masks(),
    )


def _reduced(labels: np.ndarray, width: int, height: int) -> np.ndarray:
    """The labels at the centres of the pixels of a smaller image."""
    rows, columns = (
        (2 * np.arange(small) + 1) * whole // (2 * small)
        for small, whole in zip((height, width), labels.shape, strict=True)
    )
    return labels[np.ix_(rows, columns)]
