"""Built-in motions: what each promises."""

import pytest
import torch

from partnerface.data.drivers.motions import FPS, MOTIONS, idle, range_of_motion, talk
from partnerface.data.drivers.performance import make_performance
from partnerface.data.drivers.transfer import TransferredPerformance
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.errors import UserError
from partnerface.head_models.rotations import rotation_vectors
from tests.avatar.test_avatar import make_avatar
from tests.contracts.driver_contract import DriverContract
from tests.contracts.subjects import shared_head_model

HEAD = shared_head_model()


@pytest.fixture(scope="module")
def avatar(synthetic_dataset):
    made = make_avatar()
    made.adapt_to(SyntheticReader(synthetic_dataset, frames=24, size=32).read())
    return made


class TestMotions(DriverContract):
    @pytest.fixture(autouse=True, params=list(MOTIONS))
    def _take(self, avatar, request):
        self.avatar, self.motion = avatar.driven(), MOTIONS[request.param]

    def make(self):
        return TransferredPerformance(make_performance(self.motion(HEAD, 0.3, 0), HEAD), self.avatar)

    def neutral(self):
        """All begin at rest."""
        return 0, self.avatar.view.head.expression[0]


def test_a_range_of_motion_shows_every_action_once_with_pauses():
    motion = range_of_motion(HEAD)
    active = motion.expression > 1e-3
    for number, name in enumerate(HEAD.asset.expression_names):
        runs = torch.diff(active[:, number].int(), prepend=torch.zeros(1, dtype=torch.int))
        assert (runs > 0).sum() == 1, name
        assert motion.expression[:, number].max() > 0.99, name
    # Pairs move together, the actions of the jaw and the whole mouth to one side alone.
    together = active.float().T @ active.float() > 0
    index = HEAD.expression_index
    assert together[index("eyeBlinkLeft"), index("eyeBlinkRight")]
    assert not together[index("jawLeft"), index("jawRight")]
    assert not together[index("mouthLeft"), index("mouthRight")]
    assert int(together.sum(1).max()) == 2
    resting = ~active.any(1)
    starts = torch.diff(resting.int()) == 1
    assert int(starts.sum()) >= 33
    # Then the head, while the face rests.
    turned = rotation_vectors(motion.rotation).norm(dim=1)
    assert turned[active.any(1)].max() < 1e-6
    assert turned.max().rad2deg() == pytest.approx(20, abs=0.3)
    # Smooth: no step over a fifth of the way.
    assert motion.expression.diff(dim=0).abs().max() < 0.2


def test_talk_is_lively_reproducible_and_of_a_speakers_pace():
    motion = talk(HEAD, 30.0, seed=1)
    assert torch.equal(motion.expression, talk(HEAD, 30.0, seed=1).expression)
    assert not torch.equal(motion.expression, talk(HEAD, 30.0, seed=2).expression)
    jaw = motion.expression[:, HEAD.expression_index("jawOpen")]
    peaks = (jaw[1:-1] > jaw[:-2]) & (jaw[1:-1] >= jaw[2:]) & (jaw[1:-1] > 0.1)
    # Three to five syllables a second while speaking, pauses between phrases.
    assert 1.5 < int(peaks.sum()) / 30 < 5
    assert float((jaw < 0.02).float().mean()) > 0.08
    blink = motion.expression[:, HEAD.expression_index("eyeBlinkLeft")] > 0.5
    assert 5 <= int((blink.int().diff() > 0).sum()) <= 16
    assert (motion.expression >= 0).all()
    assert (motion.expression <= 1).all()
    assert rotation_vectors(motion.rotation).norm(dim=1).max().rad2deg() < 20


def test_idling_only_blinks():
    motion = idle(HEAD, 20.0)
    moved = [
        name for name, v in zip(HEAD.asset.expression_names, motion.expression.amax(0), strict=True) if v > 0
    ]
    assert moved == ["eyeBlinkLeft", "eyeBlinkRight"]
    assert rotation_vectors(motion.rotation).norm(dim=1).max().rad2deg() < 4


@pytest.mark.parametrize("seconds", [0.04, 3.0, 61.0])
def test_a_length_may_be_chosen(seconds):
    for motion in MOTIONS.values():
        assert len(motion(HEAD, seconds, 0).expression) == round(seconds * FPS)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_no_such_length(seconds):
    with pytest.raises(UserError, match="--seconds"):
        talk(HEAD, seconds)


@pytest.mark.parametrize("motion", [talk, idle])
def test_no_such_seed(motion):
    with pytest.raises(UserError, match="--seed -1: give 0 or more"):
        motion(HEAD, 1.0, -1)
