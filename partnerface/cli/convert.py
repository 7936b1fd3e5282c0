"""The command ``convert``: a tracked dataset of one system for another."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from partnerface.errors import UserError


def convert(
    dataset: Path,
    to: Literal["partnerface", "vhap", "insta"],
    out: Path,
    head_model: Path | None = None,
    format: str = "auto",
) -> None:
    """Write a tracked dataset, ours or of another system, in another format.

    VHAP's holds FLAME parameters where the dataset was tracked with FLAME, and else a mesh for each frame;
    INSTA's always holds meshes.

    Args:
        dataset: folder of the dataset; one of another system gets a folder .cache.
        to: the format to write: partnerface, vhap (for GaussianAvatars too) or insta.
        out: the new folder.
        head_model: the FLAME file that the dataset was tracked with, where it names no other head model.
        format: format of the dataset, if it is not to be found out.
    """
    # Imported here: --help need not wait for torch.
    import torch

    from partnerface.data.formats.auto import AutoReader
    from partnerface.data.formats.convert import CONVERSIONS, Conversion
    from partnerface.runs.progress import shown_progress

    dataset, out = Path(dataset), Path(out)
    if out.resolve() == dataset.resolve():
        raise UserError(f"--out {out}: is the dataset itself; choose another folder")
    sequence = AutoReader(dataset, head_model, format).read()
    if sequence.head_model is None:
        name = sequence.head_model_record.name
        raise UserError(f"dataset {dataset}: was tracked with {name}; give its file as --head_model FILE")
    with shown_progress(f"Writing {out.name}", len(sequence)) as advance, torch.no_grad():
        CONVERSIONS[to](Conversion(sequence, sequence.head_model, head_model, advance), out)
    print(f"{len(sequence)} frames in {out}, in the format {to}; next: partnerface check {out}")
