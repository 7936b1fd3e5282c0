"""``.frame`` files: metrical-tracker's output, and FlashAvatar's datasets, which are made of it."""

from __future__ import annotations

from pathlib import Path

import torch
from pytorch3d.transforms import rotation_6d_to_matrix
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.conventions import flame_parameters, inverse_rigid
from partnerface.data.formats.foreign import (
    IMAGE_SUFFIXES,
    DatasetFolder,
    ForeignFrames,
    Format,
    GivenHeadModel,
    last_frames_tested,
)
from partnerface.data.formats.foreign_values import (
    ADVICE,
    LARGEST_FRAME_BYTES,
    checked,
    common_size,
    picture_scale,
    rigid_matrices,
)
from partnerface.errors import UserError
from partnerface.head_models.safe_unpickling import dense_array, load_torch_dictionary
from partnerface.runs.progress import shown_progress

FRAME_FOLDERS = ("checkpoint", "metrical-tracker/checkpoint", ".")
PICTURES, SHIFTED_PICTURES = "input", "images"
"""The tracker's own copies, numbered like its frames, and the source's, whose numbers are one higher."""
FLASH_PICTURES, FLASH_MATTES, FLASH_PARSING = "imgs", "alpha", "parsing"
FLASH_TESTED = 500
FPS = 25.0
ARRAYS: dict[tuple[str, str], tuple[int, ...]] = {
    **{("flame", name): (1, -1) for name in ("exp", "shape")},
    # Rotations in six numbers, the first two rows of the matrix.
    **{("flame", "eyes"): (1, 12), ("flame", "jaw"): (1, 6)},
    **{("opencv", "R"): (1, 3, 3), ("opencv", "t"): (1, 3), ("opencv", "K"): (1, 3, 3)},
}


def _frame_files(folder: DatasetFolder) -> dict[int, Path]:
    for place in FRAME_FOLDERS:
        if found := folder.numbered(place, (".frame",)):
            return found
    return {}


def _tracked(folder: DatasetFolder) -> dict[int, Path]:
    if found := _frame_files(folder):
        return found
    raise UserError(
        f"{folder.root}: has no .frame files; copy the folder {FRAME_FOLDERS[0]!r} of metrical-tracker's "
        "output for this person into it"
    )


def _is_flash(folder: DatasetFolder) -> bool:
    return all((folder.root / name).is_dir() for name in (FLASH_PICTURES, FLASH_MATTES))


def _recognise_tracker(folder: DatasetFolder) -> str | None:
    files = _frame_files(folder)
    if not files or _is_flash(folder):
        return None
    return f"it holds {len(files)} .frame files such as {next(iter(files.values())).name}"


def _recognise_flash(folder: DatasetFolder) -> str | None:
    if not _is_flash(folder):
        return None
    if _frame_files(folder):
        return f"it holds the folders {FLASH_PICTURES} and {FLASH_MATTES}, and .frame files"
    has_parsing = (folder.root / FLASH_PARSING).is_dir()
    return (
        f"it holds the folders {FLASH_PICTURES}, {FLASH_MATTES} and {FLASH_PARSING}" if has_parsing else None
    )


def _read_tracker(folder: DatasetFolder, given: GivenHeadModel) -> ForeignFrames:
    frames = _tracked(folder)
    pictures = folder.numbered(PICTURES, IMAGE_SUFFIXES)
    shift, place = (0, PICTURES) if pictures else (1, SHIFTED_PICTURES)
    pictures = pictures or folder.numbered(SHIFTED_PICTURES, IMAGE_SUFFIXES)
    return _read(folder, given, frames, _paired(folder, frames, pictures, shift, place), None)


def _read_flash(folder: DatasetFolder, given: GivenHeadModel) -> ForeignFrames:
    frames = _tracked(folder)
    pictures = folder.numbered(FLASH_PICTURES, IMAGE_SUFFIXES)
    if not pictures:
        raise UserError(
            f"{folder.root / FLASH_PICTURES}: holds no pictures 00001.jpg and on; copy them there"
        )
    # The tracker may have one frame more than there are pictures, since they are shifted by one.
    frames = {number: path for number, path in frames.items() if number < max(pictures, default=0)}
    images = _paired(folder, frames, pictures, 1, FLASH_PICTURES)
    mattes = _paired(folder, frames, folder.numbered(FLASH_MATTES, IMAGE_SUFFIXES), 1, FLASH_MATTES)
    return _read(folder, given, frames, images, mattes)


def _paired(
    folder: DatasetFolder, frames: dict[int, Path], pictures: dict[int, Path], shift: int, place: str
) -> list[Path]:
    if not frames:
        raise UserError(f"{folder.root}: has no .frame file with a picture in {place}; {ADVICE}")
    if missing := [number + shift for number in frames if number + shift not in pictures]:
        raise UserError(
            f"{folder.root / place}: has no picture {missing[0]:05d} for {len(missing)} of {len(frames)} "
            ".frame files; copy the pictures that were tracked there"
        )
    return [pictures[number + shift] for number in frames]


