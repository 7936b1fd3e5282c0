"""A head model at another size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from partnerface.head_models.head_model_asset import HeadModelAsset

_LENGTHS = (
    *("template_vertices", "identity_basis", "expression_basis", "template_joints", "joint_identity_basis"),
    *("pose_correctives", "joint_expression_basis"),
)


def scaled_asset(asset: HeadModelAsset, scale: float) -> HeadModelAsset:
    """The asset with every length multiplied by ``scale``, which its version then names."""
    lengths = {name: getattr(asset, name) for name in _LENGTHS}
    scaled = {name: (scale * v).astype(np.float32) for name, v in lengths.items() if v is not None}
    return replace(asset, version=f"{asset.version}, {scale:.6g} times", **scaled)
