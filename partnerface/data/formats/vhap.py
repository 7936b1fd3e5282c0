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
    IMAGE_SUFFIXES,
    DatasetFolder,
    ForeignFrames,
    Format,
    GivenHeadModel,
    VideoFrameFile,
)
from partnerface.data.formats.foreign_values import (
    ADVICE,
    common_size,
    frame_rate_of,
    number,
    picture_scale,
    rigid_matrices,
    text,
)
from partnerface.data.formats.layout import flip_camera_axes
from partnerface.data.formats.mesh_sequence import head_of_meshes, read_meshes, read_obj
from partnerface.data.formats.vhap_flame import COEFFICIENTS, facing, read_flame_files
from partnerface.data.splits import spread_evenly
from partnerface.errors import UserError

ALL, TRAIN = "transforms.json", "transforms_train.json"
FILES = (("train", TRAIN), ("test", "transforms_test.json"), ("val", "transforms_val.json"), ("", ALL))
"""Earlier ones overrule: a frame of training is in no other split; frames of the last alone are gaps, or of
validation where `partnerface convert` says so."""
MATTE_FOLDERS = ("fg_masks", "fg_mask", "masks", "mask")
"""Where mattes lie that no frame names."""
INTRINSICS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x")
FRONT_FRAMES = 10
"""Frames that say how far a camera stands from the front of the face."""
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


def _uses_head_model(folder: DatasetFolder) -> bool:
    """Meshes say themselves what the head looks like."""
    return any("flame_param_path" in entry for _, n in FILES if folder.has(n) for entry in folder.frames(n))


def _divides(folder: DatasetFolder) -> bool:
    return any(split and folder.has(name) and folder.frames(name) for split, name in FILES)


def _read(folder: DatasetFolder, given: GivenHeadModel) -> ForeignFrames:
    entries, splits, guesses = _entries(folder)
    source = folder.root / (TRAIN if folder.has(TRAIN) else ALL)
    entries, splits = _of_one_camera(folder, entries, splits, source, guesses)
    images = [folder.file(text(entry, "file_path", source), source.name) for entry in entries]
    mattes = _mattes(folder, entries, images, source)
    width, height = common_size(images)
    camera = _camera(entries, source, width, height, guesses)
    train = splits.get("train") or [*range(len(entries))]
    if "flame_param_path" in entries[0]:
        files = [folder.file(text(entry, "flame_param_path", source), source.name) for entry in entries]
        table = folder.table(source.name)
        counts = {
            name: max(int(number(table, key, source)), 1)
            for name, key in COEFFICIENTS.items()
            if key in table
        }
        head_model, head = read_flame_files(folder, files, train[0], given, guesses, counts)
    else:
        paths = [folder.file(text(entry, "mesh_path", source), source.name) for entry in entries]
        vertices, faces = read_meshes(paths)
        head_model, head = head_of_meshes(vertices, faces, None, train, guesses)
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
            own = "val" if entry.get("split") == "val" and folder.has(TRAIN) else ""
            by_path.setdefault(path, {**shared, **entry, "split": split or own})
    source = folder.root / TRAIN
    if not by_path:
        raise UserError(f"{source}: lists no frames; {ADVICE}")
    ordered = _in_time(list(by_path.values()), source)
    for split in ("train", "val", "test"):
        if frames := [i for i, entry in enumerate(ordered) if entry["split"] == split]:
            splits[split] = frames
    return ordered, splits, guesses


def _in_time(entries: list[dict], source: Path) -> list[dict]:
    """By the time step; where each sequence of a union counts from 0, one sequence after the other.

    That of an entry is set to its number in the video where all have one: exports count what they hold.
    """
    cameras = [str(entry.get("camera_index")) for entry in entries]
    steps = [number({"timestep_index": 0, **entry}, "timestep_index", source) for entry in entries]
    if all("timestep_index_original" in entry for entry in entries) and not _is_union(entries):
        originals = [number(entry, "timestep_index_original", source) for entry in entries]
        if len({*zip(originals, cameras, strict=True)}) == len(entries):
            steps = originals
            entries = [{**e, "timestep_index": o} for e, o in zip(entries, originals, strict=True)]
    again = len({*zip(steps, cameras, strict=True)}) < len(entries)
    sequences = [str(Path(entry["file_path"]).parent) if again else "" for entry in entries]
    starts: dict[str, float] = {}
    for sequence, step in zip(sequences, steps, strict=True):
        starts[sequence] = min(step, starts.get(sequence, step))
    keys = [(starts[sequence], sequence, step) for sequence, step in zip(sequences, steps, strict=True)]
    return [entries[i] for i in sorted(range(len(entries)), key=keys.__getitem__)]


