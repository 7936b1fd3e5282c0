"""The command ``export avatar``: a trained avatar as one file."""

from __future__ import annotations

from pathlib import Path


def export_avatar(avatar: Path, out: Path | None = None, trust: str = "") -> None:
    """Write a trained avatar as one file: weights, the person's shape and neutral view, scores; no code.

    ``partnerface.load_avatar`` reads it, on any machine with this package. Where the head model is a file,
    such as FLAME, that has to lie beside it; a line says which.

    Args:
        avatar: folder of a run or of ``partnerface create``, or a checkpoint.
        out: the file, by default the folder's name with .avatar, beside the folder.
        trust: packages whose classes the avatar may name, with commas between.
    """
    from partnerface.avatar_files.loading import avatar_path, export_avatar_file
    from partnerface.runs.run import run_of_checkpoint

    path = avatar_path(Path(avatar))
    if out is None:
        folder = (run_of_checkpoint(path) or path.with_suffix("")).resolve()
        out = folder.with_name(f"{folder.name}.avatar")
    files = export_avatar_file(path, Path(out), trust)
    print(f"Wrote {out}, {Path(out).stat().st_size / 1e6:.1f} MB")
    for file in files:
        print(f"To be read it needs a copy of {file} beside it, under that name")
