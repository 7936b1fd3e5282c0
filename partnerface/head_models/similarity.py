"""Least-squares similarity transforms between point sets."""

from __future__ import annotations

import torch
from torch import Tensor


def similarity_alignment(source: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Least-squares similarity transforms from one point set onto many (Umeyama 1991).

    Args:
        source: ``[K, 3]``.
        targets: ``[F, K, 3]``.

    Returns:
        Rotation ``[F, 3, 3]``, scale ``[F]`` and offset ``[F, 3]`` with
        ``targets ~ scale * rotation @ source + offset``. The rotation is proper.
    """
    source_mean, target_mean = source.mean(0), targets.mean(1)
    centred = source - source_mean
    u, singular, vh = torch.linalg.svd((targets - target_mean[:, None]).transpose(1, 2) @ centred)
    sign = torch.ones_like(singular)
    sign[:, 2] = torch.det(u @ vh)
    rotation = u @ torch.diag_embed(sign) @ vh
    scale = (singular * sign).sum(1) / centred.square().sum()
    return rotation, scale, target_mean - scale[:, None] * (rotation @ source_mean)