def _is_union(entries: list[dict]) -> bool:
    """True if pictures lie in several folders; each of a union's numbers its frames anew."""
    return len({Path(entry["file_path"]).parent for entry in entries}) > 1


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
    folder: DatasetFolder,
    entries: list[dict],
    splits: dict[str, list[int]],
    source: Path,
    guesses: list[str],
) -> tuple[list[dict], dict[str, list[int]]]:
    """Frames of the camera that most training frames are of, among several of the one most in front."""
    cameras = [int(number({"camera_index": 0, **entry}, "camera_index", source)) for entry in entries]
    if len(set(cameras)) == 1:
        return entries, splits
    frames = splits.get("train") or range(len(entries))
    counts = Counter(cameras[i] for i in frames)
    count = max(counts.values())
    alike = sorted(camera for camera in counts if counts[camera] == count)
    chosen, why = alike[0], ""
    if len(alike) > 1:
        of_each = {camera: [entries[i] for i in frames if cameras[i] == camera] for camera in alike}
        angles = {camera: _degrees_off_front(folder, own, source) for camera, own in of_each.items()}
        chosen = min(alike, key=angles.__getitem__)
        more, angle = len(alike) - 1, f"{angles[chosen]:.0f} degrees off the front of the face"
        why = f", as many as of {more} more; it is {angle}"
    kept = [i for i in range(len(entries)) if cameras[i] == chosen]
    place = {i: k for k, i in enumerate(kept)}
    guesses.append(
        f"of {len(set(cameras))} cameras only number {chosen}, which {count} training frames are of{why}: an "
        "avatar is made of one video"
    )
    divided = {name: [place[i] for i in frames if i in place] for name, frames in splits.items()}
    return [entries[i] for i in kept], {name: frames for name, frames in divided.items() if frames}


def _degrees_off_front(folder: DatasetFolder, entries: list[dict], source: Path) -> float:
    """Median angle between where the head looks and where the camera is, over some of a camera's frames."""
    chosen = [entries[i] for i in spread_evenly(range(len(entries)), FRONT_FRAMES)]
    poses = rigid_matrices([entry.get("transform_matrix") for entry in chosen], "transform_matrix", source)
    views, places = zip(*(_facing(folder, entry, source) for entry in chosen), strict=True)
    towards = torch.nn.functional.normalize(poses[:, :, 3] - torch.stack(places), dim=1)
    cosine = (torch.stack(views) * towards).sum(1)
    return float(torch.rad2deg(cosine.clamp(-1, 1).acos()).median())


def _facing(folder: DatasetFolder, entry: dict, source: Path) -> tuple[Tensor, Tensor]:
    """``[3]`` the direction in which a head looks, and its place, metres; meshes look along z."""
    if "flame_param_path" in entry:
        return facing(folder.file(text(entry, "flame_param_path", source), source.name))
    mesh = read_obj(folder.file(text(entry, "mesh_path", source), source.name), with_faces=False)
    middle = torch.from_numpy(mesh.vertices.mean(0)).double()
    return torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), middle


def _name(path: Path, folder: DatasetFolder) -> str:
    sequence = path.parent.parent
    return path.stem if sequence.absolute() == folder.root.absolute() else f"{sequence.name}_{path.stem}"


def _mattes(
    folder: DatasetFolder, entries: list[dict], images: list[Path], source: Path
) -> list[Path | VideoFrameFile] | None:
    """Those that frames name, or of the pictures' names in a folder beside theirs; None without any."""
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
    return found or None


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
    _uses_head_model,
    _divides,
)
