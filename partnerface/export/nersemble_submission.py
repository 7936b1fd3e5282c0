"""A submission to NeRSemble's monocular benchmark: a video of every tested sequence by every tested camera.

The archive is laid out as the benchmark's own toolkit (nersemble-benchmark 0.2.0) checks it:
``PPP/SEQUENCE/cam_SERIAL.mp4`` with three digits for the person, H.264 of 24.3 frames per second at crf 14,
512x512 pixels, one frame for each row of the sequence's tracking.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from partnerface.avatar.method import AvatarMethod
from partnerface.avatar.picture import image_bytes
from partnerface.data.formats.foreign import DatasetFolder, GivenHeadModel
from partnerface.data.formats.nersemble import (
    FPS,
    TESTED,
    TESTED_CAMERAS,
    TestedSequence,
    read_tested_sequence,
)
from partnerface.data.splits import angular_velocity
from partnerface.data.view import View
from partnerface.errors import UserError
from partnerface.files.videos import write_video
from partnerface.files.whole_files import replace_text, whole_file

SIDE, CRF = 512, 14
"""Pixels of a side, and quality of H.264."""
AVATAR_RECORD = "avatar.txt"
"""Which avatar the finished videos of a person show."""


def tested_sequences(folder: Path, flame: Path, avatar: AvatarMethod) -> dict[str, TestedSequence]:
    """The tested sequences of a person by name.

    Args:
        folder: the person's folder of the benchmark.
        flame: the FLAME file.
        avatar: that of the person.

    Raises:
        UserError: a file is missing or wrong, or the avatar is not that of the person.
    """
    found = {
        name: read_tested_sequence(DatasetFolder(folder), GivenHeadModel(flame), name) for name in TESTED
    }
    for sequence in found.values():
        same = sequence.head_model.asset.checksum() == avatar.head_model.asset.checksum()
        if not same or (sequence.head.identity - avatar.identity.cpu()).abs().max() > 1e-3:
            raise UserError(
                f"{folder}: is another person, or another FLAME file, than the avatar was trained on"
            )
    return found


def camera_views(avatar: AvatarMethod, sequence: TestedSequence, serial: str) -> View:
    """The T views of a sequence by one of its cameras, with a torso that stands as in the default view."""
    rotation, count = sequence.head.rotation, len(sequence.head)
    trusted, access = torch.ones(count, dtype=torch.bool), torch.zeros(count)
    head = replace(sequence.head, angular_velocity=angular_velocity(rotation, FPS, trusted, access))
    torso = avatar.default_view().torso_motion.cpu().expand(count, -1, -1)
    views = View(sequence.cameras[TESTED_CAMERAS[0]], head, torso, avatar.rig().to("cpu"))
    return views.seen_from(sequence.cameras[serial]).resized(SIDE, SIDE)


def render_person(
    avatar: AvatarMethod,
    sequences: dict[str, TestedSequence],
    place: Path,
    background: float,
    advance: Callable[[], None],
) -> None:
    """Write the videos of a person into a folder; those that are there already stay.

    Args:
        avatar: who is shown.
        sequences: by name.
        place: the folder; videos in it that show another avatar are removed.
        background: grey behind the person, 0 for black and 1 for white.
        advance: called after each video.
    """
    shown, record = f"{avatar.digest()} {background:g}", place / AVATAR_RECORD
    if not record.is_file() or record.read_text() != shown:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        replace_text(record, shown)
    for name, sequence in sequences.items():
        (place / name).mkdir(exist_ok=True)
        for serial in TESTED_CAMERAS:
            path = place / name / f"cam_{serial}.mp4"
            if not path.is_file():
                write_video(
                    path, _pictures(avatar, camera_views(avatar, sequence, serial), background), FPS, crf=CRF
                )
            advance()


def _pictures(avatar: AvatarMethod, views: View, background: float) -> Iterator[np.ndarray]:
    behind = torch.full((3,), background, device=avatar.identity.device)
    for number in range(len(views)):
        with torch.no_grad():
            picture = avatar.render(views.select([number]).to(avatar.identity.device))
        yield image_bytes(picture.over(behind))


def pack(videos: Path, persons: list[int], out: Path) -> int:
    """Write the archive of all videos of some persons, whole or not at all, and return their number.

    Raises:
        UserError: it cannot be written.
    """
    names = [
        f"{person:03d}/{name}/cam_{serial}.mp4"
        for person in persons
        for name in sorted(TESTED)
        for serial in sorted(TESTED_CAMERAS)
    ]
    with whole_file(out) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name in names:
            archive.write(videos / name, name)
    return len(names)
