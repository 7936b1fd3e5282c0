"""PartnerfaceReader: reads and checks a dataset in our own format (`partnerface.data.formats.layout`)."""

from __future__ import annotations

import logging
import os
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.layout import (
    CANONICAL_HEAD,
    FILE_PATTERNS,
    FORMAT_NAME,
    FORMAT_VERSION,
    RESIDUAL,
    TIME,
    TRANSFORMS,
    resolve_inside,
)
from partnerface.data.formats.plausibility import impossible_frames, leave_out, left_out_report
from partnerface.data.formats.values import (
    ADVICE,
    LONGEST_NAME,
    camera_intrinsics,
    camera_poses,
    checked_splits,
    coverage_of_splits,
    head_model_of,
    line_of_text,
    load_arrays,
    neck_line_of,
    positive,
    read_head_parameters,
    split_protocol_of,
    table,
)
from partnerface.data.sequence import SequenceReader, TrackedSequence
from partnerface.errors import UserError
from partnerface.files.images import image_size
from partnerface.files.plain_values import read_json_table

LARGEST_IDENTITY = 50.0
"""Standard deviations of one coefficient."""

THICKEST_SHELL_M = 1.0

logger = logging.getLogger(__name__)


class PartnerfaceReader(SequenceReader):
    """Reads what `SequenceWriter` writes, such as the datasets of ``partnerface track``.

    Args:
        root: the dataset's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def read(self) -> TrackedSequence:
        """Read and check everything but the pixels.

        Frames whose tracking is impossible (`impossible_frames`) are left out of every split and named in a
        warning.

        Raises:
            UserError: a file is missing, a key or a size is wrong, a value is not finite, or a path
                leaves the folder; the message names the file.
        """
        source = self.root / TRANSFORMS
        if not source.is_file():
            raise UserError(
                f"{source}: missing; {self.root} is not a partnerface dataset "
                "(make one with partnerface track)"
            )
        record = read_json_table(resolve_inside(self.root, TRANSFORMS, source), ADVICE)
        if record.get("format") != FORMAT_NAME or record.get("format_version") != FORMAT_VERSION:
            found = f"{record.get('format')!r} version {record.get('format_version')!r}"
            raise UserError(
                f"{source}: format {found}; this reads {FORMAT_NAME!r} version {FORMAT_VERSION}; {ADVICE}"
            )
        try:
            sequence, residual, middle = self._sequence(record, source)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            if isinstance(error, UserError):
                raise
            problem = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise UserError(f"{source}: {problem}; {ADVICE}") from error
        frames = impossible_frames(sequence.camera, sequence.head, sequence.frame_weights, residual, middle)
        if frames:
            logger.warning("dataset %s: frames left out: %s", self.root, left_out_report(frames))
        return leave_out(sequence, frames)

    def _sequence(self, record: dict, source: Path) -> tuple[TrackedSequence, Tensor, Tensor | None]:
        entries = record["frames"]
        if not isinstance(entries, list) or not entries:
            raise UserError(f"{source}: 'frames' lists no frames; {ADVICE}")
        if wrong := [i for i, entry in enumerate(entries) if not isinstance(entry, dict)]:
            raise ValueError(f"frame {wrong[0]} is not a table of keys")
        width, height = int(record["w"]), int(record["h"])
        camera = Camera(camera_intrinsics(entries), camera_poses(entries), width, height)
        paths = {key: self._files(entries, key, source) for key in FILE_PATTERNS}
        for path in (*paths["file_path"], *paths["fg_mask_path"], *paths["label_path"]):
            if (size := image_size(path)) != (width, height):
                raise UserError(f"{path}: is {size[0]}x{size[1]}, the dataset is {width}x{height}; {ADVICE}")
        head_model = head_model_of(table(record["head_model"], "head_model"))
        canonical = self._canonical_head(head_model.num_identity, source)
        head, torso_motion = read_head_parameters(
            paths["head_parameters_path"], canonical["identity"], head_model
        )
        weights = torch.tensor([float(e["frame_weight"]) for e in entries])
        if not ((weights >= 0) & (weights <= 1)).all():
            raise ValueError("'frame_weight' is not between 0 and 1")
        times = None
        if any(TIME in e for e in entries):
            times = torch.tensor([float(e[TIME]) for e in entries], dtype=torch.float64)
            if not times.isfinite().all() or (times.diff() < 0).any():
                raise ValueError("'time' goes back from one frame to the next")
        residual = torch.tensor([float(e.get(RESIDUAL, "nan")) for e in entries])
        sequence = TrackedSequence(
            name=line_of_text(record["name"], "name", LONGEST_NAME),
            image_paths=paths["file_path"],
            matte_paths=paths["fg_mask_path"],
            label_paths=paths["label_path"],
            camera=camera,
            head=head,
            head_model_record=head_model,
            fps=positive(record["fps"], "fps"),
            frame_weights=weights,
            torso_motion=torso_motion,
            neck_line=neck_line_of(record["neck_line"]),
            shell_thickness=canonical["shell_thickness"],
            splits=checked_splits(record["splits"], weights),
            split_protocol=split_protocol_of(record),
            coverage=coverage_of_splits(table(record["coverage"], "coverage")),
            times=times,
            frame_names=[path.stem for path in paths["file_path"]],
        )
        return sequence, residual, canonical.get("middle")

    def _canonical_head(self, num_identity: int, source: Path) -> dict[str, Tensor]:
        path = self._file(CANONICAL_HEAD, source)
        shapes: dict[str, tuple[int, ...]]
        shapes = {"identity": (num_identity,), "shell_thickness": (-1,), "middle": (3,)}
        arrays = load_arrays(path, shapes, ("middle",))
        limits = {"identity": (-LARGEST_IDENTITY, LARGEST_IDENTITY), "shell_thickness": (0, THICKEST_SHELL_M)}
        for key, (low, high) in limits.items():
            if ((arrays[key] < low) | (arrays[key] > high)).any():
                raise UserError(f"{path}: {key!r} goes beyond {low:g} .. {high:g}; {ADVICE}")
        return arrays

    def _files(self, entries: list[dict], key: str, source: Path) -> list[Path]:
        paths = [self._file(entry[key], source) for entry in entries]
        path, times = Counter(os.path.normpath(path) for path in paths).most_common(1)[0]
        if times > 1:
            raise UserError(f"{source}: {key!r} names {Path(path).name} in {times} frames; {ADVICE}")
        return paths

    def _file(self, relative: object, source: Path) -> Path:
        path = resolve_inside(self.root, relative, source)
        if not path.is_file():
            raise UserError(f"{path}: missing, though {source.name} names it; {ADVICE}")
        return path