def _read(
    folder: DatasetFolder,
    given: GivenHeadModel,
    frames: dict[int, Path],
    images: list[Path],
    mattes: list[Path] | None,
) -> ForeignFrames:
    paths = list(frames.values())
    columns: dict[str, list[Tensor]] = {}
    with shown_progress("Reading .frame files", len(paths)) as advance:
        for path in paths:
            record = load_torch_dictionary(path, LARGEST_FRAME_BYTES)
            for (part, key), size in ARRAYS.items():
                columns.setdefault(key, []).append(_values(record, part, key, size, path))
            columns.setdefault("size", []).append(_values(record, "", "img_size", (2,), path))
            advance()
    widths = {name: {len(value) for value in values} for name, values in columns.items()}
    if uneven := [name for name, lengths in widths.items() if len(lengths) > 1]:
        raise UserError(f"{paths[0].parent}: {uneven[0]!r} differs in length from file to file; {ADVICE}")
    stacked = {name: torch.stack(values) for name, values in columns.items()}
    shape, expression = stacked["shape"][0], stacked["exp"]
    if (stacked["shape"] - shape).abs().max() > 1e-4:
        raise UserError(f"{paths[0].parent}: 'shape' changes from file to file: several people; {ADVICE}")
    head_model = given.flame(folder, len(shape), expression.shape[1])
    turns = rotation_6d_to_matrix(torch.cat([stacked["jaw"], stacked["eyes"]], 1).unflatten(1, (3, 6)))
    if not (torch.linalg.det(turns) > 0.5).all():
        raise UserError(
            f"{paths[0].parent}: 'jaw' or 'eyes' hold no rotation, as its first two rows; {ADVICE}"
        )
    count = len(paths)
    head = flame_parameters(
        head_model,
        shape,
        expression,
        dict(zip(("jaw", "eye_left", "eye_right"), turns.unbind(1), strict=True)),
        torch.eye(3, dtype=torch.float64).repeat(count, 1, 1),
        torch.zeros(count, 3, dtype=torch.float64),
    )
    numbers = torch.tensor(list(frames), dtype=torch.float64)
    guesses = [
        f"the frame rate, which is not stored: {FPS:g}",
        "the tracker's eyelids, which no FLAME file has, are left out: up to a millimetre or two at the lids",
        given.assumption,
    ]
    splits: dict[str, list[int]] | None = None
    protocol: dict[str, str] = {}
    if mattes is not None:
        splits, protocol = last_frames_tested(count, FLASH_TESTED, "FlashAvatar")
    return ForeignFrames(
        frame_names=[path.stem for path in images],
        images=[*images],
        mattes=None if mattes is None else [*mattes],
        camera=_camera(stacked, images, paths[0]),
        head=head,
        head_model=head_model,
        splits=splits,
        split_protocol=protocol,
        fps=FPS,
        times=(numbers - numbers[0]) / FPS,
        guesses=guesses,
    )


def _values(record: dict, part: str, key: str, shape: tuple[int, ...], path: Path) -> Tensor:
    """An array of a ``.frame`` file without its first axis of length 1."""
    table = record.get(part) if part else record
    if not isinstance(table, dict) or key not in table:
        raise UserError(f"{path}: has no {f'{part} ' if part else ''}{key!r}; {ADVICE}")
    try:
        value = dense_array(table[key])
    except ValueError as error:
        raise UserError(f"{path}: {key!r} is no array ({error}); {ADVICE}") from error
    values = checked(value.reshape(-1) if key == "img_size" else value, shape, key, path)
    return values[0] if part else values


def _camera(columns: dict[str, Tensor], images: list[Path], source: Path) -> Camera:
    width, height = common_size(images)
    rows = columns["size"]
    scale = picture_scale(rows.flip(1), width, height, source)
    matrix = columns["K"]
    intrinsics = torch.stack([matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 2], matrix[:, 1, 2]], 1)
    pose = rigid_matrices(torch.cat([columns["R"], columns["t"][..., None]], -1), "R", source.parent)
    return Camera(intrinsics * scale.repeat(1, 2), inverse_rigid(pose), width, height)


_CAMERA = "world to camera in OpenCV's axes (y down, z forward) in metres, and K in pixels"
METRICAL_TRACKER = Format(
    "metrical-tracker",
    "metrical-tracker",
    _CAMERA,
    _recognise_tracker,
    _read_tracker,
    divides=lambda _: False,
)
FLASHAVATAR = Format("flashavatar", "FlashAvatar", _CAMERA, _recognise_flash, _read_flash)
