"""Mattes of picture files that come without, written file by file: a call that was stopped is continued."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partnerface.compute.threads import single_threaded_pool, usable_cores
from partnerface.data.completion.matte_refinement import (
    PLATE_FRAMES,
    CleanPlate,
    find_clean_plate,
    refined_matte,
)
from partnerface.data.completion.matting import ForegroundMatting
from partnerface.data.splits import spread_evenly
from partnerface.files.images import read_matte, read_rgb, write_image
from partnerface.runs.progress import shown_progress

COARSE = "coarse_mattes"
"""Folder beside the mattes that holds the network's until all are refined."""


def write_mattes(
    matting: ForegroundMatting, images: list[Path], paths: list[Path], train: Sequence[int]
) -> None:
    """Separate the person from the background in pictures, and refine the outlines.

    Files that are there stay, as those of a call that was stopped.

    Args:
        matting: makes coarse mattes.
        images: ``T`` pictures; those of one folder show the same place.
        paths: ``T`` files of the mattes, in one folder; made if missing.
        train: the training frames. The background behind them is taken from no other, nor is that of other
            frames of their folder.

    Raises:
        UserError: a picture is damaged, a model file is missing, or the disk is full.
    """
    count, folder = len(images), paths[0].parent
    coarse = [folder.with_name(COARSE) / path.name for path in paths]
    missing = {i for i, path in enumerate(paths) if not path.is_file()}
    rough = [i for i in sorted(missing) if not coarse[i].is_file()]
    for place in (folder, coarse[0].parent):
        place.mkdir(exist_ok=True)
    with shown_progress("Making mattes", count, count - len(rough)) as advance:
        for i, matte in zip(rough, matting.mattes(read_rgb(images[i]) for i in rough), strict=True):
            write_image(coarse[i], matte)
            advance()

    def refine(i: int, plate: CleanPlate) -> None:
        write_image(paths[i], refined_matte(read_rgb(images[i]), read_matte(coarse[i]), plate))

    trained = {*train}
    places: dict[Path, list[int]] = {}
    for i, image in enumerate(images):
        places.setdefault(image.parent, []).append(i)
    pool = single_threaded_pool(usable_cores())
    try:
        with shown_progress("Refining mattes", count, count - len(missing)) as advance:
            for frames in places.values():
                wanted = [i for i in frames if i in missing]
                chosen = spread_evenly([i for i in frames if i in trained] or frames, PLATE_FRAMES)
                if wanted:
                    seen = np.stack([read_rgb(images[i]) for i in chosen])
                    plate = find_clean_plate(seen, np.stack([read_matte(coarse[i]) for i in chosen]))
                    for _ in pool.map(refine, wanted, [plate] * len(wanted)):
                        advance()
    finally:
        pool.shutdown(cancel_futures=True)
    shutil.rmtree(coarse[0].parent)
