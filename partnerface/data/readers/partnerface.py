"""PartnerfaceReader: reads and checks a dataset in our own format (`partnerface.data.sequence_format`)."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.head_parameter_files import ADVICE, are_rotations, load_arrays, read_head_parameters
from partnerface.data.image_files import image_size
from partnerface.data.sequence_format import (
    CANONICAL_HEAD,
    FORMAT_NAME,
    FORMAT_VERSION,
    INTRINSICS,
    TRANSFORMS,
    flip_camera_axes,
    resolve_inside,
)
from partnerface.data.sequence_reader import SequenceReader
from partnerface.data.tracked_sequence import HeadModelRecord, TrackedSequence
from partnerface.user_error import UserError


class PartnerfaceReader(SequenceReader):
    """Reads what `SequenceWriter` writes; ``partnerface track`` and ``convert`` make it.

    Args:
        root: the dataset's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def read(self) -> TrackedSequence:
        """Read and check everything but the pixels.

        Raises:
            UserError: a file is missing, a key or a size is wrong, a value is not finite, or a path
                leaves the folder; the message names the file.
        """
        source = self.root / TRANSFORMS
        record = _load_json(source)
        if record.get("format") != FORMAT_NAME or record.get("format_version") != FORMAT_VERSION:
            found = f"{record.get('format')!r} version {record.get('format_version')!r}"
            raise UserError(
                f"{source}: format {found}; this reads {FORMAT_NAME!r} version {FORMAT_VERSION}; {ADVICE}"
            )
        try:
            return self._sequence(record, source)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            if isinstance(error, UserError):
                raise
            problem = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise UserError(f"{source}: {problem}; {ADVICE}") from error

    def _sequence(self, record: dict, source: Path) -> TrackedSequence:
        entries = record["frames"]
        if not entries:
            raise UserError(f"{source}: has no frames; {ADVICE}")
        width, height = int(record["w"]), int(record["h"])
        camera = Camera(
            _finite(torch.tensor([[float(e[k]) for k in INTRINSICS] for e in entries]), "intrinsics"),
            _poses(entries),
            width,
            height,
        )
        paths = {
            key: [self._file(entry[key], source) for entry in entries]
            for key in ("file_path", "fg_mask_path", "label_path", "head_parameters_path")
        }
        for key in ("file_path", "fg_mask_path", "label_path"):
            for path in paths[key]:
                if (size := image_size(path)) != (width, height):
                    raise UserError(
                        f"{path}: is {size[0]}x{size[1]}, the dataset is {width}x{height}; {ADVICE}"
                    )
        head_model = HeadModelRecord(
            **{f.name: record["head_model"][f.name] for f in fields(HeadModelRecord)}
        )
        canonical = load_arrays(
            self._file(CANONICAL_HEAD, source),
            {"identity": (head_model.num_identity,), "shell_thickness": (-1,)},
        )
        head, torso_motion = read_head_parameters(
            paths["head_parameters_path"], canonical["identity"], head_model
        )
        weights = _finite(torch.tensor([float(e["frame_weight"]) for e in entries]), "frame_weight")
        return TrackedSequence(
            name=str(record["name"]),
            image_paths=paths["file_path"],
            matte_paths=paths["fg_mask_path"],
            label_paths=paths["label_path"],
            camera=camera,
            head=head,
            head_model=head_model,
            fps=_positive(record["fps"], "fps"),
            frame_weights=weights,
            torso_motion=torso_motion,
            neck_line=float(record["neck_line"]),
            shell_thickness=canonical["shell_thickness"],
            splits=_splits(record["splits"], weights),
            coverage=_table(record["coverage"], "coverage"),
        )

    def _file(self, relative: object, source: Path) -> Path:
        path = resolve_inside(self.root, relative, source)
        if not path.is_file():
            raise UserError(f"{path}: missing, though {source.name} names it; {ADVICE}")
        return path


def _load_json(path: Path) -> dict:
    if not path.is_file():
        raise UserError(
            f"{path}: missing; {path.parent} is not a partnerface dataset (make one with partnerface track)"
        )
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {ADVICE}") from error
    if not isinstance(record, dict):
        raise UserError(f"{path}: is not a table of keys; {ADVICE}")
    return record


def _poses(entries: list[dict]) -> Tensor:
    matrices = [torch.tensor(e["transform_matrix"], dtype=torch.float32) for e in entries]
    if any(matrix.shape != (4, 4) for matrix in matrices):
        raise ValueError("'transform_matrix' is not a 4x4 matrix")
    matrices = torch.stack(matrices)
    poses = flip_camera_axes(_finite(matrices, "transform_matrix")[:, :3])
    if not are_rotations(poses[:, :, :3]).all():
        raise ValueError("'transform_matrix' does not hold a rotation")
    return poses


def _finite(values: Tensor, name: str) -> Tensor:
    if not torch.isfinite(values).all():
        raise ValueError(f"{name!r} holds values that are not finite")
    return values


def _positive(value: object, name: str) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{name!r} is {number}")
    return number


def _table(value: object, name: str) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"{name!r} is not a table")
    return value


def _splits(splits: dict[str, list[int]], weights: Tensor) -> dict[str, list[int]]:
    if not all(isinstance(frames, list) for frames in _table(splits, "splits").values()):
        raise ValueError("'splits' is not a table of lists")
    seen: set[int] = set()
    for name, frames in splits.items():
        if any(type(i) is not int or not 0 <= i < len(weights) for i in frames):
            raise ValueError(f"split {name!r} names a frame that does not exist")
        if any(weights[i] <= 0 for i in frames):
            raise ValueError(f"split {name!r} holds a frame without a tracked head")
        if name != "unseen_expression":
            if seen.intersection(frames) or len(set(frames)) != len(frames):
                raise ValueError(f"split {name!r} holds a frame twice or shares one with another split")
            seen.update(frames)
    return {name: list(frames) for name, frames in splits.items()}
