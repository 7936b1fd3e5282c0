"""SyntheticReader: the embedded subject as a tracked sequence, rendered once and reused."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from partnerface.cameras.pinhole import Camera
from partnerface.compute.threads import single_thread
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.formats.writer import SequenceWriter
from partnerface.data.regions import Region
from partnerface.data.sequence import SequenceReader, TrackedSequence, TrueSurface, head_model_record
from partnerface.data.splits import split_coverage
from partnerface.data.synthetic.performance import FPS, SPLIT_PROTOCOL
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.errors import UserError
from partnerface.files.plain_values import read_json_table
from partnerface.head_models.anny import AnnyHead

SETTINGS_FILE = "synthetic.json"
APPEARANCE_VERSION = 4
"""Raised whenever what is on disk changes, so that older renderings are not reused."""

LEAST_SIZE = 8


class SyntheticReader(SequenceReader):
    """Renders an embedded subject into ``root`` and reads it; a second run reuses what is there.

    Args:
        root: the dataset's folder, made if missing.
        subject: name of the subject, ``a`` or ``b``.
        frames: length of the clip; about 70 % train.
        size: width and height in pixels.
        seed: seed of the performance.
    """

    def __init__(
        self, root: Path, subject: str = "a", frames: int = 240, size: int = 128, seed: int = 0
    ) -> None:
        if frames < 1:
            raise UserError(f"frames {frames}: a clip needs at least one frame")
        if size < LEAST_SIZE:
            raise UserError(f"size {size}: choose at least {LEAST_SIZE} pixels")
        if seed < 0:
            raise UserError(f"seed {seed}: choose 0 or more")
        self.root = Path(root)
        self.subject = subject_named(subject)
        self.frames = frames
        self.size = size
        self.seed = seed

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
                protocol = {name: SPLIT_PROTOCOL[name] for name in sequence.splits}
                return replace(sequence, split_protocol=protocol)
        elif found is not None:
            changed = ", ".join(key for key in settings if found.get(key) != settings[key])
            console.print(f"{self.root}: {changed} changed; rendering it again", markup=False, soft_wrap=True)
        return self._render(head_model, settings, console)

    def true_surface(self, frame: int, camera: Camera) -> TrueSurface:
        """Worked out anew from the subject and the seed, so that renderings of any age have it."""
        return self._truth.true_surface(frame, camera)

    @cached_property
    def _truth(self) -> SubjectRenderer:
        return self._renderer(AnnyHead())

    def _renderer(self, head_model: AnnyHead) -> SubjectRenderer:
        return SubjectRenderer(head_model, self.subject, self.frames, self.size, self.seed)

    def _recorded_settings(self) -> dict | None:
        try:
            return read_json_table(self.root / SETTINGS_FILE, "render it again")
        except UserError:
            return None

    def _render(self, head_model: AnnyHead, settings: dict, console: Console) -> TrackedSequence:
        with SequenceWriter(self.root) as writer, single_thread(), torch.no_grad():
            renderer = self._renderer(head_model)
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
                head=renderer.head,
                head_model_record=head_model_record(head_model),
                fps=FPS,
                frame_weights=torch.ones(self.frames),
                torso_motion=torch.eye(2, 3).repeat(self.frames, 1, 1),
                neck_line=torso_top / self.size,
                shell_thickness=renderer.shell_thickness(splits["train"]),
                splits=splits,
                split_protocol=SPLIT_PROTOCOL,
                coverage=split_coverage(splits, renderer.head),
            )
            return writer.finish(sequence)
