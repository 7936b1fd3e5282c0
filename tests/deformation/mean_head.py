"""The mean head as deformations are given it."""

import torch

from partnerface.deformation.deformation import CanonicalHead
from partnerface.skinning.head_surface import head_surface


def canonical_head(anny, expression: torch.Tensor | None = None) -> CanonicalHead:
    """The mean head, in a cube of half a metre."""
    used = anny.faces[head_surface(anny)].unique()
    expression = torch.zeros(2, anny.num_expression) if expression is None else expression
    return CanonicalHead(
        anny, anny.template_vertices, used, expression, torch.full((3,), -0.25), torch.tensor(0.5)
    )
