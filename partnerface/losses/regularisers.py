"""Regularisers of the fine motion and of the parts; a method without deformation raises UserError."""

from __future__ import annotations

import math

from torch import Tensor

from partnerface.data.batches.datasets import RayBatch
from partnerface.data.regions import WHOLE_FACE, in_regions
from partnerface.errors import UserError
from partnerface.losses.loss import Loss, deformation_statistics
from partnerface.rendering.rendered_rays import MethodOutput


class OffsetSize(Loss):
    """Mean squared offset in square millimetres.

    A small weight keeps offsets from growing where no picture constrains them. A large one forbids what there
    is to learn: at 0.001 a millimetre cost more than all that the sway of hair could gain.
    """

    def forward(self, rendered: MethodOutput, batch: RayBatch) -> Tensor:
        return deformation_statistics(rendered, "offset_size").offset_size.mean()


class OffsetSlide(Loss):
    """Mean squared part of the offset along the skin of the face, in square millimetres.

    Texture that slides along the skin imitates shading: such offsets fit pictures and are wrong. Folds move
    the skin outwards and inwards. Hair may sway.

    Raises:
        UserError: the avatar gives no normals.
    """

    def forward(self, rendered: MethodOutput, batch: RayBatch) -> Tensor:
        slide = deformation_statistics(rendered, "offset_slide").offset_slide
        if slide is None:
            raise UserError(
                "--model.losses.offset_slide: offsets along the skin are known with "
                "--model.avatar.init_args.shading=true; give it, or take the loss out"
            )
        face = in_regions(batch.region, WHOLE_FACE)
        return (slide * face).sum() / face.sum().clamp_min(1)


class OffsetSmoothness(Loss):
    """Mean squared change of the offset per distance between neighbouring samples of a ray, no unit.

    The directional form of Nerfies' elastic term (Park et al. 2021, eq. 4) without a second evaluation.
    """

    def forward(self, rendered: MethodOutput, batch: RayBatch) -> Tensor:
        return deformation_statistics(rendered, "offset_smoothness").offset_roughness.mean()


class PartBalance(Loss):
    """Kullback-Leibler divergence of the parts' mean usage from uniform, in nats."""

    def forward(self, rendered: MethodOutput, batch: RayBatch) -> Tensor:
        usage = deformation_statistics(rendered, "part_balance").part_usage.mean(0).clamp_min(1e-6)
        return (usage * usage.log()).sum() + math.log(len(usage))


class PartEntropy(Loss):
    """Mean entropy of the samples' part weights, in nats: 0 where each belongs to one part alone."""

    def forward(self, rendered: MethodOutput, batch: RayBatch) -> Tensor:
        return deformation_statistics(rendered, "part_entropy").part_entropy.mean()


class DrivingSparsity(Loss):
    """Mean share of the expressions that a part depends on, in [0, 1]; 0 where that is not learned."""

    def forward(self, rendered: MethodOutput, batch: RayBatch) -> Tensor:
        share = deformation_statistics(rendered, "driving_sparsity").driving_share
        return rendered.rays.rgb.new_zeros(()) if share is None else share
