"""What every term has in common, and which refuse a method that deforms nothing."""

import pytest
import torch

from partnerface.data.regions import Region
from partnerface.errors import UserError
from partnerface.losses.loss import Loss
from partnerface.losses.photometric import CoarsePhotometric, Matte, Photometric
from partnerface.losses.regularisers import (
    DrivingSparsity,
    OffsetSize,
    OffsetSlide,
    OffsetSmoothness,
    PartBalance,
    PartEntropy,
)
from tests.contracts.loss_contract import LossContract


class TestPhotometric(LossContract):
    measures = ("rays.rgb", "rays.opacity")

    def make(self, weight: float) -> Photometric:
        return Photometric(weight)


class TestCoarsePhotometric(LossContract):
    measures = ("coarse.rgb", "coarse.opacity")

    def make(self, weight: float) -> CoarsePhotometric:
        return CoarsePhotometric(weight)


class TestMatte(LossContract):
    measures = ("rays.opacity",)

    def make(self, weight: float) -> Matte:
        return Matte(weight)


class TestOffsetSize(LossContract):
    measures = ("deformation.offset_size",)

    def make(self, weight: float) -> OffsetSize:
        return OffsetSize(weight)


class TestOffsetSmoothness(LossContract):
    measures = ("deformation.offset_roughness",)

    def make(self, weight: float) -> OffsetSmoothness:
        return OffsetSmoothness(weight)


class TestOffsetSlide(LossContract):
    measures = ("deformation.offset_slide",)

    def make(self, weight: float) -> OffsetSlide:
        return OffsetSlide(weight)

    def ideal(self):
        rendering, batch = super().ideal()
        batch.region[:, ::2] = Region.FACE
        return rendering, batch

    def test_is_the_mean_over_the_rays_that_meet_the_face(self):
        rendering, batch = self.ideal()
        batch.region[:] = Region.HAIR
        batch.region[0, :4] = torch.tensor([Region.FACE, Region.EYES, Region.NECK, Region.MOUTH])
        rendering.deformation.offset_slide = torch.full(batch.region.shape, 100.0)
        rendering.deformation.offset_slide[0, :4] = torch.tensor([1.0, 2.0, 50.0, 6.0])
        assert float(self.make(1.0)(rendering, batch)) == 3
        batch.region[:] = Region.HAIR
        assert float(self.make(1.0)(rendering, batch)) == 0

    def test_an_avatar_without_normals_is_refused(self):
        rendering, batch = self.ideal()
        rendering.deformation.offset_slide = None
        with pytest.raises(UserError, match=r"--model\.losses\.offset_slide: .*shading=true"):
            self.make(1.0)(rendering, batch)


class TestPartBalance(LossContract):
    measures = ("deformation.part_usage",)

    def make(self, weight: float) -> PartBalance:
        return PartBalance(weight)


class TestDrivingSparsity(LossContract):
    measures = ("deformation.driving_share",)

    def make(self, weight: float) -> DrivingSparsity:
        return DrivingSparsity(weight)

    def test_nothing_where_masks_are_fixed(self):
        rendering, batch = self.ideal()
        rendering.deformation.driving_share = None
        assert self.make(1.0)(rendering, batch) == 0


class TestPartEntropy(LossContract):
    measures = ("deformation.part_entropy",)

    def make(self, weight: float) -> PartEntropy:
        return PartEntropy(weight)


def test_the_interface_itself_is_no_term(make_pair):
    with pytest.raises(TypeError, match="abstract class Loss"):
        Loss()(*make_pair())


@pytest.mark.parametrize(
    ("term", "name"),
    [
        (OffsetSize, "offset_size"),
        (OffsetSmoothness, "offset_smoothness"),
        (OffsetSlide, "offset_slide"),
        (PartBalance, "part_balance"),
        (PartEntropy, "part_entropy"),
    ],
)
def test_a_method_without_deformation_is_refused_by_name(term, name, make_pair):
    rendered, batch = make_pair()
    rendered.deformation = None
    with pytest.raises(UserError, match=f"--model.losses.{name}: .* take the loss out"):
        term()(rendered, batch)


@pytest.mark.parametrize(
    ("term", "statistic"),
    [(OffsetSize, "offset_size"), (OffsetSmoothness, "offset_roughness"), (PartEntropy, "part_entropy")],
)
def test_regularisers_are_means_over_the_frames(term, statistic, make_pair):
    rendered, batch = make_pair()
    setattr(rendered.deformation, statistic, torch.tensor([3.0, 5.0]))
    assert float(term()(rendered, batch)) == 4
