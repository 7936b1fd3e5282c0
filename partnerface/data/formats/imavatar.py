"""``flame_params.json``: datasets of IMavatar, PointAvatar, SplattingAvatar, FLARE, MonoGaussianAvatar."""

from __future__ import annotations

from pathlib import Path

import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.conventions import (
    flame_parameters,
    inverse_rigid,
    split_joint_pose,
)
from partnerface.data.formats.foreign import (
    IMAGE_SUFFIXES,
    DatasetFolder,
    ForeignFrames,
    Format,
    GivenHeadModel,
    VideoFrameFile,
    frame_number,
    last_frames_tested,
)
from partnerface.data.formats.foreign_values import (
    ADVICE,
    checked,
    common_size,
    radians,
    rigid_matrices,
    text,
)
from partnerface.data.formats.layout import flip_camera_axes
from partnerface.errors import UserError

PARAMETERS = "flame_params.json"
DEPTH = 3
"""Folders below the dataset's in which a video may lie."""
UNITS_PER_METRE = 4.0
"""FLAME is multiplied by this."""
LEGACY_SIDE = 512.0
"""Pixels of the pictures of the first datasets, whose intrinsics are not divided by the size."""
SCHEMES = (("image", "mask"), ("images", "mask"), ("images", "masks"), ("image", "masks"))
FPS = 25.0
TESTED = 350
"""Frames at the end of a single video that SplattingAvatar keeps for testing."""


def _videos(folder: DatasetFolder) -> list[str]:
    """Relative paths of the files with parameters, one for each video."""
    for depth in range(DEPTH + 1):
        found = sorted(folder.root.glob("/".join(["*"] * depth + [PARAMETERS])))
        if found := [path for path in found if not path.relative_to(folder.root).parts[0].startswith(".")]:
            return [str(path.relative_to(folder.root)) for path in found]
    return []


def _recognise(folder: DatasetFolder) -> str | None:
    videos = _videos(folder)
    return (
        f"it holds {videos[0]}" + (f" and {len(videos) - 1} more" if videos[1:] else "") if videos else None
    )


def _read(folder: DatasetFolder, given: GivenHeadModel) -> ForeignFrames:
    videos = _videos(folder)
    if not videos:
        raise UserError(f"{folder.root}: has no {PARAMETERS}; is it of another format?")
    guesses = [
        f"the frame rate, which is not stored: {FPS:g}",
        "where in a pixel its centre lies: trainers differ by half a pixel",
    ]
    columns: dict[str, list] = {name: [] for name in ("image", "world", "expression", "pose")}
    intrinsics, shapes, counts = [], [], []
    for video in videos:
        source = folder.root / video
        record, entries = folder.table(video), _in_order(folder.frames(video), source)
        shapes.append(
            checked(record.get("shape_params"), (-1,), "shape_params", source)
            if _is_flat(record.get("shape_params"))
            else checked(record.get("shape_params"), (1, -1), "shape_params", source)[0]
        )
        intrinsics.append(checked(record.get("intrinsics"), (4,), "intrinsics", source))
        counts.append(len(entries))
        found = [_image(folder, video, entry) for entry in entries]
        if len({*found}) < len(found):
            raise UserError(f"{source}: a frame is listed twice; {ADVICE}")
        columns["image"] += found
        columns["world"].append(rigid_matrices([e.get("world_mat") for e in entries], "world_mat", source))
        columns["expression"].append(
            checked([e.get("expression") for e in entries], (-1, -1), "expression", source)
        )
        pose = checked([e.get("pose") for e in entries], (-1, 15), "pose", source)
        columns["pose"].append(radians(pose, "pose", source))
    widths = {values.shape[1] for values in columns["expression"]} | {0}
    if len(widths) > 2 or any(
        s.shape != shapes[0].shape or (s - shapes[0]).abs().max() > 1e-4 for s in shapes
    ):
        raise UserError(
            f"{folder.root}: its videos are of different people or trackings; read one of them alone"
        )
    images: list[Path] = columns["image"]
    width, height = common_size(images)
    rows = _shares(
        torch.repeat_interleave(torch.stack(intrinsics), torch.tensor(counts), 0), width, height, guesses
    )
    expression, pose = torch.cat(columns["expression"]), torch.cat(columns["pose"])
    head_model = given.flame(folder, len(shapes[0]), expression.shape[1])
    guesses.append(given.assumption)
    head = flame_parameters(
        head_model,
        shapes[0],
        expression,
        split_joint_pose(pose[:, 3:]),
        axis_angle_to_matrix(pose[:, :3]),
        torch.zeros(len(pose), 3, dtype=torch.float64),
    )
    splits, protocol = _splits(videos, counts)
    mattes = _mattes(folder, images)
    guesses += [f"the split of {len(videos)} videos: {protocol['test']}"] if "test" in protocol else []
    return ForeignFrames(
        frame_names=[_name(folder, path) for path in images],
        images=[*images],
        mattes=mattes,
        camera=_camera(torch.cat(columns["world"]), rows, width, height, folder),
        head=head,
        head_model=head_model,
        splits=splits,
        split_protocol=protocol,
        fps=FPS,
        times=_times(images, counts),
        guesses=guesses,
    )


def _is_flat(value: object) -> bool:
    return not (isinstance(value, list) and value and isinstance(value[0], list))


