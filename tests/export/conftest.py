"""An avatar whose radiance field is known: opaque, with a colour for every canonical position."""

from functools import partial

import pytest
import torch
from torch import Tensor

from partnerface.avatar.avatar import Avatar
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.deformation.global_deformation import NoDeformation
from partnerface.fields.radiance_field import RadianceField
from partnerface.head_models.anny import AnnyHead
from partnerface.rendering.torso_layer import TorsoLayer
from partnerface.sampling.head_sampler import HeadRaySampler
from partnerface.skinning.nearest_surface import NearestSurface
from tests.views import views_of

SHELL_M = 0.006


class KnownField(RadianceField):
    """As good as opaque; rgb is the position in the canonical cube, or stripes of it.

    Args:
        appearance_width: 0.
        waves: stripes across the cube along an axis; 0 for the position itself.
    """

    def __init__(self, appearance_width: int, waves: float = 0.0) -> None:
        super().__init__()
        self.waves, self.weight = waves, torch.nn.Parameter(torch.zeros(()))

    def density(self, positions: Tensor) -> Tensor:
        return torch.full_like(positions[:, 0], 1e5)

    def forward(
        self, positions: Tensor, directions: Tensor, appearance: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        rgb = 0.5 + 0.45 * torch.sin(6.2832 * self.waves * positions) if self.waves else positions
        return self.density(positions), rgb


def known_avatar(sequence, waves: float = 0.0) -> Avatar:
    torch.manual_seed(0)
    avatar = Avatar(
        head_model=AnnyHead(),
        skinning=NearestSurface(),
        deformation=NoDeformation,
        field=partial(KnownField, waves=waves),
        sampler=HeadRaySampler(samples=32, cells=32),
        torso=TorsoLayer(resolutions=(4,), channels=2),
    )
    avatar.adapt_to(sequence)
    avatar.thickness.fill_(SHELL_M)
    avatar.place_surface()
    return avatar.eval()


@pytest.fixture(scope="session")
def sequence(synthetic_dataset):
    return SyntheticReader(synthetic_dataset, frames=24, size=32).read()


@pytest.fixture(scope="session")
def avatar(sequence) -> Avatar:
    """Its colours are canonical positions."""
    return known_avatar(sequence)


@pytest.fixture(scope="session")
def striped_avatar(sequence) -> Avatar:
    """Its colours are stripes of about 8 cm in each axis."""
    return known_avatar(sequence, waves=4)


@pytest.fixture(scope="session")
def views(sequence):
    """Frames with an open mouth, closed eyes and turned heads."""
    return views_of(sequence, [2, 9, 17])
