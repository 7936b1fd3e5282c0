"""SyntheticReader: the embedded subject as a tracked sequence, rendered once and reused."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from partnerface.cameras.pinhole import Camera
from partnerface.compute.threads import single_thread
from partnerface.data.formats.layout import CACHE_FOLDER
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.formats.writer import SequenceWriter
from partnerface.data.regions import Region
from partnerface.data.sequence import (
    Reference,
    SequenceReader,
    TrackedSequence,
    TrueMotion,
    TrueSurface,
    head_model_record,
)
from partnerface.data.splits import split_coverage
from partnerface.data.synthetic import conversation
from partnerface.data.synthetic.performance import FPS, SPLIT_PROTOCOL
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.data.synthetic.true_motion import true_motion
from partnerface.errors import UserError
from partnerface.files.arrays import read_array
from partnerface.files.plain_values import read_json_table
from partnerface.files.whole_files import NotWritten, whole_file
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_parameters import HeadParameters

SETTINGS_FILE = "synthetic.json"
APPEARANCE_VERSION = 4
"""Raised whenever what is on disk changes, so that older renderings are not reused."""

FOLDS_VERSION = 1
"""Raised whenever the folds of a face or the script that goes with them change."""

LEAST_SIZE = 8
NOISE_SEED = 9000


class SyntheticReader(SequenceReader):
    """Renders an embedded subject into ``root`` and reads it; a second run reuses what is there.

    Args:
        root: the dataset's folder, made if missing.
        subject: name of the subject: ``a`` or ``b``, or ``c``, whose face folds.
        frames: length of the clip; about 70 % train.
        size: width and height in pixels.
        seed: seed of the performance.
        coupling: how much the regions of a face that folds pull at each other: 0 (each folds by its own
            actions) to 1. Only for subject ``c``.
        tracking_noise: standard deviation of seeded noise on the expression coefficients that are written as
            tracked, in all splits; pictures show the true ones. It falls on the coefficients that the clip
            uses and stays in [0, 1].
    """

    def __init__(
        self,
        root: Path,
        subject: str = "a",
        frames: int = 240,
        size: int = 128,
        seed: int = 0,
        coupling: float = 0.0,
        tracking_noise: float = 0.0,
    ) -> None:
        if frames < 1:
            raise UserError(f"frames {frames}: a clip needs at least one frame")
        if size < LEAST_SIZE:
            raise UserError(f"size {size}: choose at least {LEAST_SIZE} pixels")
        if seed < 0:
            raise UserError(f"seed {seed}: choose 0 or more")
        if not 0 <= coupling <= 1:
            raise UserError(f"coupling {coupling:g}: choose 0 to 1")
        if not 0 <= tracking_noise <= 1:
            raise UserError(f"tracking_noise {tracking_noise:g}: choose 0 to 1")
        self.root = Path(root)
        self.subject = subject_named(subject)
        self.frames = frames
        self.size = size
        self.seed = seed
        self.coupling = coupling
        self.tracking_noise = tracking_noise
        if coupling and not self.subject.folds:
            raise UserError(f"coupling {coupling:g}: the face of subject {subject} has no folds to couple")

    def read(self) -> TrackedSequence:
        """Render if need be, and read.

        Raises:
            UserError: ``root`` holds something else or cannot be written.
        """
        head_model = AnnyHead()
        settings = {
            "subject": self.subject.name,
            "frames": self.frames,
            "size": self.size,
            "seed": self.seed,
            "head_model": head_model.asset.checksum(),
            "appearance": APPEARANCE_VERSION,
        }
        # Only where they differ from nothing, so that renderings of before these options are reused.
        options = {"coupling": self.coupling, "tracking_noise": self.tracking_noise}
        options["folds"] = FOLDS_VERSION * self.subject.folds
        settings |= {name: value for name, value in options.items() if value}
        console = Console(stderr=True)
        found = self._recorded_settings()
        if found == settings:
            try:
                sequence = PartnerfaceReader(self.root).read()
            except UserError as error:
                console.print(f"{error}; rendering it again", style="yellow", markup=False, soft_wrap=True)
            else:
                console.print(f"Reusing the rendered frames in {self.root}", markup=False, soft_wrap=True)
                # A rendering of before this was written down was divided in the same way.
                protocol = {name: self._split_protocol[name] for name in sequence.splits}
                return replace(sequence, split_protocol=protocol)
        elif found is not None:
            changed = ", ".join(key for key in settings | found if found.get(key) != settings.get(key))
            console.print(f"{self.root}: {changed} changed; rendering it again", markup=False, soft_wrap=True)
        return self._render(head_model, settings, console)

    def true_surface(self, frame: int, camera: Camera) -> TrueSurface:
        """Worked out anew from the subject and the seed, so that renderings of any age have it."""
        return self._truth.true_surface(frame, camera)

    @cached_property
    def _motion(self) -> TrueMotion:
        return true_motion(self._truth)

    def true_motion(self) -> TrueMotion:
        """Worked out anew, once, like `true_surface`."""
        return self._motion

    def reference_picture(self, frame: int, kind: Reference) -> tuple[np.ndarray, np.ndarray]:
        """Rendered at first use and then kept in the dataset's cache, where that can be written.

        The cache goes when the dataset is rendered again.
        """
        path = self.root / CACHE_FOLDER / f"{kind}_{frame:05d}.npy"
        with suppress(UserError):
            if (kept := read_array(path)).shape == (self.size, self.size, 4) and kept.dtype == np.uint8:
                return kept[..., :3], kept[..., 3]
        with single_thread(), torch.no_grad():
            motionless = kind == "motionless"
            rendered = self._truth.render(frame, fine_motion=not motionless, finer=1 if motionless else 2)
        # A cache that is a link may lead out of the dataset's folder.
        with suppress(NotWritten), whole_file(path) as partial:
            if path.parent.is_symlink():
                raise OSError("a dataset's cache may not be a link")
            path.parent.mkdir(exist_ok=True)
            with partial.open("wb") as file:
                np.save(file, np.dstack([rendered.image, rendered.matte]))
        return rendered.image, rendered.matte

    @cached_property
    def _truth(self) -> SubjectRenderer:
        return self._renderer(AnnyHead())

    def _renderer(self, head_model: AnnyHead) -> SubjectRenderer:
        return SubjectRenderer(head_model, self.subject, self.frames, self.size, self.seed, self.coupling)

    @property
    def _split_protocol(self) -> dict[str, str]:
        return conversation.SPLIT_PROTOCOL if self.subject.folds else SPLIT_PROTOCOL

    def _tracked(self, head: HeadParameters) -> HeadParameters:
        """What a tracker with this noise finds of the true head parameters."""
        if not self.tracking_noise:
            return head
        generator = torch.Generator().manual_seed(NOISE_SEED + self.seed)
        noise = self.tracking_noise * torch.randn(head.expression.shape, generator=generator)
        used = head.expression.amax(0) > 0
        return replace(head, expression=(head.expression + noise * used).clamp(0, 1))

    def _recorded_settings(self) -> dict | None:
        try:
            return read_json_table(self.root / SETTINGS_FILE, "render it again")
        except UserError:
            return None

    def _render(self, head_model: AnnyHead, settings: dict, console: Console) -> TrackedSequence:
        with SequenceWriter(self.root) as writer, single_thread(), torch.no_grad():
            renderer = self._renderer(head_model)
            head = self._tracked(renderer.head)
            splits, torso_top = renderer.performance.splits, self.size
            for frame in track(range(self.frames), f"Rendering subject {self.subject.name}", console=console):
                rendered = renderer.render(frame)
                writer.add_frame(rendered.image, rendered.matte, rendered.labels)
                if frame in splits["train"]:
                    rows = np.flatnonzero((rendered.labels == Region.TORSO).any(1))
                    torso_top = min([torso_top, *rows[:1].tolist()])
            (writer.folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=1))
            sequence = TrackedSequence(
                image_paths=writer.paths["file_path"],
                matte_paths=writer.paths["fg_mask_path"],
                label_paths=writer.paths["label_path"],
                name=f"synthetic-{self.subject.name}",
                camera=renderer.camera,
                head=head,
                head_model_record=head_model_record(head_model),
                fps=FPS,
                frame_weights=torch.ones(self.frames),
                torso_motion=torch.eye(2, 3).repeat(self.frames, 1, 1),
                neck_line=torso_top / self.size,
                shell_thickness=renderer.shell_thickness(splits["train"]),
                splits=splits,
                split_protocol=self._split_protocol,
                coverage=split_coverage(splits, head),
            )
            return writer.finish(sequence)
