"""The NeRSemble benchmark's monocular FLAME avatar task: videos of one person, mattes, FLAME tracking.

What the benchmark tests on is tracked too, without videos: `read_tested_sequence`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pytorch3d.transforms import euler_angles_to_matrix
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.conventions import (
    flame_parameters,
    inverse_rigid,
    split_joint_pose,
    standing_camera,
)
from partnerface.data.formats.foreign import (
    DatasetFolder,
    ForeignFrames,
    Format,
    GivenHeadModel,
    VideoFrameFile,
)
from partnerface.data.formats.foreign_values import ADVICE, arrays_of, checked, radians, rigid_matrices
from partnerface.errors import UserError
from partnerface.files.video_reading.read import probe_video
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.scaled_asset import scaled_asset

CALIBRATION = "calibration/camera_params.json"
TRACKINGS = ("flame2023_tracking_v2.npz", "flame2023_tracking.npz")
"""The second is the older one."""
TRAIN_CAMERA = "222200037"
TESTED = ("FREE", "EMO-1-shout+laugh", "SEN-09-frown_events_bad", "SEN-10-port_strong_smokey")
"""Sequences whose videos the benchmark keeps to itself."""
TESTED_CAMERAS = (TRAIN_CAMERA, "222200046", "220700191", "222200039")
"""Cameras from which the benchmark tests."""
PERSONS = (393, 404, 461, 477, 486)
FPS = 24.3
PAUSE_S = 1.0
"""Between two sequences."""
ARRAYS = (
    "shape",
    "expression",
    "rotation",
    "rotation_matrices",
    "translation",
    "jaw",
    "scale",
    "neck",
    "eyes",
)


def _videos(folder: DatasetFolder) -> list[tuple[str, str]]:
    """Relative paths of each sequence and its video by the training camera."""
    found = []
    for place in sorted((folder.root / "sequences").glob("*/images")):
        video = place / f"cam_{TRAIN_CAMERA}.mp4"
        if video.is_file():
            sequence = str(place.parent.relative_to(folder.root))
            found.append((sequence, f"{sequence}/images/{video.name}"))
    return found


def _recognise(folder: DatasetFolder) -> str | None:
    if not folder.has(CALIBRATION) or not (videos := _videos(folder)):
        return None
    return f"it holds {CALIBRATION} and {len(videos)} videos of camera {TRAIN_CAMERA}"


def _read(folder: DatasetFolder, given: GivenHeadModel) -> ForeignFrames:
    guesses = _guesses(folder)
    images: list[Path | VideoFrameFile] = []
    mattes: list[Path | VideoFrameFile] = []
    names, uses, heads, scales = [], [], [], []
    times: list[float] = []
    head_model: FlameHead | None = None
    shape, size = torch.zeros(0), (0, 0)
    for sequence, relative in _videos(folder):
        video = folder.file(relative, CALIBRATION)
        alpha = folder.file(f"{sequence}/alpha_maps/cam_{TRAIN_CAMERA}.mp4", CALIBRATION)
        path, values = _tracking(folder, sequence)
        if head_model is None:
            shape = values["shape"]
            head_model = given.flame(folder, len(shape), values["expression"].shape[1])
            guesses.append(given.assumption)
        else:
            _same_person(path, shape, values["shape"])
        probed = probe_video(video)
        if size not in ((0, 0), (probed.width, probed.height)):
            raise UserError(
                f"{video}: is {probed.width}x{probed.height}, others are {size[0]}x{size[1]}; {ADVICE}"
            )
        size = probed.width, probed.height
        of_alpha = probe_video(alpha)
        if (of_alpha.width, of_alpha.height) != size:
            raise UserError(
                f"{alpha}: is {of_alpha.width}x{of_alpha.height}, its pictures {size[0]}x{size[1]}; {ADVICE}"
            )
        if values["expression"].shape[1] != head_model.num_expression:
            raise UserError(
                f"{path}: has {values['expression'].shape[1]} expressions, other sequences "
                f"{head_model.num_expression}; {ADVICE}"
            )
        if (apart := _disagreement(values)) > 0.1:
            guesses.append(
                f"the rotation of {Path(sequence).name}, whose angles and matrices are up to {apart:.1f} "
                "degrees apart: the matrices'"
            )
        count, name = len(values["translation"]), Path(sequence).name
        if (more := probed.num_frames - count) > 0:
            guesses.append(
                f"the last {more} of {probed.num_frames} frames of the video of {name}, which its tracking "
                "does not reach, are left out"
            )
        images += [VideoFrameFile(video, i) for i in range(count)]
        mattes += [VideoFrameFile(alpha, i) for i in range(count)]
        names += [f"{name}_{i:05d}" for i in range(count)]
        uses += ["test" if name in TESTED else "train"] * count
        start = times[-1] + PAUSE_S if times else 0.0
        times += [start + i / FPS for i in range(count)]
        heads.append(_head(head_model, shape, values))
        scales.append(values["scale"].repeat(count))
    if head_model is None:
        raise UserError(f"{folder.root}: has no sequences/*/images/cam_{TRAIN_CAMERA}.mp4; {ADVICE}")
    scale = torch.cat(scales)
    camera = _camera(folder, len(names), *size)
    head = HeadParameters.concatenate(heads)
    model, head, camera = _scaled(head_model, head, camera, scale, float(scale[0]))
    splits = {use: [i for i, other in enumerate(uses) if other == use] for use in ("train", "test")}
    if not splits["test"]:
        guesses.append("no test: the benchmark keeps the videos of its test sequences")
    return ForeignFrames(
        frame_names=names,
        images=images,
        mattes=mattes,
        camera=camera,
        head=head,
        head_model=model,
        splits={use: frames for use, frames in splits.items() if frames},
        split_protocol={
            "train": f"camera {TRAIN_CAMERA}, all sequences but {', '.join(TESTED)}, whose videos the "
            "benchmark keeps: partnerface export nersemble renders them"
        },
        fps=FPS,
        times=torch.tensor(times),
        guesses=guesses,
    )


def _guesses(folder: DatasetFolder) -> list[str]:
    """Sequences without a video, such as those of half a download, and older trackings."""
    used = {Path(sequence).name: sequence for sequence, _ in _videos(folder)}
    listed = sorted(place.name for place in (folder.root / "sequences").glob("*") if place.is_dir())
    without = [name for name in listed if name not in used and name not in TESTED]
    old = [name for name, place in used.items() if not folder.has(f"{place}/tracking/{TRACKINGS[0]}")]
    texts = {"without a video, left out": without, f"without {TRACKINGS[0]}, of which the older is read": old}
    return [f"{len(names)} sequences {text}: {', '.join(names)}" for text, names in texts.items() if names]


def _disagreement(values: dict[str, Tensor]) -> float:
    """Largest angle in degrees between the rotations and those of the Euler angles."""
    between = values["turn"].mT @ euler_angles_to_matrix(values["rotation"], "XYZ")
    cosine = (between.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    return float(torch.rad2deg(cosine.clamp(-1, 1).acos()).max())


def _same_person(path: Path, one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape or (one - other).abs().max() > 1e-4:
        raise UserError(f"{path}: its 'shape' is another person's; {ADVICE}")


@dataclass(frozen=True)
class TestedSequence:
    """One of the sequences whose videos the benchmark keeps to itself, in the world of the training video.

    Attributes:
        head: T head parameters.
        head_model: what they pose: FLAME at the size of this person.
        cameras: T cameras that stand still, by serial number of `TESTED_CAMERAS`.
    """

    head: HeadParameters
    head_model: HeadModel
    cameras: dict[str, Camera]


def read_tested_sequence(folder: DatasetFolder, given: GivenHeadModel, name: str) -> TestedSequence:
    """Read the tracking of a sequence of `TESTED`.

    Args:
        folder: that of a person.
        given: the FLAME file.
        name: which sequence.

    Raises:
        UserError: a file is missing or wrong, or it is the older tracking, which the benchmark does not take.
    """
    videos = _videos(folder)
    if not videos:
        raise UserError(
            f"{folder.root}: holds no video of camera {TRAIN_CAMERA}; download the benchmark again"
        )
    folder.file(f"sequences/{name}/tracking/{TRACKINGS[0]}", CALIBRATION)
    path, values = _tracking(folder, f"sequences/{name}")
    _, trained = _tracking(folder, videos[0][0])
    _same_person(path, trained["shape"], values["shape"])
    flame = given.flame(folder, len(values["shape"]), values["expression"].shape[1])
    found = probe_video(folder.file(videos[0][1], CALIBRATION))
    count = len(values["translation"])
    scale, first = values["scale"].repeat(count), float(trained["scale"])
    posed = _head(flame, values["shape"], values)
    cameras = {}
    for serial in TESTED_CAMERAS:
        camera = _camera(folder, count, found.width, found.height, serial)
        model, head, cameras[serial] = _scaled(flame, posed, camera, scale, first)
    own = cameras[TRAIN_CAMERA]
    cameras = {serial: _beside(own, camera) for serial, camera in cameras.items()}
    return TestedSequence(standing_camera(own, head)[1], model, cameras)


def _beside(own: Camera, other: Camera) -> Camera:
    """Other cameras in the world in which `standing_camera` puts ``own``."""
    standing = Camera.static(len(own), 1.0, own.width, own.height).to(torch.float64)
    change = standing.camera_to_world[:, :, :3] @ own.camera_to_world[:, :, :3].mT
    pose = other.camera_to_world
    place = change @ (pose[:, :, 3:] - own.camera_to_world[:, :, 3:])
    return replace(other, camera_to_world=torch.cat([change @ pose[:, :, :3], place], -1)).to(torch.float32)


def _tracking(folder: DatasetFolder, sequence: str) -> tuple[Path, dict[str, Tensor]]:
    chosen = next((name for name in TRACKINGS if folder.has(f"{sequence}/tracking/{name}")), TRACKINGS[0])
    path = folder.file(f"{sequence}/tracking/{chosen}", CALIBRATION)
    arrays = arrays_of(path, ARRAYS)
    if missing := [name for name in ARRAYS if name not in arrays and name != "rotation_matrices"]:
        raise UserError(f"{path}: has no {missing[0]!r}; {ADVICE}")
    count = len(np.atleast_1d(arrays["translation"]))
    if not count:
        raise UserError(f"{path}: holds no frames; {ADVICE}")
    shapes = {"translation": 3, "rotation": 3, "jaw": 3, "neck": 3, "eyes": 6, "expression": -1}
    values = {name: checked(arrays[name], (count, width), name, path) for name, width in shapes.items()}
    for name in ("rotation", "jaw", "neck", "eyes"):
        radians(values[name], name, path)
    for name in ("shape", "scale"):
        values[name] = checked(arrays[name].reshape(-1), (-1,), name, path)
    if len(values["scale"]) != 1 or not 0.1 < float(values["scale"]) < 10:
        raise UserError(f"{path}: 'scale' is no number between 0.1 and 10; {ADVICE}")
    if "rotation_matrices" in arrays:
        stacked = (
            np.concatenate([arrays["rotation_matrices"], np.zeros((count, 3, 1))], 2)
            if (arrays["rotation_matrices"].shape == (count, 3, 3))
            else arrays["rotation_matrices"]
        )
        values["turn"] = rigid_matrices(stacked, "rotation_matrices", path)[:, :, :3]
    else:
        values["turn"] = euler_angles_to_matrix(values["rotation"], "XYZ")
    return path, values


def _head(head_model: FlameHead, shape: Tensor, values: dict[str, Tensor]) -> HeadParameters:
    """The head before its scale; the rigid pose is not FLAME's root rotation but goes about the origin."""
    pose = torch.cat([values["neck"], values["jaw"], values["eyes"]], 1)
    count, still = len(pose), torch.zeros(len(pose), 3, dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    rest = flame_parameters(head_model, shape, values["expression"], split_joint_pose(pose), eye, still)
    offset = float(values["scale"]) * (values["turn"] @ rest.translation[..., None])[..., 0]
    return replace(rest, rotation=values["turn"], translation=values["translation"] + offset)


def _scaled(
    head_model: FlameHead, head: HeadParameters, camera: Camera, scale: Tensor, first: float
) -> tuple[HeadModel, HeadParameters, Camera]:
    """FLAME at the size ``first``; a sequence of another ``scale`` is seen from accordingly farther away."""
    model: HeadModel = head_model
    if abs(first - 1) > 1e-7:
        model = HeadModel(scaled_asset(head_model.asset, first))
    nearer = (first / scale)[:, None]
    pose = camera.camera_to_world.clone()
    pose[:, :, 3] *= nearer
    return model, replace(head, translation=head.translation * nearer), replace(camera, camera_to_world=pose)


def _camera(folder: DatasetFolder, count: int, width: int, height: int, serial: str = TRAIN_CAMERA) -> Camera:
    record, source = folder.table(CALIBRATION), folder.root / CALIBRATION
    tables = [record.get(name) for name in ("world_2_cam", "intrinsics")]
    if not all(isinstance(table, dict) and serial in table for table in tables):
        raise UserError(f"{source}: has no camera {serial}; {ADVICE}")
    pose, matrix = (table[serial] for table in tables if isinstance(table, dict))
    to_world = inverse_rigid(rigid_matrices([pose], "world_2_cam", source))
    k = checked(matrix, (3, 3), "intrinsics", source)
    intrinsics = torch.stack([k[0, 0], k[1, 1], k[0, 2], k[1, 2]])
    if (intrinsics[:2] <= 0).any():
        raise UserError(f"{source}: a focal length is not above 0; {ADVICE}")
    return Camera(intrinsics.repeat(count, 1), to_world.repeat(count, 1, 1), width, height)


NERSEMBLE = Format(
    "nersemble-mono",
    "NeRSemble's monocular benchmark",
    "world to camera in OpenCV's axes (y down, z forward) in metres, and intrinsics in pixels",
    _recognise,
    _read,
)
