"""VHAP's exports, the input of GaussianAvatars: FLAME parameters or meshes, one sequence or a union."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.foreign import (
    ADVICE,
    IMAGE_SUFFIXES,
    DatasetFolder,
    ForeignFrames,
    Format,
    GivenHeadModel,
    VideoFrameFile,
    common_size,
    frame_rate_of,
    number,
    picture_scale,
    rigid_matrices,
    text,
)
from partnerface.data.formats.layout import flip_camera_axes
from partnerface.data.formats.mesh_sequence import head_of_meshes, read_meshes
from partnerface.data.formats.vhap_flame import read_flame_files
from partnerface.errors import UserError

ALL, TRAIN = "transforms.json", "transforms_train.json"
FILES = (("train", TRAIN), ("test", "transforms_test.json"), ("val", "transforms_val.json"), ("", ALL))
"""Earlier ones overrule: a frame of training is in no other split; frames of the last alone are gaps."""
MATTE_FOLDERS = ("fg_masks", "fg_mask", "masks", "mask")
"""Where mattes lie that no frame names."""
INTRINSICS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x")
PAUSE_S = 1.0
"""Between sequences of a union whose time steps start again."""


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
    mattes = _mattes(folder, entries, images, source)
    width, height = common_size(images)
    camera = _camera(entries, source, width, height, guesses)
    if "flame_param_path" in entries[0]:
        files = [folder.file(text(entry, "flame_param_path", source), source.name) for entry in entries]
        head_model, head = read_flame_files(folder, files, given, guesses)
    else:
        paths = [folder.file(text(entry, "mesh_path", source), source.name) for entry in entries]
        vertices, faces = read_meshes(paths)
        head_model, head = head_of_meshes(vertices, faces, None, splits.get("train", [*range(len(entries))]))
        guesses.append("expressions are the principal components of the meshes")
    fps = frame_rate_of(folder.table(source.name), source, guesses)
    if not splits:
        guesses.append("the split: the dataset has none")
    return ForeignFrames(
        frame_names=[_name(path, folder) for path in images],
        images=[*images],
        mattes=mattes,
        camera=camera,
        head=head,
        head_model=head_model,
        splits=splits or None,
        split_protocol=dict.fromkeys(splits, "as exported by VHAP"),
        fps=fps,
        times=_times(entries, fps),
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
        shared = {key: value for key, value in folder.table(name).items() if key in INTRINSICS}
        if both := by_path.keys() & paths if split == "test" else ():
            guesses.append(f"{len(both)} frames of the test split are in training too and count as training")
        for path, entry in zip(paths, folder.frames(name), strict=True):
            by_path.setdefault(path, {**shared, **entry, "split": split})
    source = folder.root / TRAIN
    if not by_path:
        raise UserError(f"{source}: lists no frames; {ADVICE}")
    ordered = _in_time(list(by_path.values()), source)
    for split in ("train", "val", "test"):
        if frames := [i for i, entry in enumerate(ordered) if entry["split"] == split]:
            splits[split] = frames
    return ordered, splits, guesses


def _in_time(entries: list[dict], source: Path) -> list[dict]:
    """By the time step; where each sequence of a union counts from 0, one sequence after the other."""
    steps = [number({"timestep_index": 0, **entry}, "timestep_index", source) for entry in entries]
    cameras = [str(entry.get("camera_index")) for entry in entries]
    again = len({*zip(steps, cameras, strict=True)}) < len(entries)
    sequences = [str(Path(entry["file_path"]).parent) if again else "" for entry in entries]
    starts: dict[str, float] = {}
    for sequence, step in zip(sequences, steps, strict=True):
        starts[sequence] = min(step, starts.get(sequence, step))
    keys = [(starts[sequence], sequence, step) for sequence, step in zip(sequences, steps, strict=True)]
    return [entries[i] for i in sorted(range(len(entries)), key=keys.__getitem__)]


def _times(entries: list[dict], fps: float) -> Tensor:
    """``[T]`` seconds, increasing."""
    times: list[float] = []
    shift, before = 0.0, ""
    for index, entry in enumerate(entries):
        time, sequence = float(entry.get("timestep_index", index)) / fps, str(Path(entry["file_path"]).parent)
        if sequence != before and times and time + shift <= times[-1]:
            shift = times[-1] + PAUSE_S - time
        times.append(time + shift)
        before = sequence
    return torch.tensor(times, dtype=torch.float64)


def _of_one_camera(
    entries: list[dict], splits: dict[str, list[int]], source: Path, guesses: list[str]
) -> tuple[list[dict], dict[str, list[int]]]:
    """Frames of the camera that most training frames are of."""
    cameras = [int(number({"camera_index": 0, **entry}, "camera_index", source)) for entry in entries]
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


def _mattes(
    folder: DatasetFolder, entries: list[dict], images: list[Path], source: Path
) -> list[Path | VideoFrameFile] | str:
    """Those that frames name, or of the pictures' names in a folder beside theirs; else their alpha."""
    found: list[Path | VideoFrameFile] = []
    for entry in entries:
        if entry.get("fg_mask_path"):
            found.append(folder.file(entry["fg_mask_path"], source.name))
            continue
        picture = Path(entry["file_path"])
        for name in MATTE_FOLDERS:
            with suppress(UserError):
                place = str(picture.parent.parent / name / picture.stem)
                found.append(folder.file(place, source.name, IMAGE_SUFFIXES))
                break
    if found and len(found) < len(images):
        raise UserError(
            f"{source}: {len(images) - len(found)} of {len(images)} frames have no fg_mask_path, nor a matte "
            f"in {MATTE_FOLDERS[0]}; {ADVICE}"
        )
    return found or "alpha"


