"""The driver of the own video holds the contract of drivers."""

from functools import cache

from torch import Tensor

from partnerface.data.drivers.driver import OwnFrames
from partnerface.data.view import View
from tests.contracts.driver_contract import DriverContract
from tests.contracts.subjects import shared_head_model, tracked_sequence, views_of


@cache
def video() -> View:
    return views_of(tracked_sequence(shared_head_model()))


class TestOwnFrames(DriverContract):
    def make(self) -> OwnFrames:
        return OwnFrames(video(), [5, self.least_expressive(), 0, 5], fps=25.0)

    def neutral(self) -> tuple[int, Tensor]:
        """The performer is the avatar's person: an expression stays what it is."""
        return 1, video().head.expression[self.least_expressive()]

    def least_expressive(self) -> int:
        return int(video().head.expression.norm(dim=1).argmin())
