"""The command ``export nersemble``: a submission to NeRSemble's monocular benchmark."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from partnerface.errors import UserError
from partnerface.files.whole_files import require_writable

if TYPE_CHECKING:
    from partnerface.avatar.method import AvatarMethod
    from partnerface.data.formats.nersemble import TestedSequence


def export_nersemble(
    benchmark: Path,
    avatars: Path,
    head_model: Path,
    out: Path,
    persons: str | None = None,
    background: Literal["white", "black"] = "white",
) -> None:
    """Render what NeRSemble's monocular benchmark tests on, and pack it as it is submitted.

    Finished videos lie in ``OUT.videos``, so that the same command continues one that was stopped.

    Args:
        benchmark: its folder ``mono_flame_avatar``, with a folder for each person such as 393.
        avatars: folder with a trained avatar for each person: 393, 404, ..., each the folder of a run, or a
            file such as 393.avatar.
        head_model: the FLAME 2023 file.
        out: the .zip file.
        persons: some of the five, with commas between; the benchmark itself refuses fewer than all.
        background: colour behind the person.
    """
    from partnerface.data.formats.nersemble import PERSONS, TESTED, TESTED_CAMERAS

    benchmark, avatars, head_model, out = (Path(path) for path in (benchmark, avatars, head_model, out))
    if out.suffix.lower() != ".zip":
        raise UserError(f"--out {out}: must end in .zip")
    require_writable(out.absolute().parent)
    known = [str(person) for person in PERSONS]
    chosen = known if persons is None else [word.strip() for word in persons.split(",")]
    if wrong := [word for word in chosen if word not in known]:
        raise UserError(f"--persons {wrong[0]}: no person of the benchmark; choose from {', '.join(known)}")
    places = {}
    for person in dict.fromkeys(chosen):
        # All that can be missing is looked for before hours of rendering.
        if not (benchmark / person).is_dir():
            raise UserError(
                f"{benchmark / person}: missing; give the folder mono_flame_avatar as --benchmark"
            )
        runs = [avatars / person, avatars / f"{person}.avatar"]
        if not (found := [path for path in runs if path.exists()]):
            raise UserError(f"{avatars / person}: missing; train an avatar of each person, or give --persons")
        places[person] = found[0]
    from partnerface.animation.open_avatar import open_avatar
    from partnerface.export.nersemble_submission import pack, render_person, tested_sequences
    from partnerface.runs.engine import locked
    from partnerface.runs.progress import shown_progress

    def opened(name: str) -> tuple[AvatarMethod, dict[str, TestedSequence]]:
        avatar = open_avatar(places[name]).avatar
        return avatar, tested_sequences(benchmark / name, head_model, avatar)

    for name in places:
        opened(name)
    grey = float(background == "white")
    videos = out.with_name(f"{out.name}.videos")
    videos.mkdir(exist_ok=True)
    count = len(places) * len(TESTED) * len(TESTED_CAMERAS)
    with locked(videos), shown_progress("Rendering videos", count) as advance:
        for name in places:
            render_person(*opened(name), videos / f"{int(name):03d}", grey, advance)
    number = pack(videos, [int(name) for name in places], out)
    if len(places) < len(known):
        left = ", ".join(name for name in known if name not in places)
        print(f"partnerface: without {left} the benchmark refuses the submission", file=sys.stderr)
    print(f"{out}: {number} videos; {videos} may be removed")
