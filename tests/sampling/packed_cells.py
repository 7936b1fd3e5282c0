"""Masks of cells as the sampler reads them, a bit for each: rows of x in words of 32, y before z."""

import numpy as np
import torch
from torch.nn import functional


def packed(cells: torch.Tensor) -> torch.Tensor:
    """Masks ``[F, C, C, C]``, z before y before x, as ``[F, words]`` int32."""
    rows = functional.pad(cells.bool(), (0, -cells.shape[-1] % 32))
    bits = np.packbits(rows.numpy(), axis=-1, bitorder="little")
    return torch.from_numpy(bits.reshape(len(cells), -1).view("<i4"))


def unpacked(words: torch.Tensor, cells: int) -> torch.Tensor:
    """Words ``[F, words]`` int32 as masks ``[F, C, C, C]``."""
    bits = np.unpackbits(words.numpy().astype("<i4").view(np.uint8), axis=-1, bitorder="little")
    return torch.from_numpy(bits.reshape(len(words), cells, cells, -1)[..., :cells]).bool()
