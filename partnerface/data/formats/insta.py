"""INSTA's datasets: RGBA pictures, a camera that moves around the head, a posed mesh for each frame."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.foreign import (
    DatasetFolder,
    ForeignFrames,
    Format,
    GivenHeadModel,
    frame_number,
    last_frames_tested,
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
from partnerface.data.formats.mesh_sequence import head_of_meshes, read_meshes, read_obj
from partnerface.errors import UserError

ALL, TRAIN, TEST = "transforms.json", "transforms_train.json", "transforms_test.json"
FILES = (("train", TRAIN), ("test", TEST), ("val", "transforms_val.json"), ("", ALL))
"""Earlier ones overrule: INSTA's val is a part of its test, or of training."""
CANONICAL = "canonical.obj"
INTRINSICS = ("fl_x", "fl_y", "cx", "cy")
TESTED = 350
"""Frames at the end that INSTA's script keeps for testing."""


def _recognise(folder: DatasetFolder) -> str | None:
    for name in (TRAIN, ALL):
        if folder.has(name):
            entries = folder.frames(name)
            if entries and "mesh_path" in entries[0] and "timestep_index" not in entries[0]:
                return f"the frames of {name} have a mesh_path and no timestep_index"
    return None


def _read(folder: DatasetFolder, given: GivenHeadModel) -> ForeignFrames:
    del given  # its meshes say what the head looks like
    guesses: list[str] = []
    entries, splits, protocol = _entries(folder, guesses)
    source = folder.root / (TRAIN if folder.has(TRAIN) else ALL)
    images = [folder.file(text(entry, "file_path", source), source.name) for entry in entries]
    width, height = common_size(images)
    vertices, faces = read_meshes(
        [folder.file(text(entry, "mesh_path", source), source.name) for entry in entries]
    )
    rest = None
    if folder.has(CANONICAL):
        path = folder.file(CANONICAL, CANONICAL)
        rest = read_obj(path, with_faces=False).vertices
        if len(rest) != vertices.shape[1]:
            raise UserError(
                f"{path}: has {len(rest)} vertices, the meshes have {vertices.shape[1]}; {ADVICE}"
            )
    train = splits.get("train", [*range(len(entries))])
    head_model, head = head_of_meshes(vertices, faces, rest, train, guesses)
    guesses.append("expressions are the principal components of the meshes; flame/exp is not used")
    fps = frame_rate_of(folder.table(source.name), source, guesses)
    return ForeignFrames(
        frame_names=[path.stem for path in images],
        images=[*images],
        mattes="alpha",
        camera=_camera(entries, folder.table(source.name), source, width, height),
        head=head,
        head_model=head_model,
        splits=splits,
        split_protocol=protocol,
        fps=fps,
        times=_times(entries, fps),
        guesses=guesses,
    )


def _entries(
    folder: DatasetFolder, guesses: list[str]
) -> tuple[list[dict], dict[str, list[int]], dict[str, str]]:
    """Every frame once, sorted by the name of its mesh as INSTA does, and the split.

    Numbers in the names count as numbers, for those that do not all have the same number of digits.
    """
    held: dict[str, dict] = {}
    use: dict[str, str] = {}
    both = 0
    for split, name in FILES:
        if not folder.has(name):
            continue
        shared = {key: value for key, value in folder.table(name).items() if key in INTRINSICS}
        for entry in folder.frames(name):
            mesh = text(entry, "mesh_path", folder.root / name)
            both += split == "test" and use.get(mesh) == "train"
            use.setdefault(mesh, split)
            held.setdefault(mesh, {**shared, **entry})
    if not held:
        raise UserError(f"{folder.root / ALL}: lists no frames; {ADVICE}")
    if both:
        guesses.append(f"{both} frames of the test split are in training too and count as training")
    names = sorted(
        held, key=lambda name: [int(x) if x.isdecimal() else x for x in re.split(r"(\d{1,18})", name)]
    )
    entries = [held[name] for name in names]
    if not folder.has(TRAIN):
        splits, protocol = last_frames_tested(len(entries), TESTED, "INSTA")
        return entries, splits, protocol
    splits = {
        split: [i for i, name in enumerate(names) if use[name] == split] for split in ("train", "val", "test")
    }
    return (
        entries,
        {split: frames for split, frames in splits.items() if frames},
        {split: f"transforms_{split}.json" for split in splits},
    )


def _times(entries: list[dict], fps: float) -> Tensor | None:
    """``[T]`` seconds by the numbers in the names of the meshes; None where those do not increase."""
    numbers = torch.tensor([frame_number(entry["mesh_path"]) for entry in entries], dtype=torch.float64)
    return (numbers - numbers[0]) / fps if (numbers.diff() > 0).all() else None


def _camera(entries: list[dict], table: dict, source: Path, width: int, height: int) -> Camera:
    intrinsics = torch.tensor(
        [[number(entry, key, source) for key in INTRINSICS] for entry in entries], dtype=torch.float64
    )
    if {"w", "h"} <= table.keys():
        sizes = torch.tensor([[number(table, key, source) for key in ("w", "h")]], dtype=torch.float64)
        intrinsics = intrinsics * picture_scale(sizes, width, height, source).repeat(1, 2)
    poses = rigid_matrices([entry.get("transform_matrix") for entry in entries], "transform_matrix", source)
    return Camera(intrinsics, poses, width, height)


INSTA = Format(
    "insta",
    "INSTA",
    "camera to world in OpenCV's axes (y down, z forward) in metres, and intrinsics in pixels",
    _recognise,
    _read,
    uses_head_model=lambda _: False,
)
