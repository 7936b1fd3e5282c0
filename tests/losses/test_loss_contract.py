"""Every term of ours holds the contract of losses."""

from partnerface.losses.coarse_photometric import CoarsePhotometric
from partnerface.losses.matte import Matte
from partnerface.losses.offset_size import OffsetSize
from partnerface.losses.offset_smoothness import OffsetSmoothness
from partnerface.losses.part_balance import PartBalance
from partnerface.losses.part_entropy import PartEntropy
from partnerface.losses.photometric import Photometric
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


class TestPartBalance(LossContract):
    measures = ("deformation.part_usage",)

    def make(self, weight: float) -> PartBalance:
        return PartBalance(weight)


class TestPartEntropy(LossContract):
    measures = ("deformation.part_entropy",)

    def make(self, weight: float) -> PartEntropy:
        return PartEntropy(weight)
