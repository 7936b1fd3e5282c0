"""VHAP's exports, the input of GaussianAvatars: FLAME parameters or meshes, one sequence or a union."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.conventions import flame_parameters, opengl_to_opencv, split_joint_pose
from partnerface.data.formats.foreign import (
    ADVICE,
    DatasetFolder,
    ForeignFrames,
    Format,
    GivenHeadModel,
    arrays_of,
    checked,
    common_size,
    frame_rate_of,
    number,
    picture_scale,
    radians,
    rigid_matrices,
    text,
)
from partnerface.data.formats.mesh_sequence import head_of_meshes, read_meshes
from partnerface.errors import UserError

ALL, TRAIN = "transforms.json", "transforms_train.json"
FILES = (("train", TRAIN), ("test", "transforms_test.json"), ("val", "transforms_val.json"), ("", ALL))
"""Earlier ones overrule: a frame of training is in no other split; frames of the last alone are gaps."""
FRAME_ARRAYS = {"translation": 3, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6}
ANGLES = ("rotation", "neck_pose", "jaw_pose", "eyes_pose")
OTHER_ARRAYS = ("shape", "expr", "static_offset", "dynamic_offset")


def _recognise(folder: DatasetFolder) -> str | None:
    for name in (TRAIN, ALL):
        if folder.has(name):
            entries = folder.frames(name)
            if entries and "flame_param_path" in entries[0]:
                return f"the frames of {name} have a flame_param_path"
            if entries and "mesh_path" in entries[0] and "timestep_index" in entries[0]:
                return f"the frames of {name} have a mesh_path and a timestep_index"
    return None


def _read(folder: DatasetFolder, given: GivenHeadModel) -> ForeignFrames:
    entries, splits, guesses = _entries(folder)
    source = folder.root / (TRAIN if folder.has(TRAIN) else ALL)
    entries, splits = _of_one_camera(entries, splits, source, guesses)
    images = [folder.file(text(entry, "file_path", source), source.name) for entry in entries]
    masks = [entry.get("fg_mask_path") for entry in entries]
    mattes = [folder.file(mask, source.name) for mask in masks] if all(masks) else None
    width, height = common_size(images)
    camera = _camera(entries, source, width, height)
    if "flame_param_path" in entries[0]:
        head_model, head = _flame(folder, entries, source, given, guesses)
    else:
        paths = [folder.file(text(entry, "mesh_path", source), source.name) for entry in entries]
        vertices, faces = read_meshes(paths)
        head_model, head = head_of_meshes(vertices, faces, None, splits.get("train", [*range(len(entries))]))
        guesses.append("expressions are the principal components of the meshes")
    steps = torch.tensor([float(entry.get("timestep_index", i)) for i, entry in enumerate(entries)])
    fps = frame_rate_of(folder.table(source.name), source, guesses)
    if not splits:
        guesses.append("the split: the dataset has none")
    return ForeignFrames(
        frame_names=[_name(path, folder) for path in images],
        images=[*images],
        mattes=None if mattes is None else [*mattes],
        camera=camera,
        head=head,
        head_model=head_model,
        splits=splits or None,
        split_protocol=dict.fromkeys(splits, "as exported by VHAP"),
        fps=fps,
        times=steps / fps,
        guesses=guesses,
    )


def _entries(folder: DatasetFolder) -> tuple[list[dict], dict[str, list[int]], list[str]]:
    """Every frame once, in time, the split, and guesses."""
    guesses: list[str] = []
    splits: dict[str, list[int]] = {}
    by_path: dict[str, dict] = {}
    for split, name in FILES:
        if not folder.has(name):
            continue
        paths = [text(entry, "file_path", folder.root / name) for entry in folder.frames(name)]
        if both := by_path.keys() & paths if split == "test" else ():
            guesses.append(f"{len(both)} frames of the test split are in training too and count as training")
        for path, entry in zip(paths, folder.frames(name), strict=True):
            by_path.setdefault(path, {**entry, "split": split})
    source = folder.root / TRAIN
    if not by_path:
        raise UserError(f"{source}: lists no frames; {ADVICE}")
    ordered = sorted(
        by_path.values(), key=lambda e: (number({"t": e.get("timestep_index", 0)}, "t", source),)
    )
    for split in ("train", "val", "test"):
        if frames := [i for i, entry in enumerate(ordered) if entry["split"] == split]:
            splits[split] = frames
    return ordered, splits, guesses


def _of_one_camera(
    entries: list[dict], splits: dict[str, list[int]], source: Path, guesses: list[str]
) -> tuple[list[dict], dict[str, list[int]]]:
    """Frames of the camera that most training frames are of."""
    cameras = [int(number({"c": entry.get("camera_index", 0)}, "c", source)) for entry in entries]
    if len(set(cameras)) == 1:
        return entries, splits
    frames = splits.get("train") or range(len(entries))
    chosen, count = min(Counter(cameras[i] for i in frames).items(), key=lambda item: (-item[1], item[0]))
    kept = [i for i in range(len(entries)) if cameras[i] == chosen]
    place = {i: k for k, i in enumerate(kept)}
    guesses.append(
        f"of {len(set(cameras))} cameras only number {chosen}, which {count} training frames are of: an "
        "avatar is made of one video"
    )
    divided = {name: [place[i] for i in frames if i in place] for name, frames in splits.items()}
    return [entries[i] for i in kept], {name: frames for name, frames in divided.items() if frames}


def _name(path: Path, folder: DatasetFolder) -> str:
    sequence = path.parent.parent
    return path.stem if sequence.absolute() == folder.root.absolute() else f"{sequence.name}_{path.stem}"


def _camera(entries: list[dict], source: Path, width: int, height: int) -> Camera:
    intrinsics = torch.tensor(
        [[number(entry, key, source) for key in ("fl_x", "fl_y", "cx", "cy")] for entry in entries],
        dtype=torch.float64,
    )
    if (intrinsics[:, :2] <= 0).any():
        raise UserError(f"{source}: a focal length is not above 0; {ADVICE}")
    sizes = [[number(entry, key, source) for key in ("w", "h")] for entry in entries]
    scale = picture_scale(torch.tensor(sizes, dtype=torch.float64), width, height, source)
    intrinsics = intrinsics * scale.repeat(1, 2)
    # Rows are counted from the bottom.
    intrinsics[:, 3] = height - intrinsics[:, 3]
    poses = rigid_matrices([entry.get("transform_matrix") for entry in entries], "transform_matrix", source)
    return Camera(intrinsics, opengl_to_opencv(poses), width, height)


def _flame(
    folder: DatasetFolder, entries: list[dict], source: Path, given: GivenHeadModel, guesses: list[str]
):
    paths = [folder.file(text(entry, "flame_param_path", source), source.name) for entry in entries]
    loaded: dict[Path, dict[str, np.ndarray]] = {}
    for path in paths:
        if path not in loaded:
            loaded[path] = arrays_of(path, (*FRAME_ARRAYS, *OTHER_ARRAYS))
    first = paths[0]
    shape = _vector(loaded[first], "shape", first)
    expressions = len(_vector(loaded[first], "expr", first))
    offset = loaded[first].get("static_offset")
    if offset is not None:
        offset = checked(offset.reshape(-1, offset.shape[-1]), (-1, 3), "static_offset", first).numpy()
        offset = offset if np.abs(offset).max(initial=0) > 0 else None
    if any(
        np.abs(values["dynamic_offset"]).max(initial=0) > 0
        for values in loaded.values()
        if "dynamic_offset" in values
    ):
        guesses.append("dynamic_offset, which no head model has, is left out")
    head_model = given.flame(folder, len(shape), expressions, offset)
    rows: dict[str, list[Tensor]] = {name: [] for name in (*FRAME_ARRAYS, "expr")}
    for path in paths:
        for name, width in {**FRAME_ARRAYS, "expr": expressions}.items():
            values = _vector(loaded[path], name, path)
            if len(values) != width:
                raise UserError(f"{path}: {name!r} has {len(values)} values, expected {width}; {ADVICE}")
            rows[name].append(radians(values, name, path) if name in ANGLES else values)
    stacked = {name: torch.stack(values) for name, values in rows.items()}
    pose = torch.cat([stacked["neck_pose"], stacked["jaw_pose"], stacked["eyes_pose"]], 1)
    root = axis_angle_to_matrix(stacked["rotation"])
    return head_model, flame_parameters(
        head_model, shape, stacked["expr"], split_joint_pose(pose), root, stacked["translation"]
    )


def _vector(arrays: dict[str, np.ndarray], name: str, path: Path) -> Tensor:
    if name not in arrays:
        raise UserError(f"{path}: has no {name!r}; {ADVICE}")
    return checked(arrays[name].reshape(-1), (-1,), name, path)


VHAP = Format(
    "vhap",
    "VHAP or GaussianAvatars",
    "camera to world in OpenGL's axes (y up, z backward) in metres, and intrinsics in pixels",
    _recognise,
    _read,
)