def _camera(entries: list[dict], source: Path, width: int, height: int, guesses: list[str]) -> Camera:
    if any("fl_x" not in entry and "camera_angle_x" in entry for entry in entries):
        guesses.append("the principal point: the middle of the picture, for only its field of view is stored")
    entries = [_with_pixels(entry, source, width, height) for entry in entries]
    intrinsics = torch.tensor(
        [[number(entry, key, source) for key in ("fl_x", "fl_y", "cx", "cy")] for entry in entries],
        dtype=torch.float64,
    )
    sizes = [[number(entry, key, source) for key in ("w", "h")] for entry in entries]
    scale = picture_scale(torch.tensor(sizes, dtype=torch.float64), width, height, source)
    intrinsics = intrinsics * scale.repeat(1, 2)
    # Rows are counted from the bottom.
    intrinsics[:, 3] = height - intrinsics[:, 3]
    if (intrinsics[:, 3] - height / 2).abs().max() > 0.5:
        guesses.append("cy, which lies off the middle, counts rows from the bottom, as VHAP writes it")
    poses = rigid_matrices([entry.get("transform_matrix") for entry in entries], "transform_matrix", source)
    return Camera(intrinsics, flip_camera_axes(poses), width, height)


def _with_pixels(entry: dict, source: Path, width: int, height: int) -> dict:
    """An entry whose camera is in pixels: GaussianAvatars itself reads nothing but ``camera_angle_x``."""
    entry = {"w": width, "h": height, **entry}
    if "fl_x" in entry or "camera_angle_x" not in entry:
        return entry
    wide, high = (number(entry, key, source) for key in ("w", "h"))
    focal = wide / 2 / max(math.tan(number(entry, "camera_angle_x", source) / 2), 1e-6)
    return {"fl_x": focal, "fl_y": focal, "cx": wide / 2, "cy": high / 2} | entry


VHAP = Format(
    "vhap",
    "VHAP or GaussianAvatars",
    "camera to world in OpenGL's axes (y up, z backward) in metres, and intrinsics in pixels",
    _recognise,
    _read,
)
