"""Every method, and an avatar of other parts, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from partnerface.avatar import voxel_map
from partnerface.avatar.avatar import Avatar
from partnerface.avatar.nerface import NeRFace
from partnerface.deformation.deformation import Deformation
from partnerface.deformation.global_deformation import NoDeformation
from partnerface.deformation.lip_expression import LipExpression
from partnerface.deformation.part_blendshapes import PartBlendshapes
from partnerface.deformation.part_networks import PartNetworks
from partnerface.fields.frequency_field import FrequencyField
from partnerface.fields.hash_field import HashField
from partnerface.fields.lit_field import LitField
from partnerface.fields.radiance_field import RadianceField
from partnerface.head_models.head_model import HeadModel
from partnerface.rendering.torso_layer import TorsoLayer
from partnerface.sampling.head_sampler import HeadRaySampler
from partnerface.sampling.ray_sampler import RaySampler
from partnerface.sampling.uniform import UniformSampler
from partnerface.skinning.inverse_skinning import InverseSkinning
from partnerface.skinning.nearest_surface import NearestSurface
from partnerface.skinning.nearest_triangle import NearestTriangle
from tests.contracts.avatar_method_contract import AvatarMethodContract


class AvatarParts(AvatarMethodContract):
    """An avatar of small parts."""

    skinning: Callable[[], InverseSkinning] = NearestSurface
    deformation: Callable[[int], Deformation] = partial(PartNetworks, parts=4, hidden_width=8)
    field: Callable[[int], RadianceField] = partial(
        HashField, levels=3, log2_table_size=10, finest=64, hidden_width=16
    )
    sampler: Callable[[], RaySampler] = partial(HeadRaySampler, samples=12, cells=32)
    shading = False

    def make(self, head_model: HeadModel) -> Avatar:
        return Avatar(
            head_model,
            skinning=type(self).skinning(),
            deformation=type(self).deformation,
            field=type(self).field,
            sampler=type(self).sampler(),
            torso=TorsoLayer(resolutions=(8, 16), channels=4),
            shading=type(self).shading,
        )


class TestPartNetworks(AvatarParts):
    pass


class TestPartBlendshapes(AvatarParts):
    deformation = partial(PartBlendshapes, parts=40, hidden_width=8, shapes=2)


class TestLitPartBlendshapes(AvatarParts):
    deformation = partial(PartBlendshapes, parts=4, hidden_width=8, shapes=2)
    field = partial(LitField, levels=3, log2_table_size=10, finest=64, hidden_width=16)
    shading = True


class TestInVoxels(AvatarParts):
    """Pictures through the interpolated canonical map, which small ones do without."""

    @pytest.fixture(autouse=True)
    def _interpolate_small_pictures(self, monkeypatch):
        monkeypatch.setattr(voxel_map, "LEAST_SAMPLES", 0)


class TestInstaLike(AvatarParts):
    skinning = NearestTriangle
    deformation = partial(LipExpression, code_width=3)
    field = partial(
        HashField, levels=3, log2_table_size=10, finest=64, hidden_width=16, condition_density=True
    )


class TestSkinningAlone(AvatarParts):
    deformation = NoDeformation


class TestUniformSamplesOfAFrequencyField(AvatarParts):
    sampler = partial(UniformSampler, samples=24)
    field = partial(FrequencyField, layers=2, hidden_width=24, position_frequencies=4)


class TestNeRFace(AvatarMethodContract):
    def make(self, head_model: HeadModel) -> NeRFace:
        return NeRFace(
            head_model,
            sampler=UniformSampler(samples=12),
            torso=TorsoLayer(resolutions=(8, 16), channels=4),
            importance=12,
            layers=3,
            hidden_width=16,
            code_width=4,
        )
