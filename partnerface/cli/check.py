"""The command ``check``: is a dataset fit to train on?"""

from __future__ import annotations

import sys
from pathlib import Path

from partnerface.errors import UserError

EXIT_UNFIT = 1


def check(
    dataset: Path, out: Path | None = None, head_model: Path | None = None, format: str = "auto"
) -> int:
    """Say whether a tracked dataset is fit to train on, and why not.

    Projects the head on frames (overlay.png), plots the coverage of pose and expression (coverage.png),
    looks at mattes, splits and camera, and writes it all to check.json. Ends with code 0 for a dataset that
    is fit, 1 for one that is not, 2 for an unreadable one.

    Args:
        dataset: folder of the dataset, ours or of another system; nothing in it is changed, but a folder
            .cache is added to datasets of other systems.
        out: folder of the report, by default ``runs/check/NAME_OF_THE_FOLDER``.
        head_model: file of the head model, for a dataset tracked with FLAME.
        format: format of the dataset, if it is not to be found out.
    """
    dataset = Path(dataset)
    out = Path("runs") / "check" / dataset.absolute().name if out is None else Path(out)
    if out.resolve() == dataset.resolve():
        raise UserError(f"--out {out}: is the dataset itself; choose another folder")
    # Imported here: --help need not wait for torch.
    from rich.progress import track

    from partnerface.dataset_checks.dataset_check import CHECK_FILE, check_dataset

    found = check_dataset(
        dataset,
        out,
        head_model,
        format,
        lambda frames: track(frames, "Looking at frames", disable=not sys.stderr.isatty(), transient=True),
    )
    for finding in found.findings:
        print(f"  {finding.severity:<6} {finding.topic:<13} {finding.text}")
    print(*(f"  {path}" for path in (out / CHECK_FILE, *found.files)), sep="\n")
    if found.reasons:
        print(f"unfit: {dataset}: {'; '.join(found.reasons)}")
        return EXIT_UNFIT
    topics = ", ".join(dict.fromkeys(f.topic for f in found.findings if f.severity == "doubt"))
    print(f"fit: {dataset}" + (f", with doubts about {topics}" if topics else ""))
    return 0