def _in_order(entries: list[dict], source: Path) -> list[dict]:
    if not entries:
        raise UserError(f"{source}: lists no frames; {ADVICE}")
    return sorted(
        entries, key=lambda entry: (frame_number(text(entry, "file_path", source)), entry["file_path"])
    )


def _image(folder: DatasetFolder, video: str, entry: dict) -> Path:
    """The picture; SplattingAvatar's lie in ``images`` though the file says ``image``."""
    place, named = Path(video).parent, Path(entry["file_path"])
    candidates = [named, Path("images", named.name), Path("image", named.name)]
    suffixes = (*IMAGE_SUFFIXES, "")
    found = (c for c in candidates if any(folder.has(f"{place / c}{suffix}") for suffix in suffixes))
    return folder.file(str(place / next(found, named)), video, suffixes)


def _mattes(folder: DatasetFolder, images: list[Path]) -> list[Path | VideoFrameFile] | None:
    """The same paths with mask in place of image; None for pictures that have none of these."""
    for image_folder, mask_folder in SCHEMES:
        found = [
            next((p for s in IMAGE_SUFFIXES if (p := place / (path.stem + s)).is_file()), None)
            for path in images
            if path.parent.name == image_folder
            for place in [path.parent.with_name(mask_folder)]
        ]
        if len(found) == len(images) and any(found):
            missing = [path for path, matte in zip(images, found, strict=True) if matte is None]
            if missing:
                raise UserError(f"{missing[0]}: has no picture in {mask_folder}; {ADVICE}")
            return [folder.file(str(path.relative_to(folder.root)), mask_folder) for path in found if path]
    return None


def _name(folder: DatasetFolder, image: Path) -> str:
    return "_".join([*image.parent.parent.relative_to(folder.root).parts, image.stem])


def _times(images: list[Path], counts: list[int]) -> Tensor:
    """Seconds by the numbers of the files, or their order; a video follows the one before it."""
    times: list[float] = []
    for count in counts:
        numbers = [frame_number(path.name) for path in images[len(times) : len(times) + count]]
        if len({*numbers}) < count:
            numbers = [*range(count)]
        start = times[-1] + 1 if times else 0.0
        times += [start + (n - numbers[0]) / FPS for n in numbers]
    return torch.tensor(times)


def _splits(videos: list[str], counts: list[int]) -> tuple[dict[str, list[int]], dict[str, str]]:
    if len(videos) == 1:
        return last_frames_tested(counts[0], TESTED, "SplattingAvatar")
    names = [Path(video).parent.name for video in videos]
    tested = [i for i, name in enumerate(names) if "test" in name.lower()]
    if not tested or len(tested) == len(names):
        longest = max(range(len(names)), key=lambda i: counts[i])
        tested = [i for i in range(len(names)) if i != longest]
    ends = [sum(counts[: i + 1]) for i in range(len(counts))]
    frames = [list(range(end - count, end)) for end, count in zip(ends, counts, strict=True)]
    splits = {
        "train": [f for i, part in enumerate(frames) if i not in tested for f in part],
        "test": [f for i in tested for f in frames[i]],
    }
    return splits, {
        "train": "all frames of " + ", ".join(n for i, n in enumerate(names) if i not in tested),
        "test": "all frames of " + ", ".join(names[i] for i in tested),
    }


def _shares(intrinsics: Tensor, width: int, height: int, guesses: list[str]) -> Tensor:
    """``[T, 4]`` intrinsics divided by the size of the picture.

    Those of the first datasets are in pixels of a picture of 512, other writers' in those of the picture
    itself: that of the two which brings the principal point nearer to the middle.
    """
    legacy = intrinsics / LEGACY_SIDE
    own = intrinsics / intrinsics.new_tensor([width, height]).repeat(2)
    off = [(shares[:, 2:] - 0.5).abs().sum(1, keepdim=True) for shares in (legacy, own)]
    in_pixels, is_own = intrinsics[:, 3:] > 1, off[1] < off[0]
    if (in_pixels & is_own).any():
        guesses.append(
            f"that intrinsics are in pixels of the pictures, {width}x{height}, and not of {LEGACY_SIDE:g}"
        )
    return torch.where(in_pixels, torch.where(is_own, own, legacy), intrinsics)


def _camera(world: Tensor, rows: Tensor, width: int, height: int, folder: DatasetFolder) -> Camera:
    """Units of a quarter of a metre, y up, looking along -z, u = fx x / z + cx with negative z and fx."""
    size = torch.tensor([width, height], dtype=torch.float64).repeat(2)
    pixels = torch.cat([rows[:, :2].abs(), rows[:, 2:]], 1) * size
    if (pixels[:, :2] <= 0).any():
        raise UserError(f"{folder.root}: 'intrinsics' has a focal length of 0; {ADVICE}")
    metres = torch.cat([world[:, :, :3], world[:, :, 3:] / UNITS_PER_METRE], -1)
    return Camera(pixels, flip_camera_axes(inverse_rigid(metres)), width, height)


IMAVATAR = Format(
    "imavatar",
    "IMavatar, PointAvatar, SplattingAvatar or FLARE",
    "world to camera with y up and z backward in quarters of a metre, and intrinsics over the size of the "
    "picture, fx negative",
    _recognise,
    _read,
)
