"""NeRFace's datasets: a camera around a rigid head in a mirrored world, 76 expressions, no mesh."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.foreign import (
    IMAGE_SUFFIXES,
    LONGEST_NUMBER,
    DatasetFolder,
    ForeignFrames,
    Format,
    GivenHeadModel,
)
from partnerface.data.formats.foreign_values import (
    ADVICE,
    LARGEST_FRAME_BYTES,
    checked,
    common_size,
    rigid_matrices,
    text,
)
from partnerface.errors import UserError
from partnerface.files.arrays import read_array
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.landmark_geometry import CHIN, FOREHEAD_TOP, landmark_geometry

USES = ("train", "val", "test")
INDEX_MAP = "index_map.npy"
FPS = 25.0
UNRELATED_S = 10.0
"""Between frames whose order in time is unknown, so that no motion is expected to be smooth over them."""


def _recognise(folder: DatasetFolder) -> str | None:
    name = "transforms_train.json"
    entries = folder.frames(name) if folder.has(name) else []
    if entries and "expression" in entries[0] and "mesh_path" not in entries[0]:
        return f"the frames of {name} have an expression"
    return None


def _read(folder: DatasetFolder, given: GivenHeadModel) -> ForeignFrames:
    images: list[Path] = []
    poses, intrinsics, expressions, boxes, keys = [], [], [], [], []
    uses: list[str] = []
    taken: set[Path] = set()
    guesses = [f"the frame rate, which is not stored: {FPS:g}", "lengths: the dataset has no metric scale"]
    places = _train_places(folder)
    for use in USES:
        name = f"transforms_{use}.json"
        if not folder.has(name):
            continue
        source, entries = folder.root / name, folder.frames(name)
        if not entries:
            continue
        once: dict[Path, dict] = {}
        for entry in entries:
            path = folder.file(text(entry, "file_path", source), name, (*IMAGE_SUFFIXES, ""))
            if path not in taken:
                once.setdefault(path, entry)
        if repeated := len(entries) - len(once):
            guesses.append(
                f"{repeated} frames of {name} are listed before, in it or in that of an earlier split, and "
                "count there"
            )
        if not once:
            continue
        found, entries = list(once), list(once.values())
        taken.update(once)
        images += found
        uses += [use] * len(entries)
        poses.append(rigid_matrices([e.get("transform_matrix") for e in entries], "transform_matrix", source))
        expressions.append(checked([e.get("expression") for e in entries], (-1, -1), "expression", source))
        boxes += [e.get("bbox") for e in entries]
        intrinsics.append(_intrinsics(folder.table(name), source, len(entries)))
        keys += [_time(use, path, places) for path in found]
    if not images:
        raise UserError(f"{folder.root}: has no transforms_train.json with frames; {ADVICE}")
    if len({values.shape[1] for values in expressions}) > 1:
        raise UserError(f"{folder.root}: 'expression' differs in length from file to file; {ADVICE}")
    order = sorted(range(len(keys)), key=lambda i: keys[i])
    images, uses = [images[i] for i in order], [uses[i] for i in order]
    width, height = common_size(images)
    camera = _camera(torch.cat(poses)[order], torch.cat(intrinsics)[order], width, height)
    expression = torch.cat(expressions)[order]
    if given.path is not None:
        head_model: HeadModel = given.flame(folder, 1, expression.shape[1])
        assert isinstance(head_model, FlameHead)
        head = _still(head_model, expression, head_model.origin)
        guesses.append(
            f"that expressions are those of {given.path.name}, though NeRFace's tracker has its own"
        )
    else:
        # No test frame shapes the head that is trained.
        train = [i for i, use in enumerate(uses) if use == "train"] or [*range(len(uses))]
        rows = [boxes[order[i]] for i in train]
        head_model, head = _rigid_head(expression, camera.select(train), rows, folder.root)
        boxed = all(box is not None for box in rows)
        size = "of the size of the face boxes" if boxed else "of usual size, for there are no face boxes,"
        guesses.append(
            f"the head's shape: NeRFace has none, so a mean head {size} stands for it, "
            "rigid, and expressions move the deformation alone"
        )
    if places is None:
        guesses.append(f"that neighbouring frames have nothing in common: there is no {INDEX_MAP}")
    splits = {use: [i for i, other in enumerate(uses) if other == use] for use in USES}
    return ForeignFrames(
        frame_names=[f"{use}_{path.stem}" for use, path in zip(uses, images, strict=True)],
        images=[*images],
        mattes=None,
        camera=camera,
        head=head,
        head_model=head_model,
        splits={use: frames for use, frames in splits.items() if frames},
        split_protocol={use: f"transforms_{use}.json" for use in USES},
        fps=FPS,
        times=_seconds([keys[i] for i in order], places),
        guesses=guesses,
    )


def _train_places(folder: DatasetFolder) -> dict[int, int] | None:
    """Numbers of training pictures to frames of the video; None where the dataset does not say."""
    if not folder.has(INDEX_MAP):
        return None
    path = folder.file(INDEX_MAP, INDEX_MAP)
    rows = checked(read_array(path, LARGEST_FRAME_BYTES), (-1, 2), INDEX_MAP, path).long().tolist()
    return {picture: frame for frame, picture in rows if picture >= 0}


def _time(use: str, path: Path, places: dict[int, int] | None) -> tuple[int, int]:
    """Sorts pictures: training and validation, then test, each in time as far as that is known."""
    digits = "".join(c for c in path.stem if c.isdecimal())
    number = int(digits[-LONGEST_NUMBER:]) if digits else 0
    if use == "train" and places is not None:
        number = places.get(number, number)
    return (USES.index(use), number)


def _seconds(keys: list[tuple[int, int]], places: dict[int, int] | None) -> Tensor:
    times = [0.0]
    for (use, frame), (next_use, next_frame) in pairwise(keys):
        known = use == next_use and (use == USES.index("test") or (use == 0 and places is not None))
        times.append(times[-1] + ((next_frame - frame) / FPS if known else UNRELATED_S))
    return torch.tensor(times)


def _intrinsics(record: dict, source: Path, count: int) -> Tensor:
    """``[count, 4]`` fx, fy in pixels; cx, cy as shares of the size. A field of view gives other units."""
    if record.get("intrinsics"):
        values = checked(record["intrinsics"], (4,), "intrinsics", source)
        if (values[:2] == 0).any():
            raise UserError(f"{source}: 'intrinsics' has a focal length of 0; {ADVICE}")
        return values.repeat(count, 1)
    angle = float(checked(record.get("camera_angle_x"), (), "camera_angle_x", source))
    if not 0 < abs(angle) < 3:
        raise UserError(f"{source}: 'camera_angle_x' is {angle:g}; {ADVICE}")
    # In picture widths, and the principal point -1 marks that; it is the middle.
    share = 0.5 / float(np.tan(abs(angle) / 2))
    return torch.tensor([np.sign(angle) * share, share, -1, -1], dtype=torch.float64).repeat(count, 1)


def _camera(poses: Tensor, rows: Tensor, width: int, height: int) -> Camera:
    """Rays are ``((i - W cx) / fx, -(j - H cy) / fy, -1)`` through whole numbers i and j."""
    of_angle = rows[:, 2:3] == -1
    focal = torch.where(of_angle, rows[:, :2] * width, rows[:, :2])
    centre = torch.where(of_angle, torch.full_like(rows[:, 2:], 0.5), rows[:, 2:])
    signs = focal.sign()
    flips = torch.stack([signs[:, 0], -signs[:, 1], -torch.ones_like(signs[:, 0])], 1)
    rotation = poses[:, :, :3] * flips[:, None]
    # With one negative focal length the world of the file is left-handed: x is mirrored.
    mirror = torch.ones_like(flips)
    mirror[:, 0] = signs.prod(1)
    to_world = torch.cat([rotation, poses[:, :, 3:]], -1) * mirror[..., None]
    size = torch.tensor([width, height], dtype=torch.float64)
    return Camera(torch.cat([focal.abs(), centre * size + 0.5], 1), to_world, width, height)


def _still(head_model: HeadModel, expression: Tensor, place: Tensor) -> HeadParameters:
    count, joints = len(expression), head_model.num_joints
    head = HeadParameters.neutral(count, head_model.num_identity, head_model.num_expression, joints)
    return replace(head.to(torch.float64), expression=expression, translation=place.repeat(count, 1))


def _rigid_head(
    expression: Tensor, camera: Camera, boxes: list[object], root: Path
) -> tuple[HeadModel, HeadParameters]:
    """The default head without motion, whose one identity coefficient is its size, at the face boxes.

    Args:
        expression: ``[T, E]`` of all frames.
        camera: cameras of the training frames.
        boxes: their face boxes, None for one that is missing.
        root: the dataset's folder.
    """
    asset = AnnyHead().asset
    count = expression.shape[1]
    rigid = replace(
        asset,
        name="nerface",
        version="1",
        identity_basis=asset.template_vertices[None].astype(np.float32),
        joint_identity_basis=asset.template_joints[None].astype(np.float32),
        expression_basis=np.zeros((count, *asset.template_vertices.shape), np.float32),
        expression_names=[f"expression_{i:03d}" for i in range(count)],
        expression_range=np.array([-10, 10], np.float32),
        canonical_expression=np.zeros(count, np.float32),
        pose_correctives=None,
        joint_expression_basis=None,
    )
    head_model = HeadModel(rigid)
    known = landmark_geometry(AnnyHead())
    rows = known.rows((FOREHEAD_TOP, CHIN))
    face = (
        known.points.template[rows].double()
        if len(rows) == 2
        else torch.tensor([[0.0, 0.12, 0.1], [0, -0.06, 0.1]])
    )
    size, place = 1.0, torch.zeros(3, dtype=torch.float64)
    if all(box is not None for box in boxes):
        top, bottom, left, right = checked(boxes, (-1, 4), "bbox", root).unbind(1)
        depth = (-camera.camera_to_world[:, :, 3] * camera.camera_to_world[:, :, 2]).sum(1)
        metres = depth * camera.height / camera.intrinsics[:, 1]
        size = float(((bottom - top) * metres).median() / (face[0] - face[1]).norm())
        centre = torch.stack([(left + right) / 2 * camera.width, (top + bottom) / 2 * camera.height], 1)
        ray = torch.cat(
            [(centre - camera.intrinsics[:, 2:]) / camera.intrinsics[:, :2], torch.ones(len(centre), 1)], 1
        )
        points = (camera.camera_to_world[:, :, :3] @ (ray * depth[:, None])[..., None])[..., 0]
        middle = (points + camera.camera_to_world[:, :, 3]).median(0).values
        size = min(max(size, 0.3), 3.0)
        # The boxes say nothing about depth: the face's surface is put before the origin.
        place = torch.stack([middle[0], middle[1] - size * face[:, 1].mean(), torch.zeros(()).double()])
    head = _still(head_model, expression, place)
    return head_model, replace(head, identity=torch.tensor([size - 1], dtype=torch.float64))


NERFACE = Format(
    "nerface",
    "NeRFace",
    "camera to world with y up and z backward, focal lengths in pixels, and the principal point over the "
    "size of the picture",
    _recognise,
    _read,
)
