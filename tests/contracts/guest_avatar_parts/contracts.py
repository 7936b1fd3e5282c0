"""The guest's tests: each part inherits its contract. Run with the dataset's folder in GUEST_DATASET."""

import os

import numpy as np
import pytest
from guest_avatar_parts import parts

from partnerface.avatar.avatar import Avatar
from partnerface.rendering.torso_layer import TorsoLayer
from tests.contracts.avatar_method_contract import AvatarMethodContract
from tests.contracts.deformation_contract import DeformationContract
from tests.contracts.inverse_skinning_contract import InverseSkinningContract
from tests.contracts.loss_contract import LossContract
from tests.contracts.metric_contract import ImageMetricContract
from tests.contracts.radiance_field_contract import RadianceFieldContract
from tests.contracts.ray_sampler_contract import RaySamplerContract
from tests.contracts.sequence_reader_contract import SequenceReaderContract


class TestFlow(DeformationContract):
    def make(self, driving_width):
        return parts.Flow(driving_width)


class TestWaves(RadianceFieldContract):
    def make(self, appearance_width):
        return parts.Waves(appearance_width)


class TestBall(RaySamplerContract):
    slack_m = 0.2

    def make(self):
        return parts.Ball()


class TestNearestVertex(InverseSkinningContract):
    def make(self):
        return parts.NearestVertex()


class TestSquaredOpacity(LossContract):
    measures = ("rays.opacity",)

    def make(self, weight):
        return parts.SquaredOpacity(weight)


class TestMedianError(ImageMetricContract):
    def metric(self):
        return parts.MedianError()

    def reference(self, rendered, target, mask):
        error = np.abs(rendered - target)
        return float(np.percentile(error if mask is None else error[:, mask], 50, method="lower"))


class TestEverySecondFrame(SequenceReaderContract):
    @pytest.fixture
    def reader(self):
        return parts.EverySecondFrame(os.environ["GUEST_DATASET"])


class TestGuestAvatar(AvatarMethodContract):
    def make(self, head_model):
        torso = TorsoLayer(resolutions=(8,), channels=4)
        return Avatar(head_model, parts.NearestVertex(), parts.Flow, parts.Waves, parts.Ball(), torso)
